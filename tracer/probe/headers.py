"""Kernel headers for BCC, which compiles against them even where a program reads no kernel structure.

Those of the running kernel are used when installed.  Else any distribution's headers do, since
our programs depend on no layout: a folder of symbolic links merges the two packages they come in
(Debian: linux-headers-V-common and -V-FLAVOUR; Ubuntu: linux-headers-V and -V-generic, whose
files are links into the former already), and BCC_KERNEL_SOURCE points there.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tracer.errors import MissingDependency
from tracer.probe.scratch import temporary_folder

_SUBFOLDERS = ("include", "arch/x86/include")
_INSTALLED = Path("/usr/src")


@contextmanager
def kernel_headers(cache: Path) -> Iterator[Path | None]:
    """`kernel_source`, whose folder is a passing one where `cache` cannot be written: of a user without a home."""
    with ExitStack() as passing:
        try:
            found = kernel_source(cache)
        except OSError:
            found = kernel_source(Path(passing.enter_context(tempfile.TemporaryDirectory(dir=temporary_folder()))))
        yield found


def kernel_source(cache: Path, *, modules: Path = Path("/lib/modules"), installed: Path = _INSTALLED) -> Path | None:
    """The folder for BCC_KERNEL_SOURCE; None when BCC finds the running kernel's headers itself.

    cache: where the folder of links is made, if one is needed.
    Raises MissingDependency when no usable headers are installed.
    """
    own = modules / os.uname().release / "build"
    if (own / "include" / "linux" / "kconfig.h").is_file() or Path("/sys/kernel/kheaders.tar.xz").exists():
        return None
    for flavour in sorted(installed.glob("linux-headers-*"), key=_version, reverse=True):
        if not (flavour / "include" / "generated" / "autoconf.h").is_file():
            continue
        if (flavour / "include" / "linux" / "kconfig.h").is_file():
            return flavour
        common = _common(flavour)
        if common is not None:
            return _merged(cache / f"{flavour.name}-merged", common, flavour)
    raise MissingDependency(
        "No kernel headers are installed, and BCC needs some.",
        why=f"neither {own} nor a complete {installed}/linux-headers-* is there",
        fix=f"apt-get install -y --no-install-recommends {_package()}",
    )


def _version(path: Path) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", path.name)))


def _common(flavour: Path) -> Path | None:
    """The other package: the same version, without the flavour at its end."""
    base = flavour.name.rpartition("-")[0]
    for candidate in (flavour.with_name(f"{base}-common"), flavour.with_name(base)):
        if (candidate / "include" / "linux" / "kconfig.h").is_file():
            return candidate
    return None


def _merged(target: Path, common: Path, flavour: Path) -> Path:
    if _is_ours(target) and (target / "include" / "generated" / "autoconf.h").is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=".headers-", dir=target.parent))
    made.chmod(0o755)
    for folder in _SUBFOLDERS:
        (made / folder).mkdir(parents=True)
        for package in (common, flavour):
            for entry in sorted((package / folder).iterdir()):
                link = made / folder / entry.name
                if not link.is_symlink():
                    link.symlink_to(entry)
    if target.is_symlink() or target.is_file():
        target.unlink()
    elif target.exists():
        shutil.rmtree(target)
    made.rename(target)
    return target


def _is_ours(path: Path) -> bool:
    """What another user could have made is not compiled into a program that root loads."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _package() -> str:
    try:
        release = Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        release = ""
    is_ubuntu = re.search(r"^ID(_LIKE)?=.*ubuntu", release, re.MULTILINE)
    return "linux-headers-generic" if is_ubuntu else "linux-headers-amd64"
