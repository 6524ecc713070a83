"""A small program with known polls, and its poll functions as its symbols and code show them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import capstone
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from tracer import rust
from tracer.model import (
    Binary,
    ExitKind,
    ExitSite,
    FunctionKind,
    InstructionCost,
    PollFunction,
    Process,
    Register,
    ResultEncoding,
    Source,
)
from tracer.target.elf import open_elf

SOURCE = Path(__file__).parent / "programs" / "turns.rs"
TASKS, POLLS = 23, 47
TURN_POLLS = TASKS * POLLS
YIELD_POLLS = TASKS * (POLLS - 1) * 2
EVENTS = 2 * (TURN_POLLS + YIELD_POLLS)
"""Of one round, an entry and an exit each."""


def build(folder: Path) -> Path:
    executable = folder / "turns"
    subprocess.run(["rustc", "--edition", "2021", "-O", "-o", executable, SOURCE], check=True, capture_output=True)
    return executable


def describe(executable: Path) -> Binary:
    """The functions turns, holds (coroutines) and Yield::poll, without the help of the room `rust`."""
    data = executable.read_bytes()
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    functions = []
    with executable.open("rb") as file:
        elf = ELFFile(file)
        segments = [s for s in elf.iter_segments() if s["p_type"] == "PT_LOAD"]
        symbols = elf.get_section_by_name(".symtab")
        assert isinstance(symbols, SymbolTableSection)
        for symbol in symbols.iter_symbols():
            match = re.match(r"_ZN(5turns5(turns|holds)28_\$u7b|61_\$LT\$turns..Yield)", symbol.name)
            if match is None:
                continue
            address, size = symbol["st_value"], symbol["st_size"]
            offset = next(
                address - s["p_vaddr"] + s["p_offset"]
                for s in segments
                if s["p_vaddr"] <= address < s["p_vaddr"] + s["p_memsz"]
            )
            code = list(decoder.disasm_lite(data[offset : offset + size], offset))
            functions.append(_function(match[2] or "yield", address, offset, size, code))
    return Binary(str(executable), None, "x86_64", len(data), "symbol table", True, tuple(functions))


def with_callers(binary: Binary) -> Binary:
    """The same with where the callers of Yield::poll call it and go on."""
    path = Path(binary.path)
    with open_elf(path) as image:
        functions = rust.read_binary(image, display_path=binary.path).functions
    known = {function.address: function for function in functions}
    return replace(
        binary,
        functions=tuple(
            replace(one, called=known[one.address].called, returned=known[one.address].returned)
            for one in binary.functions
        ),
    )


def _function(name: str, address: int, offset: int, size: int, code: list[Any]) -> PollFunction:
    state = next((re.search(r"\[rdi \+ (0x[0-9a-f]+)\]", text) for _, _, op, text in code if op == "movzx"), None)
    is_coroutine = name != "yield"
    return PollFunction(
        address=address,
        offset=offset,
        size=size,
        name=name,
        kind=FunctionKind.COROUTINE if is_coroutine else FunctionKind.FUTURE,
        source=Source.CODE,
        exits=tuple(ExitSite(at, ExitKind.RET) for at, _, op, _ in code if op == "ret"),
        self_register=Register.RDI,
        state_offset=int(state[1], 16) if is_coroutine and state else None,
        result=None if is_coroutine else ResultEncoding(mask=0xFF, pending=1),
        entry_cost=InstructionCost.EMULATED if code[0][2] == "push" else InstructionCost.STEPPED,
    )


@dataclass(frozen=True, slots=True)
class Turns:
    """The running program; it does nothing until told."""

    running: subprocess.Popen[str]
    executable: Path

    @property
    def pid(self) -> int:
        return self.running.pid

    @property
    def process(self) -> Process:
        """As the room `target` would describe it."""
        start = Path(f"/proc/{self.pid}/maps").read_text(encoding="ascii").split("-", 1)[0]
        return Process(self.pid, 0, "turns", (), str(self.executable), 0, int(start, 16))

    @property
    def exe(self) -> Path:
        return Path(f"/proc/{self.pid}/exe")

    def send(self, line: str) -> None:
        assert self.running.stdin is not None
        self.running.stdin.write(line + "\n")
        self.running.stdin.flush()

    def answer(self) -> str:
        assert self.running.stdout is not None
        return self.running.stdout.readline().strip()

    def run(self, line: str = "go") -> tuple[int, int]:
        """Its own counts: polls of turns, polls of yield."""
        self.send(line)
        words = self.answer().split()
        return int(words[1]), int(words[3])


@contextmanager
def started(executable: Path) -> Iterator[Turns]:
    command = [str(executable)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        turns = Turns(running, executable)
        assert turns.answer() == "ready"
        try:
            yield turns
        finally:
            running.kill()


def in_a_namespace(script: str, executable: Path) -> Any:
    """What a Python script prints as JSON that runs in a pid namespace of its own; its argument is the program."""
    unshare = shutil.which("unshare")
    assert unshare is not None
    command = [unshare, "--pid", "--fork", "--mount-proc", sys.executable, "-c", script, str(executable)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
