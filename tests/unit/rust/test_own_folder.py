"""Where the program's own package lies: told where dependencies lie there, too, and only there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tracer.model import Binary
from tracer.rust import Cache, read_binary
from tracer.target.elf import open_elf

SOURCE = Path(__file__).parent / "twin_sample.rs"


def compiled(folder: Path, *flags: str, more: str = "") -> Path:
    """The sample as a package that cargo compiles in this folder."""
    (folder / "src").mkdir(parents=True)
    main = folder / "src" / "main.rs"
    shutil.copy(SOURCE, main)
    main.write_text(main.read_text() + more)
    run(folder, "-Copt-level=3", *flags, "--crate-name=own_sample", str(main))
    return folder / "own_sample"


def run(folder: Path, *arguments: str) -> None:
    command = ["rustc", "--edition", "2021", *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)


def read(path: Path, cache: Cache | None = None) -> Binary:
    with open_elf(path) as image:
        return read_binary(image, display_path="sample", cache=cache)


@pytest.mark.parametrize("mangling", [(), ("-Csymbol-mangling-version=v0",)], ids=["legacy", "v0"])
@pytest.mark.parametrize("debug", ["2", "1", "line-tables-only"])
def test_where_cargo_install_puts_a_package(tmp_path: Path, debug: str, mangling: tuple[str, ...]) -> None:
    folder = tmp_path / "registry/src/index.crates.io-1949cf8c6b5b557f/own-sample-1.0.0"
    path = compiled(folder, f"-Cdebuginfo={debug}", *mangling)
    cache = Cache(tmp_path / "cache")
    assert [read(path, cache).own_folder for _ in range(2)] == [str(folder)] * 2


def test_what_is_only_inlined_is_the_users_own_there_too(tmp_path: Path) -> None:
    def inlined(folder: Path) -> list[str]:
        return [one.name for one in read(compiled(folder, "-Cdebuginfo=2")).refusals if "inlined" in one.reason]

    assert inlined(tmp_path / "registry/src/x/own-sample-1.0.0") == inlined(tmp_path / "own-sample") != []


def test_nothing_is_told_where_paths_tell(tmp_path: Path) -> None:
    assert read(compiled(tmp_path / "own-sample", "-Cdebuginfo=2")).own_folder is None


def test_without_debug_information_nothing_is_known(tmp_path: Path) -> None:
    assert read(compiled(tmp_path / "registry/src/x/own-sample-1.0.0", "-Cdebuginfo=0")).own_folder is None


def test_of_two_that_it_could_be_it_is_none(tmp_path: Path) -> None:
    """A dependency has a function `main` in its root."""
    other = tmp_path / "registry/src/x/other-1.0.0"
    other.mkdir(parents=True)
    (other / "lib.rs").write_text("#[inline(never)] pub fn main() { println!(); }")
    run(other, "-Cdebuginfo=2", "--crate-type=rlib", "--crate-name=other", str(other / "lib.rs"))
    folder = tmp_path / "registry/src/x/own-sample-1.0.0"
    calls = "\n#[used] static CALLED: fn() = other::main;\n"
    path = compiled(folder, "-Cdebuginfo=2", f"--extern=other={other}/libother.rlib", more=calls)
    assert read(path).own_folder is None
