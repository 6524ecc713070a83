"""Call frame information of real files, against what binutils say of them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from tracer.target.call_frames import FrameRow, Rule
from tracer.target.elf import open_elf
from tracer.target.modules import Module

_NAMES = ["rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", *(f"r{number}" for number in range(8, 16)), "ra"]
_ADDRESS = re.compile(r"[0-9a-f]{16} ")
_MOST = 20_000


def _loaded(name: str) -> Path:
    """A library that this very process has mapped."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    return next(Path(line.split()[5]) for line in maps.splitlines() if name in line)


def _said_by_readelf(path: Path) -> Iterator[tuple[int, str]]:
    """(address, what holds there: the frame's address and the registers that are not unchanged)."""
    done = subprocess.run(
        ["readelf", "--debug-dump=frames-interp", str(path)], capture_output=True, text=True, check=False, timeout=100
    )
    columns: list[str] = []
    is_function = False
    for line in done.stdout.splitlines():
        if " FDE " in line or " CIE " in line:
            is_function = " FDE " in line
        elif line.strip().startswith("LOC"):
            columns = line.split()[1:]
        elif is_function and _ADDRESS.match(line):
            # Of a register in another one both names are told: r9 (r9).
            address, *values = re.sub(r"r\d+ +\((\w+)\)", r"\1", line).split()
            told = [f"{name} {value}" for name, value in zip(columns, values, strict=True) if value != "u"]
            yield int(address, 16), ", ".join(told)


def _words(row: FrameRow | None) -> str:
    if row is None:
        return "none"
    told = ["CFA " + ("exp" if isinstance(row.cfa, bytes) else f"{_NAMES[row.cfa[0]]}{row.cfa[1]:+d}")]
    for register, kind, operand in row.rules:
        match kind, operand:
            case Rule.OFFSET, int():
                told.append(f"{_NAMES[register]} c{operand:+d}")
            case Rule.REGISTER, int():
                told.append(f"{_NAMES[register]} {_NAMES[operand]}")
            case ((Rule.EXPRESSION | Rule.IS_EXPRESSION), _):
                told.append(f"{_NAMES[register]} {'v' * (kind is Rule.IS_EXPRESSION)}exp")
            case Rule.UNDEFINED, _:
                pass
            case _:
                told.append(f"{_NAMES[register]} {kind}")
    return ", ".join(told)


def _order(words: str) -> list[str]:
    return sorted(words.split(", "))


@pytest.mark.parametrize("name", ["/libc.so.6", "/ld-linux"])
def test_rows_are_those_that_readelf_prints(name: str) -> None:
    path = _loaded(name)
    with open_elf(path) as image:
        module = Module(str(path), image, PurePosixPath(path))
        said = list(_said_by_readelf(path))[:_MOST]
        assert len(said) > 1000
        for address, expected in said:
            assert _order(_words(module.row(address))) == _order(expected), hex(address)
        del module


def test_where_a_function_begins() -> None:
    path = _loaded("/libc.so.6")
    addresses = [address for address, _ in _said_by_readelf(path)][:_MOST]
    with open_elf(path) as image:
        module = Module("libc", image, PurePosixPath("/libc"))
        begins = [module.begin(address) for address in addresses]
        assert all(begin is not None and begin <= at for begin, at in zip(begins, addresses, strict=True))
        assert [module.begin(begin) for begin in begins if begin is not None] == begins
        assert module.begin(0) is None
        del module


def test_no_row_where_no_code_is() -> None:
    with open_elf(_loaded("/libc.so.6")) as image:
        module = Module("libc", image, PurePosixPath("/libc"))
        assert [module.row(address) for address in (0, 1, image.size * 2, 1 << 63, -1)] == [None] * 5
        del module
