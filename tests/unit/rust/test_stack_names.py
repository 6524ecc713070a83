"""What addresses on a stack are called, against what binutils say of them."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from tracer.model import Frame
from tracer.rust import find_split_debug
from tracer.rust.code_functions import FunctionTable
from tracer.rust.stack_names import StackNames, with_surroundings
from tracer.target.debugfile import SplitFiles
from tracer.target.elf import ElfImage, open_elf

COUNT = 400


def some_addresses(image: ElfImage, part: str = "sample") -> list[int]:
    """Within functions whose names have this."""
    table = image.symbols()
    functions = FunctionTable(image)
    chosen = random.Random(7)
    rows = [row for row in table.table if part in table.name_at(int(row["name"])) and row["size"] > 0]
    rows = [row for row in rows if functions.at(int(row["address"])) is not None]
    return [int(row["address"]) + chosen.randrange(int(row["size"])) for row in chosen.choices(rows, k=COUNT)]


def by_addr2line(path: Path, addresses: list[int]) -> dict[int, list[tuple[str, int]]]:
    """{address: (name of the file, line) of each function there, the innermost first}."""
    asked = "\n".join(hex(address) for address in addresses)
    done = subprocess.run(
        ["addr2line", "-a", "-i", "-e", path], input=asked, capture_output=True, text=True, check=True, timeout=60
    )
    found: dict[int, list[tuple[str, int]]] = {}
    for line in done.stdout.splitlines():
        if line.startswith("0x"):
            frames = found[int(line, 16)] = []
        else:
            file, _, number = line.partition(" ")[0].rpartition(":")
            # Line 0: the compiler made it, it is nowhere.
            frames.append((Path(file).name, int(number)) if number.isdigit() and int(number) else ("??", 0))
    return found


def places(frames: tuple[Frame, ...]) -> list[tuple[str, int]]:
    return [(Path(one.location.file).name, one.location.line) if one.location else ("??", 0) for one in frames]


@pytest.mark.parametrize("build", ["debug", "release", "release-lto", "limited", "lines"])
def test_places_are_those_of_addr2line(samples: dict[str, Path], build: str) -> None:
    with open_elf(samples[build]) as image:
        addresses = some_addresses(image)
        names = StackNames(image, "sample").of(addresses)
        expected = by_addr2line(samples[build], addresses)
    compared = [(hex(address), places(names[address]), expected[address]) for address in addresses]
    assert [one for one in compared if one[1] != one[2]] == []
    assert build == "debug" or any(len(told) > 1 for _, told, _ in compared)


@pytest.mark.parametrize("build", ["debug-v5", "release-v5"])
def test_lines_of_dwarf_5(samples: dict[str, Path], build: str) -> None:
    """Those of the innermost functions: binutils 2.40 is not right about what is inlined there, nor about files."""
    with open_elf(samples[build]) as image:
        addresses = some_addresses(image)
        names = StackNames(image, "sample").of(addresses)
        expected = by_addr2line(samples[build], addresses)
    different = [one for one in addresses if places(names[one])[0][1] != expected[one][0][1]]
    assert different == []
    assert any(len(frames) > 1 for frames in names.values())


@pytest.mark.parametrize("build", ["packed", "unpacked", "packed-v5", "unpacked-v5"])
def test_split_debug_information(samples: dict[str, Path], build: str) -> None:
    with open_elf(samples[build]) as image:
        addresses = some_addresses(image)
        names = StackNames(image, "sample", None, find_split_debug(image, SplitFiles(image, None))).of(addresses)
    lines = [frame.location for frames in names.values() for frame in frames]
    assert sum(line is not None for line in lines) > 0.95 * len(lines)
    assert any(len(frames) > 1 for frames in names.values())


def test_without_debug_information_there_are_names(samples: dict[str, Path]) -> None:
    with open_elf(samples["bare"]) as image:
        addresses = some_addresses(image)
        names = StackNames(image, "sample").of(addresses)
        known = FunctionTable(image).at(addresses[0])
        assert known is not None
        renamed = StackNames(image, "sample", known={known[0]: "sample::other"}).of(addresses[:1])
    assert all(len(frames) == 1 and frames[0].location is None for frames in names.values())
    assert all("sample" in str(frames[0].function) for frames in names.values())
    assert {frames[0].crate for frames in names.values()} >= {"sample"}
    assert renamed[addresses[0]][0].function == "sample::other"


def test_with_line_tables_alone_functions_have_the_names_of_their_symbols(samples: dict[str, Path]) -> None:
    """The debug information has but the last part of each: `{async_fn#0}` of all async fns."""
    with open_elf(samples["lines"]) as image:
        addresses = some_addresses(image)
        names = StackNames(image, "sample").of(addresses)
    outermost = [frames[-1] for frames in names.values()]
    assert all("sample" in (one.function or "") and one.crate is not None for one in outermost)
    assert any(one.location is not None for one in outermost)


def test_without_symbols_nothing_is_known(samples: dict[str, Path]) -> None:
    with open_elf(samples["stripped"]) as image:
        begin, code = next(image.executable_code())
        found = StackNames(image, "sample").of([begin, begin + len(code) // 2])
    assert set(found.values()) == {(Frame(None, None, False, "sample"),)}


def test_of_a_c_library_the_usual_names() -> None:
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    path = next(line.split()[5] for line in maps.splitlines() if "/libc.so.6" in line)
    with open_elf(Path(path)) as image:
        table = image.symbols_of(".dynsym")
        wanted = {table.name(index): int(table.table["address"][index]) for index in range(len(table))}
        names = StackNames(image, "libc.so.6").of(list(wanted.values()))
        assert [names[wanted[name]][0].function for name in ("nanosleep", "read", "syscall")] == [
            "nanosleep",
            "read",
            "syscall",
        ]


def test_what_has_no_name_of_its_own_has_that_of_what_it_was_inlined_into() -> None:
    """Of an inlined async fn line tables alone say no more."""
    names = ["sleep", "{async_fn#0}", "{closure_env#12}", "{impl#0}", "app::serve", "{async_block#1}", None]
    shown = [one.function for one in with_surroundings([Frame(name, None, True, "app") for name in names])]
    of_fn, of_closure = "async fn in {impl#0}", "closure in {impl#0}"
    assert shown == ["sleep", of_fn, of_closure, "{impl#0}", "app::serve", "{async_block#1}", None]
