"""Debian's packages of kernels, from the sites that this machine's apt is configured with, and from no other."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"


@dataclass(frozen=True, slots=True)
class Release:
    """kernel: what its version begins with.  archive: how the address of its site ends.  suite: the folder there."""

    name: str
    kernel: str
    archive: str
    suite: str


RELEASES = (
    Release("Debian 11", "5.10", "/debian-security", "bullseye-security"),
    Release("Debian 12", "6.1", "/debian", "bookworm"),
    Release("Debian 13", "6.12", "/debian", "trixie"),
)


def fetch(release: Release, folder: Path) -> Path:
    """The package of its newest kernel, in `folder`.  Raises CalledProcessError, LookupError (apt has no such site)."""
    state = folder / release.kernel
    for name in ("lists/partial", "cache/archives/partial"):
        (state / name).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    (state / "sources.list").write_text(f"deb [signed-by={_KEYS}] {_site(release)} {release.suite} main\n")
    options = {
        "Dir::State::lists": state / "lists",
        "Dir::State::status": state / "status",
        "Dir::Cache": state / "cache",
        "Dir::Etc::sourcelist": state / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "APT::Sandbox::User": "root",
    }
    settings = [f"-o{name}={value}" for name, value in options.items()]
    subprocess.run(["apt-get", "-qq", *settings, "update"], check=True, stdout=subprocess.DEVNULL)
    pattern = rf"linux-image-{re.escape(release.kernel)}\.[0-9.+a-z-]+-amd64"
    found = subprocess.run(["apt-cache", *settings, "pkgnames", "linux-image-"], check=True, capture_output=True)
    names = [name for name in found.stdout.decode().split() if re.fullmatch(pattern, name)]
    plain = [name for name in names if not re.search(r"-(cloud|rt)-amd64$", name)]
    newest = max(plain, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])
    subprocess.run(["apt-get", "-qq", *settings, "download", newest], check=True, cwd=state)
    return next(state.glob(f"{newest}_*.deb"))


def _site(release: Release) -> str:
    """Where apt has the packages of the running release from, whose site has those of others, too."""
    command = ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)", "Created-By: Packages"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    sites = sorted({site.rstrip("/") for site, _, _ in (line.partition(" ") for line in listed.splitlines())})
    found = next((site for site in sites if site.endswith(release.archive)), None)
    if found is None:
        raise LookupError(f"apt is configured with no site that ends with {release.archive}")
    return found
