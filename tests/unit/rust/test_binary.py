"""read_binary on real builds: facts that pyelftools confirms, errors, separate debug files, the cache."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from elftools.dwarf.compileunit import CompileUnit
from elftools.dwarf.die import DIE
from elftools.elf.elffile import ELFFile

from tests.unit.rust.conftest import SOURCE, is_logged
from tracer.errors import NotTraceable
from tracer.model import Binary, FunctionKind, Source
from tracer.rust import Cache, read_binary
from tracer.target.compressed import decompressed
from tracer.target.elf import open_elf
from tracer.target.elf_headers import Section

COROUTINES = {
    "sample::leaf",
    "sample::nothing",
    "sample::wide",
    "sample::wide::{async block#0}",
    "sample::generic<u64>",
    "sample::Service::call",
    "sample::main::{async block#0}",
}
FUTURES = {
    f"sample::{name}" for name in re.findall(r"(\w+): .*?;", SOURCE.read_text().split("futures! {")[1].split("\n}")[0])
}


@pytest.mark.parametrize(
    "build",
    ["debug", "release", "release-lto", "release-abort", "release-static", "release-small", "debug-v5", "release-v5"],
)
def test_everything_is_found_and_placed(build: str, read: Callable[[str], Binary]) -> None:
    binary = read(build)
    assert binary.symbols == "dwarf"
    assert binary.can_unwind == (build != "release-abort")
    assert binary.rustc is not None
    own = [function for function in binary.functions if function.crate == "sample" and is_logged(function.name)]
    by_kind = {
        kind: {function.name for function in own if function.kind is kind}
        for kind in (FunctionKind.COROUTINE, FunctionKind.FUTURE)
    }
    assert by_kind == {FunctionKind.COROUTINE: COROUTINES, FunctionKind.FUTURE: FUTURES}
    lines = SOURCE.read_text().splitlines()
    for function in own:
        assert function.location is not None
        assert function.location.file.endswith("sample.rs")
        line = lines[function.location.line - 1]
        word = function.name.split("::{")[0].split("<")[0].split("::")[-1]
        assert f"fn {word}" in line or "fn poll" in line or "async {" in line
        assert function.exits
    assert len({function.address for function in binary.functions}) == len(binary.functions)


@pytest.mark.parametrize("build", ["limited", "lines", "bare", "bare-v0"])
def test_builds_without_types(build: str, read: Callable[[str], Binary]) -> None:
    binary = read(build)
    has_lines = build in ("limited", "lines")
    assert binary.symbols == ("line tables" if has_lines else "symbol table")
    own = [function for function in binary.functions if function.crate == "sample" and is_logged(function.name)]
    assert sum(function.kind is FunctionKind.COROUTINE for function in own) == len(COROUTINES)
    assert sum(function.kind is FunctionKind.FUTURE for function in own) == len(FUTURES)
    for function in own:
        # Without lines a coroutine's own code names its place, for the panic when it is polled after its end.
        assert (function.location is not None) == (has_lines or function.kind is FunctionKind.COROUTINE)
        assert function.source is (Source.DWARF if has_lines else function.source)
        if function.kind is FunctionKind.COROUTINE:
            assert None not in (function.state_offset, function.self_register, function.context_register)


@pytest.mark.parametrize("build", ["debug", "release", "debug-v5", "release-v5"])
def test_pyelftools_agrees(build: str, samples: dict[str, Path], read: Callable[[str], Binary]) -> None:
    truth = _coroutines(samples[build])
    mine = {
        function.address: (function.size, function.state_offset)
        for function in read(build).functions
        if function.kind is FunctionKind.COROUTINE and function.crate == "sample"
    }
    assert mine == truth
    assert len(truth) == len(COROUTINES) + build.startswith("debug")


def _coroutines(path: Path) -> dict[int, tuple[int, int]]:
    """Address → (size, offset of __state) of every concrete function `{async_…}` of the sample, by pyelftools."""
    found = {}
    with path.open("rb") as file:
        for unit in ELFFile(file).get_dwarf_info().iter_CUs():
            if "sample" not in _text(unit.get_top_DIE(), "DW_AT_name"):
                continue
            for die in unit.iter_DIEs():
                if die.tag == "DW_TAG_subprogram" and "DW_AT_low_pc" in die.attributes:
                    origin = die
                    while "DW_AT_specification" in origin.attributes or "DW_AT_abstract_origin" in origin.attributes:
                        key = (
                            "DW_AT_abstract_origin"
                            if "DW_AT_abstract_origin" in origin.attributes
                            else "DW_AT_specification"
                        )
                        origin = origin.get_DIE_from_attribute(key)
                    if _text(origin, "DW_AT_name").startswith("{async_"):
                        address = _address(unit, die)
                        found[address] = (die.attributes["DW_AT_high_pc"].value, _state(die, origin))
    return found


def _state(die: DIE, origin: DIE) -> int:
    parameter = next(child for child in die.iter_children() if child.tag == "DW_TAG_formal_parameter")
    if "DW_AT_type" not in parameter.attributes:
        parameter = parameter.get_DIE_from_attribute("DW_AT_abstract_origin")
    pin = parameter.get_DIE_from_attribute("DW_AT_type")
    pointer = next(child for child in pin.iter_children() if child.tag == "DW_TAG_member").get_DIE_from_attribute(
        "DW_AT_type"
    )
    coroutine = pointer.get_DIE_from_attribute("DW_AT_type")
    part = next(child for child in coroutine.iter_children() if child.tag == "DW_TAG_variant_part")
    return int(part.get_DIE_from_attribute("DW_AT_discr").attributes["DW_AT_data_member_location"].value)


def _address(unit: CompileUnit, die: DIE) -> int:
    attribute = die.attributes["DW_AT_low_pc"]
    if attribute.form == "DW_FORM_addr":
        return int(attribute.value)
    return int(unit.dwarfinfo.get_addr(unit, attribute.raw_value))


def _text(die: DIE, attribute: str) -> str:
    return str(die.attributes[attribute].value.decode()) if attribute in die.attributes else ""


@pytest.mark.parametrize("build", ["release", "release-lto", "release-abort", "limited"])
def test_a_coroutine_without_function_is_named_with_the_reason(build: str, read: Callable[[str], Binary]) -> None:
    binary = read(build)
    assert "sample::absorbed" not in {function.name for function in binary.functions}
    (refusal,) = [refusal for refusal in binary.refusals if refusal.name == "sample::absorbed"]
    assert "inlined" in refusal.reason
    assert refusal.address is None
    assert refusal.location is not None
    assert "async fn absorbed" in SOURCE.read_text().splitlines()[refusal.location.line - 1]


def test_in_debug_nothing_is_inlined(read: Callable[[str], Binary]) -> None:
    assert "sample::absorbed" in {function.name for function in read("debug").functions}
    assert not [refusal for refusal in read("debug").refusals if "inlined" in refusal.reason]


# ---------------------------------------------------------------- what cannot be traced


def refused(path: Path) -> NotTraceable:
    with pytest.raises(NotTraceable) as caught, open_elf(path) as image:
        read_binary(image, display_path="program")
    assert caught.value.fix
    return caught.value


def test_a_stripped_program_says_how_to_build_it(samples: dict[str, Path]) -> None:
    error = refused(samples["stripped"])
    assert "stripped" in error.what
    assert "[profile.release]\nstrip = false\ndebug = 2" in error.fix
    assert "CARGO_PROFILE_RELEASE_STRIP=none CARGO_PROFILE_RELEASE_DEBUG=2 cargo install" in error.fix


@pytest.mark.parametrize("library", ["/rustc/0a1b2c", "/usr/src/rustc-1.63.0", "/build/rust"])
def test_a_stripped_program_of_any_distribution_is_one_of_rust(
    samples: dict[str, Path], tmp_path: Path, library: str
) -> None:
    """What is left of the compiler are the paths of its library, which distributions keep elsewhere."""
    program, paths = tmp_path / "program", tmp_path / "paths"
    paths.write_text(f"called `Option::unwrap()` on a `None` value{library}/library/core/src/str/pattern.rsassertion")
    subprocess.run(
        ["objcopy", "-R", ".comment", "--update-section", f".rodata={paths}", samples["stripped"], program], check=True
    )
    assert "stripped" in refused(program).what


def test_other_languages(tmp_path: Path) -> None:
    program = tmp_path / "true"
    shutil.copy(shutil.which("true") or "/bin/true", program)
    assert "not a Rust program" in refused(program).what


def test_rust_without_futures(tmp_path: Path) -> None:
    source = tmp_path / "plain.rs"
    source.write_text('fn main() { println!("{:?}", (1..4).map(|n| n * 2).collect::<Vec<_>>()); }')
    subprocess.run(
        ["rustc", "-Copt-level=3", "--edition", "2024", str(source), "-o", str(tmp_path / "plain")], check=True
    )
    assert "no poll function" in refused(tmp_path / "plain").what


OLD_FUTURES = """
pub mod future { pub trait Future { fn poll(&mut self) -> Result<Option<u32>, ()>; } }
struct Ready(u32);
impl future::Future for Ready {
    #[inline(never)]
    fn poll(&mut self) -> Result<Option<u32>, ()> { println!("{}", self.0); Ok(Some(self.0)) }
}
fn main() { future::Future::poll(&mut Ready(3)).unwrap(); }
"""


@pytest.mark.parametrize("mangling", ["legacy", "v0"])
def test_futures_that_are_older_than_the_one_of_std(tmp_path: Path, mangling: str) -> None:
    source = tmp_path / "futures.rs"
    source.write_text(OLD_FUTURES)
    flags = ["-Zunstable-options", f"-Csymbol-mangling-version={mangling}"]
    env = {**os.environ, "RUSTC_BOOTSTRAP": "1"}
    subprocess.run(["rustc", *flags, "--edition", "2021", source, "-o", tmp_path / "old"], check=True, env=env)
    error = refused(tmp_path / "old")
    assert "futures 0.1" in error.what
    assert "tokio 0.2" in error.fix


def test_a_separate_debug_file(samples: dict[str, Path], read: Callable[[str], Binary], tmp_path: Path) -> None:
    program, debug = tmp_path / "program", tmp_path / "program.debug"
    subprocess.run(["objcopy", "--only-keep-debug", samples["release"], debug], check=True)
    subprocess.run(["objcopy", "--strip-all", samples["release"], program], check=True)
    with open_elf(program) as image, open_elf(debug) as described:
        binary = read_binary(image, display_path="program", debug=described)
    assert binary.debug_file == str(debug)
    assert binary.functions == read("release").functions
    with open_elf(program) as image, open_elf(samples["debug"]) as other, pytest.raises(NotTraceable, match="stripped"):
        read_binary(image, display_path="program", debug=other)


def test_an_empty_section_is_empty_whatever_it_holds() -> None:
    """That it says that it is empty is a bound, too."""
    section = Section(".debug_info", 0, 0, 0, 0x800, True)
    content = struct.pack("<IIQQ", 1, 0, 0, 1) + zlib.compress(bytes(1 << 20))
    assert decompressed(Path("program"), section, memoryview(content)) == b""


@pytest.mark.parametrize("kind", ["zlib", "zstd", "zlib-gnu"])
def test_compressed_debug_sections(
    kind: str, samples: dict[str, Path], read: Callable[[str], Binary], tmp_path: Path
) -> None:
    program = tmp_path / "program"
    subprocess.run(["objcopy", f"--compress-debug-sections={kind}", samples["release"], program], check=True)
    assert program.stat().st_size < samples["release"].stat().st_size
    with open_elf(program) as image:
        assert read_binary(image, display_path="sample").functions == read("release").functions


def test_strings_in_a_section_of_their_own(
    samples: dict[str, Path], read: Callable[[str], Binary], tmp_path: Path
) -> None:
    """As the linker mold has them: places in the source are known without debug information all the same."""
    program = tmp_path / "program"
    subprocess.run(["objcopy", "--rename-section", ".rodata=.rodata.str", samples["bare"], program], check=True)
    functions = read("bare").functions
    assert any(one.location is not None and one.location.file.endswith("sample.rs") for one in functions)
    with open_elf(program) as image:
        assert read_binary(image, display_path="sample").functions == functions


# ---------------------------------------------------------------- the cache


def test_the_cache_gives_back_what_was_read(samples: dict[str, Path], tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    with open_elf(samples["release"]) as image:
        first = read_binary(image, display_path="one", cache=cache)
        second = cache.load(image, None, display_path="one", debug_path=None)
        renamed = cache.load(image, None, display_path="two", debug_path=None)
    assert second == first
    assert renamed is not None
    assert (renamed.path, renamed.functions) == ("two", first.functions)
    with open_elf(samples["debug"]) as other:
        assert cache.load(other, None, display_path="one", debug_path=None) is None


def test_a_damaged_entry_is_written_again(samples: dict[str, Path], tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with open_elf(samples["release"]) as image:
        binary = read_binary(image, display_path="one", cache=cache)
        (entry,) = tmp_path.iterdir()
        whole = entry.read_bytes()
        for content in (b"", whole[:-1], whole[:60] + bytes([whole[60] ^ 1]) + whole[61:]):
            entry.write_bytes(content)
            assert cache.load(image, None, display_path="one", debug_path=None) is None
            assert read_binary(image, display_path="one", cache=cache) == binary
            assert entry.read_bytes() == whole


def test_what_others_can_write_is_not_believed(samples: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    cache = Cache(folder)
    with open_elf(samples["release"]) as image:
        read_binary(image, display_path="one", cache=cache)
        (entry,) = folder.iterdir()

        def is_believed() -> bool:
            return cache.load(image, None, display_path="one", debug_path=None) is not None

        assert is_believed()
        assert (folder.stat().st_mode & 0o777, entry.stat().st_mode & 0o777) == (0o700, 0o600)
        for path, mode in ((folder, 0o777), (folder, 0o770), (entry, 0o666), (entry, 0o620)):
            usual = path.stat().st_mode & 0o777
            path.chmod(mode)
            assert not is_believed()
            path.chmod(usual)
        assert is_believed()
        if os.geteuid() == 0:
            os.chown(entry, 12345, 12345)
            assert not is_believed()
            os.chown(entry, 0, 0)
        entry.rename(tmp_path / "moved")
        entry.symlink_to(tmp_path / "moved")
        assert not is_believed()


def test_the_cache_stays_small(samples: dict[str, Path], tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for number in range(70):
        old = tmp_path / f"{number:064x}.bin"
        old.write_bytes(b"old")
        os.utime(old, (number, number))
    with open_elf(samples["release"]) as image:
        read_binary(image, display_path="one", cache=cache)
        assert cache.load(image, None, display_path="one", debug_path=None) is not None
    assert len(list(tmp_path.iterdir())) == 64
    assert not (tmp_path / f"{0:064x}.bin").exists()


def test_a_cache_that_cannot_be_written_is_no_error(samples: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with open_elf(samples["release"]) as image:
        assert read_binary(image, display_path="one", cache=Cache(tmp_path / "file" / "cache")).functions
