"""Runs the beginning of a function with one input known, to see where the code goes because of it.

Only what is certain is known: constants, and addresses relative to `self` and to the stack.  A value that follows
from the input is marked.  x86-64, as capstone 5 decodes it; an instruction that is not known here makes unknown what
it writes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import capstone
from capstone import x86_const as x86

_CONSTANT, _SELF, _STACK = "", "self", "stack"
_MASKS = {size: (1 << 8 * size) - 1 for size in (1, 2, 4, 8)}
_MAX_STEPS = 4000

_CONDITIONS: dict[str, Callable[[bool, bool, bool, bool], bool]] = {
    "e": lambda zf, cf, sf, of: zf,
    "ne": lambda zf, cf, sf, of: not zf,
    "a": lambda zf, cf, sf, of: not cf and not zf,
    "ae": lambda zf, cf, sf, of: not cf,
    "b": lambda zf, cf, sf, of: cf,
    "be": lambda zf, cf, sf, of: cf or zf,
    "g": lambda zf, cf, sf, of: not zf and sf == of,
    "ge": lambda zf, cf, sf, of: sf == of,
    "l": lambda zf, cf, sf, of: sf != of,
    "le": lambda zf, cf, sf, of: zf or sf != of,
    "s": lambda zf, cf, sf, of: sf,
    "ns": lambda zf, cf, sf, of: not sf,
}
_WIDE = {
    narrow: wide
    for wide, names in {
        "rax": "rax eax ax al", "rbx": "rbx ebx bx bl", "rcx": "rcx ecx cx cl", "rdx": "rdx edx dx dl",
        "rsi": "rsi esi si sil", "rdi": "rdi edi di dil", "rbp": "rbp ebp bp bpl", "rsp": "rsp esp sp spl",
        **{f"r{n}": f"r{n} r{n}d r{n}w r{n}b" for n in range(8, 16)},
    }.items()
    for narrow in names.split()
}  # fmt: skip
_ENDS = frozenset({"call", "ret", "ud2", "int3", "hlt", "syscall", "leave"})
_HIGH_BYTES = frozenset({"ah", "bh", "ch", "dh"})


class Value(NamedTuple):
    """number: an integer, or an offset from `base`.  is_marked: it follows from the input.  width: bytes known."""

    base: str
    number: int
    is_marked: bool = False
    width: int = 8


class _Flags(NamedTuple):
    zf: bool
    cf: bool
    sf: bool
    of: bool
    is_marked: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one run went.  target: where the code goes on after the last branch that the input decided, or None.

    end: the address of the instruction where the run ended, as a call.  entry: the address of the entry of the jump
    table that the target came from.  compared: the constants that the input, or what follows from it, was compared
    with.
    """

    target: int | None
    end: int
    entry: int | None
    compared: frozenset[int]


class Machine:
    """read: the program's bytes at a link-time address, or None."""

    def __init__(self, read: Callable[[int, int], bytes | None]) -> None:
        self._read = read
        self._engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
        self._engine.detail = True
        self._decoded: dict[int, Any] = {}

    def run(self, address: int, size: int, self_register: str, offset: int, value: int) -> Outcome:
        """Run the function from its entry, with the byte at self + offset being `value`."""
        return _Run(self, range(address, address + size), self_register, offset, value).to_its_end()

    def instruction(self, address: int) -> Any | None:
        """The decoded instruction, kept; None when there is none."""
        if address not in self._decoded:
            if len(self._decoded) > 1 << 14:
                self._decoded.clear()
            # Right before the end of what is loaded there are fewer than the 15 bytes that an instruction can have.
            code = next((code for size in (15, 8, 4, 2, 1) if (code := self._read(address, size))), b"")
            self._decoded[address] = next(self._engine.disasm(code, address, 1), None)
        return self._decoded[address]

    def load(self, address: int, size: int) -> int | None:
        content = self._read(address, size)
        return int.from_bytes(content, "little") if content is not None else None


class _Run:
    def __init__(self, machine: Machine, body: range, self_register: str, offset: int, value: int) -> None:
        self._machine = machine
        self._body = body
        self._input = (offset, Value(_CONSTANT, value, True, 1))
        self._registers: dict[str, Value] = {self_register: Value(_SELF, 0), "rsp": Value(_STACK, 0)}
        self._memory: dict[int, tuple[int, Value]] = {}
        self._flags: _Flags | None = None
        self._compared: set[int] = set()
        self._target: int | None = None
        self._entry: int | None = None
        self._loaded: int | None = None

    def to_its_end(self) -> Outcome:
        at = self._body.start
        for _ in range(_MAX_STEPS):
            instruction = self._machine.instruction(at) if at in self._body else None
            after = self._step(instruction) if instruction is not None else None
            if after is None:
                break
            at = after
        return Outcome(self._target, at, self._entry, frozenset(self._compared))

    def _step(self, instruction: Any) -> int | None:
        """The address of the next instruction; None when it is not known, or beyond what is looked at."""
        name, operands = instruction.mnemonic, instruction.operands
        after: int = instruction.address + instruction.size
        if name == "jmp":
            return self._jump(operands[0], instruction)
        if name[0] == "j":
            return self._branch(name[1:], operands[0].imm, after)
        if name in _ENDS or " " in name:  # with a prefix: rep, lock
            return None
        handler = _HANDLERS.get(name)
        if handler is not None:
            handler(self, instruction, operands)
        else:
            self._forget(instruction, operands)
        return after

    def _jump(self, operand: Any, instruction: Any) -> int | None:
        if operand.type == x86.X86_OP_IMM:
            return int(operand.imm)
        target = self._get(operand, instruction)
        if target is None or target.base != _CONSTANT or target.width < 8:
            return None
        if target.is_marked:
            self._target, self._entry = target.number, self._loaded
        return target.number

    def _branch(self, condition: str, target: int, after: int) -> int | None:
        decide = _CONDITIONS.get(condition)
        if self._flags is None or decide is None:
            return None
        flags = self._flags
        goes = target if decide(flags.zf, flags.cf, flags.sf, flags.of) else after
        if flags.is_marked:
            self._target, self._entry = goes, None
        return goes

    # ------------------------------------------------------------ instructions

    def move(self, instruction: Any, operands: Any) -> None:
        value = self._get(operands[1], instruction)
        if value is not None and operands[1].type == x86.X86_OP_IMM:
            value = value._replace(number=value.number & _MASKS[operands[0].size], width=operands[0].size)
        self._set(operands[0], instruction, value)

    def extend(self, instruction: Any, operands: Any) -> None:
        value, size = self._get(operands[1], instruction), operands[1].size
        if value is not None and (value.base != _CONSTANT or value.width < size):
            value = None
        if value is not None:
            number = value.number & _MASKS[size]
            if instruction.mnemonic != "movzx":
                number = _signed(number, size) & _MASKS[operands[0].size]
            value = Value(_CONSTANT, number, value.is_marked, operands[0].size)
        self._set(operands[0], instruction, value)

    def address(self, instruction: Any, operands: Any) -> None:
        value = self._place(operands[1], instruction)
        if value is not None and operands[0].size < 8:
            value = value._replace(number=value.number & _MASKS[operands[0].size]) if value.base == _CONSTANT else None
        self._set(operands[0], instruction, value)

    def push(self, instruction: Any, operands: Any) -> None:
        top = self._shifted("rsp", -8)
        if top is not None:
            self._store(top, 8, self._get(operands[0], instruction))

    def pop(self, instruction: Any, operands: Any) -> None:
        top = self._registers.get("rsp")
        self._set(operands[0], instruction, self._fetch(top, 8) if top is not None else None)
        self._shifted("rsp", 8)

    def calculate(self, instruction: Any, operands: Any) -> None:
        """add, sub, and, or, xor, cmp, test, inc, dec, shl, shr, neg, not."""
        name, size = instruction.mnemonic, operands[0].size
        first = self._get(operands[0], instruction)
        if name in ("inc", "dec"):
            second: Value | None = Value(_CONSTANT, 1)
            name = "add" if name == "inc" else "sub"
        else:
            second = self._get(operands[1], instruction)
        same = operands[-1].type == x86.X86_OP_REG == operands[0].type and operands[0].reg == operands[-1].reg
        if name in ("xor", "sub") and same:
            first = second = Value(_CONSTANT, 0)
        result, self._flags = self._calculated(name, first, second, size)
        if name not in ("cmp", "test"):
            self._set(operands[0], instruction, result)

    def _calculated(
        self, name: str, first: Value | None, second: Value | None, size: int
    ) -> tuple[Value | None, _Flags | None]:
        if first is None or second is None or first.width < size or second.width < size:
            return None, None
        is_marked = first.is_marked or second.is_marked
        mask = _MASKS[size]
        if first.base != _CONSTANT:
            # An address plus or minus a constant, or two addresses compared.
            if size == 8 and second.base == _CONSTANT and name in ("add", "sub"):
                change = _signed(second.number & mask, 8)
                return first._replace(number=first.number + (change if name == "add" else -change)), None
            if size == 8 and second.base == first.base and name == "cmp":
                zero = first.number == second.number
                return None, _Flags(zero, first.number < second.number, first.number < second.number, False, is_marked)
            return None, None
        if second.base != _CONSTANT:
            return (
                (second._replace(number=second.number + _signed(first.number & mask, 8)), None)
                if (name == "add" and size == 8)
                else (None, None)
            )
        a, b = first.number & mask, second.number & mask
        if name in ("cmp", "sub", "test", "xor") and first.is_marked != second.is_marked:
            self._compared.add(b if first.is_marked else a)
        carry = overflow = False
        match name:
            case "cmp" | "sub":
                number = (a - b) & mask
                carry = a < b
                overflow = not -(mask + 1) // 2 <= _signed(a, size) - _signed(b, size) <= mask // 2
            case "add":
                number = (a + b) & mask
                carry = a + b > mask
                overflow = not -(mask + 1) // 2 <= _signed(a, size) + _signed(b, size) <= mask // 2
            case "and" | "test":
                number = a & b
            case "or":
                number = a | b
            case "xor":
                number = a ^ b
            case "shl":
                return Value(_CONSTANT, (a << (b & 63)) & mask, is_marked, size), None
            case _:
                return Value(_CONSTANT, a >> (b & 63), is_marked, size), None
        sign = bool(number >> (8 * size - 1))
        return Value(_CONSTANT, number, is_marked, size), _Flags(number == 0, carry, sign, overflow, is_marked)

    def _forget(self, instruction: Any, operands: Any) -> None:
        _, written = instruction.regs_access()
        for register in written:
            name = instruction.reg_name(register)
            self._registers.pop(_WIDE.get(name, name), None)
            if name == "rflags":
                self._flags = None
        for operand in operands:
            if operand.type == x86.X86_OP_MEM and operand.access & capstone.CS_AC_WRITE:
                place = self._place(operand, instruction)
                if place is not None:
                    self._store(place, max(operand.size, 1), None)

    # ------------------------------------------------------------ operands

    def _get(self, operand: Any, instruction: Any) -> Value | None:
        if operand.type == x86.X86_OP_IMM:
            return Value(_CONSTANT, operand.imm & _MASKS[8])
        if operand.type == x86.X86_OP_REG:
            name = instruction.reg_name(operand.reg)
            value = self._registers.get(_WIDE[name]) if name in _WIDE else None
            return value if value is not None and value.width >= operand.size else None
        place = self._place(operand, instruction)
        return self._fetch(place, operand.size) if place is not None else None

    def _set(self, operand: Any, instruction: Any, value: Value | None) -> None:
        size = operand.size
        if operand.type == x86.X86_OP_MEM:
            place = self._place(operand, instruction)
            if place is not None:
                self._store(place, size, value)
            return
        name = instruction.reg_name(operand.reg)
        if name in _HIGH_BYTES:
            name = name[0] + "l"
            value = None
        wide = _WIDE.get(name)
        if wide is None:
            return
        if value is None or value.width < size or (value.base != _CONSTANT and size < 8):
            self._registers.pop(wide, None)
        elif size >= 4:  # the upper half becomes zero
            number = value.number & _MASKS[size] if value.base == _CONSTANT else value.number
            self._registers[wide] = value._replace(number=number, width=8)
        else:
            self._registers[wide] = value._replace(number=value.number & _MASKS[size], width=size)

    def _place(self, operand: Any, instruction: Any) -> Value | None:
        """The address of a memory operand."""
        memory = operand.mem
        if memory.segment in (x86.X86_REG_FS, x86.X86_REG_GS):
            return None
        place = Value(_CONSTANT, memory.disp)
        for register, scale in ((memory.base, 1), (memory.index, memory.scale)):
            if register == 0:
                continue
            name = instruction.reg_name(register)
            if name == "rip":
                part: Value | None = Value(_CONSTANT, instruction.address + instruction.size)
            else:
                part = self._registers.get(_WIDE.get(name, ""))
            if part is None or part.width < 8 or (part.base != _CONSTANT and (scale != 1 or place.base != _CONSTANT)):
                return None
            place = Value(part.base or place.base, place.number + part.number * scale, place.is_marked | part.is_marked)
        if place.base == _CONSTANT:
            return place._replace(number=place.number & _MASKS[8])
        # A negative index is a big unsigned one.
        return place._replace(number=_signed(place.number & _MASKS[8], 8))

    def _fetch(self, place: Value, size: int) -> Value | None:
        if place.base == _SELF:
            offset, value = self._input
            return value if (place.number, size) == (offset, 1) else None
        if place.base == _STACK:
            stored = self._memory.get(place.number)
            if stored is None or stored[0] < size or stored[1].width < size:
                return None
            value = stored[1]
            if value.base == _CONSTANT:
                return value._replace(number=value.number & _MASKS[size], width=size)
            return value if size == 8 else None
        number = self._machine.load(place.number, size)
        if number is None:
            return None
        if place.is_marked:
            self._loaded = place.number
        return Value(_CONSTANT, number, place.is_marked, size)

    def _store(self, place: Value, size: int, value: Value | None) -> None:
        if place.base != _STACK:
            return
        for at in range(place.number - 63, place.number + size):
            known = self._memory.get(at)
            if known is not None and at + known[0] > place.number:
                del self._memory[at]
        if value is not None and value.width >= size and (value.base == _CONSTANT or size == 8):
            number = value.number & _MASKS.get(size, 0) if value.base == _CONSTANT else value.number
            if size in _MASKS:
                self._memory[place.number] = (size, value._replace(number=number, width=size))

    def _shifted(self, register: str, change: int) -> Value | None:
        value = self._registers.get(register)
        if value is not None:
            value = self._registers[register] = value._replace(number=value.number + change)
        return value


_HANDLERS: dict[str, Callable[[_Run, Any, Any], None]] = {
    **dict.fromkeys(("mov", "movabs"), _Run.move),
    **dict.fromkeys(("movzx", "movsx", "movsxd"), _Run.extend),
    **dict.fromkeys(("add", "sub", "and", "or", "xor", "cmp", "test", "inc", "dec", "shl", "shr"), _Run.calculate),
    "lea": _Run.address,
    "push": _Run.push,
    "pop": _Run.pop,
}


def _signed(number: int, size: int) -> int:
    return number - (1 << 8 * size) if number >> (8 * size - 1) else number
