"""Whether code that is on a stack is a task's poll, where no stack pointer tells: of a poll that nobody saw begin."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from tracer.model import FunctionKind, Plan
from tracer.target.modules import Module, Modules
from tracer.target.unwinding import StackCopy, Unwound, unwind

_JUMP, _JUMP_SIZE = 0xE9, 5  # jmp rel32
_MOST_JUMPS = 4


class TaskPolls:
    """addresses: of those of one binary.  Where such a function only jumps to another one, that stands on the stack in
    its place."""

    def __init__(self, addresses: Iterable[int]) -> None:
        self._addresses = frozenset(addresses)
        self._begins: dict[int, list[int]] | None = None

    @classmethod
    def of_plan(cls, plan: Plan, binary: int) -> TaskPolls:
        """All that are recorded of a binary; blocking jobs are no tasks."""
        return cls(
            function.address
            for function, of_binary in zip(plan.functions, plan.function_binary, strict=True)
            if of_binary == binary and function.kind is FunctionKind.TASK and not function.is_job
        )

    def has(self, module: Module, address: int) -> bool:
        """module: the binary.  address: link-time, of an instruction."""
        return bool(self.which(module, address))

    def which(self, module: Module, address: int) -> list[int]:
        """Those of them whose code it is: several where their code is one."""
        if self._begins is None:
            self._begins = {}
            for one in sorted(self._addresses):
                self._begins.setdefault(_landing(module, one), []).append(one)
        begin = module.begin(address)
        return self._begins.get(begin, []) if begin is not None else []


def unwound_to(polls: TaskPolls, copy: StackCopy, modules: Modules, executable: str) -> Unwound:
    """A stack up to the innermost of these polls.  executable: the path of the binary that they are of."""

    def is_last(address: int) -> bool:
        at = modules.at(address)
        return at is not None and at[0].path == executable and polls.has(*at)

    return unwind(copy, modules.row, is_last)


def _landing(module: Module, address: int) -> int:
    """Where code stays that begins at this link-time address: itself, or what it jumps to at once."""
    for _ in range(_MOST_JUMPS):
        code = module.image.read_up_to(address, _JUMP_SIZE)
        if len(code) < _JUMP_SIZE or code[0] != _JUMP:
            break
        address += _JUMP_SIZE + struct.unpack_from("<i", code, 1)[0]
    return address
