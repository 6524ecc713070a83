"""Small Rust programs, each built once per run, and what read_binary says about them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tracer.model import Binary
from tracer.rust import find_split_debug, read_binary
from tracer.target.debugfile import SplitFiles
from tracer.target.elf import open_elf

BUILDS: dict[str, tuple[str, ...]] = {
    "debug": ("-Copt-level=0", "-Cdebuginfo=2"),
    "release": ("-Copt-level=3", "-Cdebuginfo=2"),
    "release-lto": ("-Copt-level=3", "-Cdebuginfo=2", "-Clto=fat", "-Ccodegen-units=1"),
    "release-abort": ("-Copt-level=3", "-Cdebuginfo=2", "-Cpanic=abort"),
    "release-static": (
        "-Copt-level=3",
        "-Cdebuginfo=2",
        "-Ctarget-feature=+crt-static",
        "-Crelocation-model=static",
    ),
    "release-small": ("-Copt-level=s", "-Cdebuginfo=2"),
    "debug-v5": ("-Copt-level=0", "-Cdebuginfo=2", "-Cdwarf-version=5", "-Csymbol-mangling-version=v0"),
    "release-v5": ("-Copt-level=3", "-Cdebuginfo=2", "-Cdwarf-version=5", "-Csymbol-mangling-version=v0"),
    "packed": ("-Copt-level=3", "-Cdebuginfo=2", "-Csplit-debuginfo=packed"),
    "unpacked": ("-Copt-level=3", "-Cdebuginfo=2", "-Csplit-debuginfo=unpacked"),
    "packed-debug": ("-Copt-level=0", "-Cdebuginfo=2", "-Csplit-debuginfo=packed"),
    "packed-v5": (
        "-Copt-level=3",
        "-Cdebuginfo=2",
        "-Cdwarf-version=5",
        "-Csymbol-mangling-version=v0",
        "-Csplit-debuginfo=packed",
    ),
    "unpacked-v5": (
        "-Copt-level=3",
        "-Cdebuginfo=2",
        "-Cdwarf-version=5",
        "-Csymbol-mangling-version=v0",
        "-Csplit-debuginfo=unpacked",
    ),
    "limited": ("-Copt-level=3", "-Cdebuginfo=1"),
    "lines": ("-Copt-level=3", "-Cdebuginfo=line-tables-only"),
    "bare": ("-Copt-level=3", "-Cdebuginfo=0"),
    "bare-v0": ("-Copt-level=3", "-Cdebuginfo=0", "-Csymbol-mangling-version=v0"),
    "stripped": ("-Copt-level=3", "-Cdebuginfo=0", "-Cstrip=symbols"),
}
"""How the sample is compiled: flags for rustc."""

SOURCE = Path(__file__).parent / "sample.rs"


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sample in every build."""
    folder = tmp_path_factory.mktemp("rust")

    def build(item: tuple[str, tuple[str, ...]]) -> tuple[str, Path]:
        name, flags = item
        path = folder / name / "sample"
        path.parent.mkdir()
        command = ["rustc", "--edition", "2024", *flags, str(SOURCE), "-o", str(path), "-Clink-arg=-Wl,--build-id=sha1"]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        return name, path

    with ThreadPoolExecutor(2) as pool:
        return dict(pool.map(build, BUILDS.items()))


@pytest.fixture(scope="session")
def read(samples: dict[str, Path]) -> Callable[[str], Binary]:
    """read_binary of one build, by its name."""

    def one(name: str) -> Binary:
        with open_elf(samples[name]) as image:
            return read_binary(image, display_path="sample", split=find_split_debug(image, SplitFiles(image, None)))

    return one


def is_logged(name: str) -> bool:
    """Whether the sample logs the polls of this future."""
    return "Logged" not in name and name != "sample::absorbed"
