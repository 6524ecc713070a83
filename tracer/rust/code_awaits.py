"""What a coroutine awaits in each of its states, by the code alone.

Where the code goes on in a state of waiting, it polls what it awaits.  When that has a function of its own, and
nothing branches before its call, the callee's name is the awaitee's.  What was inlined, or is called through a
pointer, stays unknown.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import capstone
import numpy as np

from tracer.model import FIRST_SUSPEND, AwaitPoint, PollFunction
from tracer.rust.dispatch import Dispatch
from tracer.target.elf import ElfImage

_WINDOW = 512
"""Bytes from where the code goes on up to the call."""

_MAX_JUMPS = 4
_RELATIVE = 8  # R_X86_64_RELATIVE


class CodeAwaits:
    """functions: all poll functions of the image."""

    def __init__(self, image: ElfImage, functions: Iterable[PollFunction]) -> None:
        self._image = image
        self._functions = {function.address: function for function in functions}
        self._engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)

    def of(self, function: PollFunction, dispatch: Dispatch) -> tuple[AwaitPoint, ...]:
        """The states in which the code goes on somewhere, with what is awaited there where the code decides it."""
        body = range(function.address, function.address + function.size)
        return tuple(
            AwaitPoint(state, None, self._awaitee(target, body))
            for state, target in sorted(dispatch.targets.items())
            if state >= FIRST_SUSPEND
        )

    def _awaitee(self, address: int, body: range) -> str | None:
        for _ in range(_MAX_JUMPS):
            jump = None
            code = self._image.read(address, min(_WINDOW, body.stop - address)) or b""
            for start, length, mnemonic, operands in self._engine.disasm_lite(code, address):
                if mnemonic == "call":
                    return self._name(self._target(operands, start + length))
                if mnemonic[0] == "j" or mnemonic == "ret":
                    jump = self._target(operands, start + length) if mnemonic == "jmp" else None
                    break
            if jump is None or jump not in body:
                return self._name(jump)
            address = jump
        return None

    def _name(self, address: int | None) -> str | None:
        function = self._functions.get(address) if address is not None else None
        # Of functions that were merged nobody knows which one is meant.
        return function.name if function is not None and len(function.names) == 1 else None

    def _target(self, operands: str, after: int) -> int | None:
        if operands.startswith("0x"):
            return int(operands, 16)
        _, found, displacement = operands.partition("[rip ")
        if not found:
            return None
        sign, _, number = displacement.rstrip("]").partition(" ")
        return self._slots.get(after + int(number, 0) * (-1 if sign == "-" else 1))

    @cached_property
    def _slots(self) -> dict[int, int]:
        """Where the loader puts the addresses of the functions (the global offset table, vtables)."""
        content = self._image.section(".rela.dyn")
        if content is None:
            return {}
        rows = np.frombuffer(content, "<i8", len(content) // 24 * 3).reshape(-1, 3)
        rows = rows[(rows[:, 1] & 0xFFFFFFFF) == _RELATIVE]
        rows = rows[np.isin(rows[:, 2], np.array(sorted(self._functions), np.int64))]
        return dict(zip(rows[:, 0].tolist(), rows[:, 2].tolist(), strict=True))
