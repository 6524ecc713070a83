"""Split debug information tells what the same source tells unsplit, and only that of the very build is believed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from elftools.dwarf.die import DIE
from elftools.elf.elffile import ELFFile

from tests.cells import Cell
from tests.e2e.command import rat
from tests.running import Targets
from tracer.model import Binary, Layout, LayoutEdge, PollFunction
from tracer.rust import Cache, SplitDebug, find_split_debug, read_binary
from tracer.rust.dwarf import Dwarf
from tracer.rust.types import Member, Types, state_offset
from tracer.target.debugfile import SplitFiles
from tracer.target.elf import ElfImage, open_elf

UNSPLIT = {"packed": "release", "unpacked": "release", "packed-v5": "release-v5", "unpacked-v5": "release-v5"}


def looked_up(path: Path) -> tuple[Binary, SplitDebug]:
    with open_elf(path) as image:
        split = find_split_debug(image, SplitFiles(image, None))
        return read_binary(image, display_path="program", split=split), split


def told(binary: Binary) -> list[tuple[object, ...]]:
    """All but where it lies and the symbols' hashes."""
    return sorted(
        (
            (
                function.name,
                function.kind,
                function.source,
                str(function.location),
                function.state_offset,
                function.self_register,
                function.context_register,
                function.result,
                function.size,
                function.awaits,
            )
            for function in binary.functions
        ),
        key=repr,
    )


def shapes(binary: Binary) -> list[str]:
    """The layouts with their children's names instead of their numbers, which go by the order of the code."""

    def child(edge: LayoutEdge) -> Layout | None:
        return None if edge.child is None else replace(binary.layouts[edge.child], edges=())

    return sorted(
        repr((replace(one, edges=()), [(replace(edge, child=None), child(edge)) for edge in one.edges]))
        for one in binary.layouts
    )


def refused(binary: Binary) -> list[tuple[str, str, str]]:
    return sorted((one.name, one.reason, str(one.location)) for one in binary.refusals)


@pytest.mark.parametrize("build", UNSPLIT)
def test_the_sample_tells_the_same(build: str, read: Callable[[str], Binary], samples: dict[str, Path]) -> None:
    whole, (split, found) = read(UNSPLIT[build]), looked_up(samples[build])
    assert told(split) == told(whole)
    assert split.layouts == whole.layouts
    assert refused(split) == refused(whole)
    assert split.symbols == "dwarf"
    assert any(function.awaits for function in split.functions)
    assert found.remarks == ()
    assert split.debug_file is not None
    assert split.debug_file.startswith(str(samples[build].parent))


@pytest.mark.parametrize(
    "split_cell",
    [
        Cell("tokio_multi", "packed"),
        Cell("smol_log", "packed5"),
        Cell("smol_log", "unpacked"),
        Cell("tokio_multi", "unpacked5"),
    ],
    ids=str,
)
def test_programs_tell_the_same(split_cell: Cell, targets: Targets) -> None:
    """Tens of units, most of dependencies; awaits and all."""
    whole, _ = looked_up(targets.path(split_cell.target, "release-debug"))
    split, found = looked_up(targets.path(split_cell.target, split_cell.profile))
    assert told(split) == told(whole)
    assert shapes(split) == shapes(whole)
    assert refused(split) == refused(whole)
    assert len(found.parts) > 40
    assert len(found.files) == (1 if split_cell.profile.startswith("packed") else len(found.parts))


# ---------------------------------------------------------------- pyelftools


@pytest.fixture
def dwo(samples: dict[str, Path]) -> Path:
    """The sample's .dwo file that has the most."""
    return max(samples["unpacked-v5"].parent.glob("*.dwo"), key=lambda path: path.stat().st_size)


@pytest.fixture
def plain_sections(dwo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The .dwo file for a reader that knows nothing of splitting: its sections under their usual names."""
    # The string offsets of a .dwo follow the header of their table; pyelftools 0.33 wants the attribute that says so.
    monkeypatch.setattr("elftools.dwarf.die._get_base_offset", lambda unit, attribute: 8)
    # The addresses are in the program; layouts need neither them nor lists of them.
    monkeypatch.setattr("elftools.dwarf.die._resolve_via_offset_table", lambda *arguments: 0)
    monkeypatch.setattr("elftools.dwarf.dwarfinfo.DWARFInfo.get_addr", lambda self, unit, index: 0)
    kinds = ("info", "abbrev", "str", "str_offsets", "loclists", "rnglists")
    names = [f"--rename-section=.debug_{kind}.dwo=.debug_{kind}" for kind in kinds]
    subprocess.run(["objcopy", *names, dwo, tmp_path / "plain.o"], check=True, timeout=60)
    return tmp_path / "plain.o"


def coroutines(path: Path) -> Iterator[tuple[DIE, DIE]]:
    """(the type, its variant part) of every coroutine, as pyelftools has them."""
    with path.open("rb") as file:
        for unit in ELFFile(file).get_dwarf_info().iter_CUs():
            for die in unit.iter_DIEs():
                if die.tag == "DW_TAG_structure_type" and "{async_" in text(die):
                    parts = [one for one in die.iter_children() if one.tag == "DW_TAG_variant_part"]
                    if parts:
                        yield die, parts[0]


def text(die: DIE) -> str:
    return str(die.attributes["DW_AT_name"].value.decode()) if "DW_AT_name" in die.attributes else ""


def number(die: DIE, attribute: str) -> int:
    return int(die.attributes[attribute].value)


def test_pyelftools_lays_coroutines_out_the_same(dwo: Path, plain_sections: Path, samples: dict[str, Path]) -> None:
    """State, size, and of each suspend state the line, the awaitee's offset and type."""
    with open_elf(samples["unpacked-v5"]) as image:
        parts = find_split_debug(image, SplitFiles(image, None)).parts
        dwarf = Dwarf(image, parts)
        (at,) = (at for at, part in parts.items() if part.file.path == dwo)
        (unit,) = (unit for unit in dwarf.units if unit.skeleton is not None and unit.skeleton.offset == at)
        types = Types(dwarf)
        checked = 0
        for die, part in coroutines(plain_sections):
            mine = types.at(unit.offset + die.offset)
            assert (mine.name, mine.size) == (text(die), number(die, "DW_AT_byte_size"))
            state = part.get_DIE_from_attribute("DW_AT_discr")
            assert state_offset(mine) == number(state, "DW_AT_data_member_location")
            assert mine.variant_part is not None
            members = dict(mine.variant_part.variants)
            for variant in part.iter_children():
                if variant.tag == "DW_TAG_variant" and number(variant, "DW_AT_discr_value") >= 3:
                    (member,) = variant.iter_children()
                    check_suspension(types, members[number(variant, "DW_AT_discr_value")], member, unit.offset)
                    checked += 1
    assert checked > 5


def check_suspension(types: Types, mine: Member, member: DIE, base: int) -> None:
    assert mine.declared == (number(member, "DW_AT_decl_file"), number(member, "DW_AT_decl_line"))
    suspended = member.get_DIE_from_attribute("DW_AT_type")
    assert mine.type == base + suspended.offset
    awaitee = next(one for one in suspended.iter_children() if text(one) == "__awaitee")
    found = next(one for one in types.at(mine.type).members if one.name == "__awaitee")
    assert found.offset == number(awaitee, "DW_AT_data_member_location")
    assert found.type == base + awaitee.get_DIE_from_attribute("DW_AT_type").offset
    assert types.at(found.type).name == text(awaitee.get_DIE_from_attribute("DW_AT_type"))


# ---------------------------------------------------------------- other builds, damage


def copied(samples: dict[str, Path], build: str, folder: Path) -> Path:
    """The program alone, under another name."""
    return Path(shutil.copy(samples[build], folder / "program"))


def assert_lines_only(binary: Binary) -> None:
    """What the skeletons and the line tables leave: names, lines, states by the code."""
    assert binary.symbols == "line tables"
    assert binary.debug_file is None
    own = [function for function in binary.functions if function.name == "sample::leaf"]
    assert own
    assert all(function.location is not None and function.result is None for function in own)


@pytest.mark.parametrize("build", ["packed", "packed-v5"])
def test_a_package_of_another_build_is_refused(build: str, samples: dict[str, Path], tmp_path: Path) -> None:
    program = copied(samples, build, tmp_path)
    shutil.copy(f"{samples['packed-debug']}.dwp", f"{program}.dwp")
    binary, split = looked_up(program)
    (remark,) = split.remarks
    assert remark.startswith(f"{program}.dwp is of another build")
    assert_lines_only(binary)


def test_the_command_says_so(samples: dict[str, Path], tmp_path: Path) -> None:
    program = copied(samples, "packed", tmp_path)
    done = rat("list", program)
    assert done.code == 0
    assert "its debug information is split off and was not found" in done.err
    shutil.copy(f"{samples['packed-debug']}.dwp", f"{program}.dwp")
    done = rat("list", program)
    assert done.code == 0
    assert "is of another build" in done.err
    shutil.copy(f"{samples['packed']}.dwp", f"{program}.dwp")
    done = rat("list", program)
    assert (done.code, done.err) == (0, "")
    assert "sample.rs:" in done.out


def test_an_object_file_of_another_build_is_refused(dwo: Path, samples: dict[str, Path], tmp_path: Path) -> None:
    program = copied(samples, "unpacked", tmp_path)
    with open_elf(program) as image:
        split = find_split_debug(image, Elsewhere(dwo))
        assert split.parts == {}
        assert split.remarks == (f"{dwo} is of another build and is not read",)


class Elsewhere:
    """One object file for all units."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def package(self) -> Path | None:
        return None

    def object_file(self, directory: str, name: str) -> Path | None:
        return self._path


@pytest.mark.parametrize("size", [0, 3, 70, 1000, 20_000])
def test_a_package_that_is_cut_off(samples: dict[str, Path], tmp_path: Path, size: int) -> None:
    program = copied(samples, "packed", tmp_path)
    content = Path(f"{samples['packed']}.dwp").read_bytes()
    assert len(content) > size
    Path(f"{program}.dwp").write_bytes(content[:size])
    binary, split = looked_up(program)
    assert "cannot be read" in split.remarks[0]
    assert_lines_only(binary)


@pytest.mark.parametrize("build", ["packed", "packed-v5"])
def test_a_damaged_package_only_makes_less_known(build: str, samples: dict[str, Path], tmp_path: Path) -> None:
    program = copied(samples, build, tmp_path)
    content = Path(f"{samples[build]}.dwp").read_bytes()
    names = {function.name for function in looked_up(samples[build])[0].functions}
    for at in range(64, len(content) - 64, len(content) // 25):
        Path(f"{program}.dwp").write_bytes(content[:at] + b"\xff\x80\0\x7f" * 12 + content[at + 48 :])
        binary, _ = looked_up(program)
        assert binary.functions
        assert len(names & {function.name for function in binary.functions}) > len(names) / 4


def test_what_is_remembered_depends_on_the_package(samples: dict[str, Path], tmp_path: Path) -> None:
    program = copied(samples, "packed", tmp_path)
    cache = Cache(tmp_path / "cache")

    def functions(split: SplitDebug, image: ElfImage) -> tuple[PollFunction, ...]:
        return read_binary(image, display_path="program", split=split, cache=cache).functions

    with open_elf(program) as image:
        alone = functions(find_split_debug(image, SplitFiles(image, None)), image)
        shutil.copy(f"{samples['packed']}.dwp", f"{program}.dwp")
        split = find_split_debug(image, SplitFiles(image, None))
        whole = functions(split, image)
        assert not any(point.location for function in alone for point in function.awaits)
        assert any(point.location for function in whole for point in function.awaits)
        assert functions(split, image) == whole
        assert functions(SplitDebug({}), image) == alone
