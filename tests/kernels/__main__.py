"""`scripts/kernels [KERNEL …]`: runs the tests on each kernel, and puts the table of them into docs/kernels.md."""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests.building import build
from tests.kernels import machine
from tests.kernels.packages import RELEASES, fetch
from tests.kernels.table import Tried, table

ROOT = Path(__file__).parents[2]
_DOCUMENT = ROOT / "docs" / "kernels.md"
_FOLDER = ROOT / ".cache" / "kernels"
_PATIENCE = 1200
"""Seconds for one machine."""
_PASSED_ON = ("PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME")


def main(wanted: list[str]) -> int:
    """wanted: kernels, all when empty and the running one, of which alone the table is written."""
    unknown = set(wanted) - {release.kernel for release in RELEASES}
    if unknown:
        print(f"no kernel {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    build("release-debug", ["tokio_multi"])
    tried = []
    for release in RELEASES:
        if not wanted or release.kernel in wanted:
            print(f"{release.name}, {release.kernel}", flush=True)
            tried.append(_emulated(release.name, fetch(release, _FOLDER), _FOLDER / release.kernel))
    if not wanted:
        tried.append(_running(_empty(_FOLDER / "running")))
    is_well = all(one.is_well for one in tried)
    if is_well and not wanted:
        _write(table(tried))
    else:
        print(table(tried))
    return 0 if is_well else 1


def _emulated(name: str, package: Path, folder: Path) -> Tried:
    kernel = machine.unpacked(package, _empty(folder / "unpacked"))
    share = _empty(folder / "share")
    environment = [f"export {key}={shlex.quote(os.environ[key])}" for key in _PASSED_ON if key in os.environ]
    status = machine.run(kernel, "\n".join([*environment, _script("/mnt")]), share, _PATIENCE)
    if status != 0:
        raise SystemExit(f"the machine did not come so far: {share}/said, {share}/console")
    return Tried.from_folder(name, kernel.release, share)


def _running(folder: Path) -> Tried:
    """The same on the kernel that runs here."""
    with (folder / "said").open("wb") as said:
        subprocess.run(["bash", "-c", _script(str(folder))], stdout=said, stderr=said, check=True, timeout=_PATIENCE)
    release = re.match(r"\d+\.\d+", platform.release())
    assert release is not None
    return Tried.from_folder("the machine itself", release[0], folder)


def _script(share: str) -> str:
    """What is run, in bash, and leaves its results in `share`.  It fails when there are none, not when a test does."""
    return "\n".join(
        [
            "export PYTHONDONTWRITEBYTECODE=1 CARGO_NET_OFFLINE=true",
            f"cd {shlex.quote(str(ROOT))}",
            f"tests=$(python -m tests.kernels.facts {shlex.quote(share)}/facts.json) || exit",
            f"eval python -m pytest -p no:cacheprovider --durations 5 --junitxml {shlex.quote(share)}/tests.xml $tests",
            f"[ -s {shlex.quote(share)}/tests.xml ]",
        ]
    )


def _write(rows: str) -> None:
    """In place of the table that is there."""
    text = re.sub(r"^\|.*\|\n(\|.*\|\n)*", lambda _: rows, _DOCUMENT.read_text(), count=1, flags=re.MULTILINE)
    _DOCUMENT.write_text(text)


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
