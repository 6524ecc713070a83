"""Where a coroutine's code goes on in each of its states, by the code alone.

The body of a coroutine begins with a switch on its state byte: in release mostly a jump table, else comparisons.
The switch is run for one state after the other.  What it shows is believed when one of the states of coroutines that
have ended leads to the panic of being resumed (rustc 1.78 and later).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import capstone
import numpy as np
import numpy.typing as npt

from tracer.model import FIRST_SUSPEND, PANICKED, RETURNED, UNRESUMED
from tracer.rust.machine import Machine, Outcome
from tracer.rust.prologue import MAX_CODE, Prologue
from tracer.target.elf import ElfImage

_MAX_STATES = 256
_STORE = re.compile(r"^byte ptr \[\w+(?: \+ (0x[0-9a-f]+|\d+))?\], (0x[0-9a-f]+|\d+)$")
_MAX_REFERENCE = 8


@dataclass(frozen=True, slots=True)
class Dispatch:
    """state_offset: bytes from self.  targets: by state the link-time address where the code goes on."""

    state_offset: int
    targets: dict[int, int]


class Dispatches:
    """Reads the switches of one binary's coroutines.

    is_resumption: whether the call or jump at an address is to the panic of a coroutine resumed after its end.
    """

    def __init__(self, image: ElfImage, is_resumption: Callable[[int], bool]) -> None:
        self._image = image
        self._is_resumption = is_resumption
        self._prologue = Prologue()
        self._machine = Machine(image.read)
        self._engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)

    def of(self, address: int, size: int) -> Dispatch | None:
        """The switch of the coroutine body at a link-time address; None when it is not understood.

        States whose place is not certain are left out.
        """
        arguments = self._prologue.of_coroutine(self._image.read(address, min(size, MAX_CODE)) or b"")
        if arguments.self_register is None or arguments.state_offset is None:
            return None
        offset, register = arguments.state_offset, arguments.self_register.value

        def run(state: int) -> Outcome:
            return self._machine.run(address, size, register, offset, state)

        outcomes = {state: run(state) for state in range(FIRST_SUSPEND)}
        for state in (RETURNED, PANICKED):
            if not self._is_resumption(outcomes[state].end):
                del outcomes[state]  # it cannot happen: the coroutine never returns, or nothing unwinds
        if len(outcomes) == 1:
            return None
        others = run(_MAX_STATES - 1)
        rest = others.target if others.entry is None else None
        table = min((one.entry for one in outcomes.values() if one.entry is not None), default=None)
        compared = max((constant for one in outcomes.values() for constant in one.compared), default=0)
        for state in range(FIRST_SUSPEND, _MAX_STATES):
            outcome = run(state)
            compared = max((compared, *outcome.compared))
            if outcome.target is None or not address <= outcome.target < address + size:
                break
            if outcome.entry is not None:
                table = outcome.entry if table is None else table
                if self._table_end(table) <= outcome.entry:
                    break
                outcomes[state] = outcome
            elif state > compared:
                break  # beyond all that is told apart
            elif outcome.target != rest:
                outcomes[state] = outcome
        if rest is not None and rest not in {one.target for one in outcomes.values()}:
            # The code takes it for granted that only one state is left.
            left = self._stored(address, size, offset) - outcomes.keys()
            if len(left) == 1:
                outcomes[left.pop()] = others
        targets = {state: one.target for state, one in outcomes.items() if one.target is not None}
        # Of a place that several states share it is not known which of them its code is about.  Where a new coroutine
        # goes on as a waiting one does, it comes straight to that poll: the place is still about the await alone.
        shared = Counter(target for state, target in targets.items() if state != UNRESUMED)
        return Dispatch(offset, {state: target for state, target in targets.items() if shared[target] <= 1})

    def _stored(self, address: int, size: int, offset: int) -> set[int]:
        """The suspend states that the code stores as constants."""
        states = set()
        for _, _, mnemonic, operands in self._engine.disasm_lite(self._image.read(address, size) or b"", address):
            if mnemonic == "mov" and (match := _STORE.match(operands)) and int(match[1] or "0", 0) == offset:
                states.add(int(match[2], 0))
        return {state for state in states if state >= FIRST_SUSPEND}

    def path(self, target: int, limit: int) -> Iterator[int]:
        """The addresses of the instructions from a state's target on, through the first one that does not lead to one
        next place for certain; at most `limit`.
        """
        at = target
        for _ in range(limit):
            instruction = self._machine.instruction(at)
            if instruction is None:
                return
            yield at
            name = instruction.mnemonic
            if name == "jmp" and instruction.op_str.startswith("0x"):
                at = int(instruction.op_str, 16)
            elif name in ("call", "ret", "ud2") or name[0] == "j":
                return
            else:
                at += instruction.size

    def callee(self, at: int) -> int | None:
        """The address that the call at an address goes to; None when it is no call, or an indirect one."""
        instruction = self._machine.instruction(at)
        if instruction is None or instruction.mnemonic != "call" or not instruction.op_str.startswith("0x"):
            return None
        return int(instruction.op_str, 16)

    # ------------------------------------------------------------ jump tables

    def _table_end(self, table: int) -> int:
        """Nothing says how long a jump table is; it ends before the next place that the code refers to."""
        index = int(np.searchsorted(self._referred, table, side="right"))
        return int(self._referred[index]) if index < len(self._referred) else table

    @cached_property
    def _referred(self) -> npt.NDArray[np.int64]:
        """All that `lea r, [rip + disp32]` and `jmp [8*r + disp32]` in the code refer to, sorted.

        Found at any byte: what is no such instruction only makes a table seem shorter.
        """
        found: list[npt.NDArray[np.int64]] = []
        for address, code in self._image.executable_code():
            if len(code) > _MAX_REFERENCE:
                found += _references(code, address)
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)


def _references(code: npt.NDArray[np.uint8], base: int) -> list[npt.NDArray[np.int64]]:
    first, second, third = code[:-7], code[1:-6], code[2:-5]
    leas = np.nonzero((second == 0x8D) & ((first & 0xFB) == 0x48) & ((third & 0xC7) == 0x05))[0]
    jumps = np.nonzero((first == 0xFF) & (second == 0x24) & ((third & 0xC7) == 0xC5))[0]
    return [base + leas + 7 + _displacements(code, leas + 3), _displacements(code, jumps + 3)]


def _displacements(code: npt.NDArray[np.uint8], at: npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
    value = code[at].astype(np.uint32)
    for byte in (1, 2, 3):
        value |= code[at + byte].astype(np.uint32) << np.uint32(8 * byte)
    return value.view(np.int32).astype(np.int64)
