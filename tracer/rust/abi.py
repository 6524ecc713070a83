"""Where a poll function has its arguments and its result, in rustc's own ABI on x86-64.

The rule, found by experiment with rustc 1.63 to 1.97 and equal to what the location lists of all
functions said that have a usable one: the result goes to memory that the caller names in rdi when
it is larger than 16 bytes, or larger than 8 and neither a scalar nor a pair of scalars.  The
arguments then begin with rsi, otherwise with rdi.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from tracer.model import Register, ResultEncoding
from tracer.rust.forms import Tag
from tracer.rust.generators import PENDING
from tracer.rust.types import STATE, Member, Type, Types

_REGISTERS = {0x51: Register.RDX, 0x54: Register.RSI, 0x55: Register.RDI}
"""DW_OP_reg1, reg4 and reg5 of the x86-64 psABI's DWARF register numbers."""

_FLOATS = frozenset({"f16", "f32", "f64", "f128"})
_REPR_C = re.compile(r"Atomic(?:Bool$|Ptr<|[IU](?:8|16|32|64|128|size)$|<)")
"""Structs that are `repr(C)`: rustc does not treat them like the one scalar they contain.  DWARF does
not tell; these are the standard library's."""

_MAX_DEPTH = 32


class Shape(Enum):
    """rustc's BackendRepr: how a value travels."""

    NOTHING = "zero-sized"
    SCALAR = "scalar"
    FLOAT = "float"
    PAIR = "pair of scalars"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Representation:
    """size: bytes, of the value as it travels."""

    shape: Shape
    size: int


_NOTHING = Representation(Shape.NOTHING, 0)


class Abi:
    """Representations of types, kept."""

    def __init__(self, types: Types) -> None:
        self._types = types
        self._known: dict[int, Representation] = {}

    def returns_in_memory(self, result: Type) -> bool:
        """Whether the caller passes in rdi where the result is to go.  Raises DwarfError."""
        if result.size > 16:
            return True
        return self.representation(result.offset).shape is Shape.MEMORY and result.size > 8

    def is_certain(self, result: Type | None) -> bool:
        """Whether the size alone decides how the result travels; between 8 and 16 bytes it is the shape,
        which a `repr(C)` struct, not recognisable in DWARF, can make another than it looks."""
        return result is None or not 8 < result.size <= 16

    def arguments(self, result: Type | None) -> tuple[Register, Register]:
        """Where self and the context are at the entry; result None: zero-sized.  Raises DwarfError."""
        if result is not None and self.returns_in_memory(result):
            return Register.RSI, Register.RDX
        return Register.RDI, Register.RSI

    def result_encoding(self, result: Type) -> ResultEncoding | None:
        """How rax tells Pending from Ready; None when it does not.  Raises DwarfError."""
        part = result.variant_part
        if part is None or part.discriminant is None or self.returns_in_memory(result):
            return None
        representation = self.representation(result.offset)
        discriminant = part.discriminant
        pending = next((value for value, member in part.variants if member.name in PENDING), None)
        if pending is None or not 1 <= discriminant.size <= 8 or representation.shape is Shape.FLOAT:
            return None
        # Of a pair rax holds the first half, which begins at 0 and is as large as the tag or the niche.
        if representation.shape is Shape.PAIR and discriminant.offset != 0:
            return None
        if discriminant.offset + discriminant.size > 8:
            return None
        shift = 8 * discriminant.offset
        return ResultEncoding(((1 << 8 * discriminant.size) - 1) << shift, pending << shift)

    def representation(self, offset: int, depth: int = 0) -> Representation:
        """Raises DwarfError."""
        known = self._known.get(offset)
        if known is None:
            type_ = self._types.at(offset)
            if depth > _MAX_DEPTH:
                return Representation(Shape.MEMORY, type_.size)
            # What contains itself by value cannot exist; the provisional answer ends the recursion.
            self._known[offset] = Representation(Shape.MEMORY, type_.size)
            known = self._known[offset] = self._represent(type_, depth + 1)
        return known

    def _represent(self, type_: Type, depth: int) -> Representation:
        memory = Representation(Shape.MEMORY, type_.size)
        if type_.size == 0:
            return _NOTHING
        if type_.tag in (Tag.BASE, Tag.POINTER, Tag.ENUMERATION):
            return Representation(Shape.FLOAT if type_.name in _FLOATS else Shape.SCALAR, type_.size)
        if type_.tag == Tag.UNION:
            parts = [self._of(member, depth) for member in type_.members]
            parts = [part for part in parts if part.shape is not Shape.NOTHING]
            return parts[0] if parts and len(set(parts)) == 1 and parts[0].size == type_.size else memory
        if type_.tag != Tag.STRUCTURE or _REPR_C.match(type_.name):
            return memory
        if type_.variant_part is None:
            return self._struct([self._of(member, depth) for member in type_.members], type_.size)
        return self._enum(type_, depth)

    def _of(self, member: Member, depth: int) -> Representation:
        return self.representation(member.type, depth) if member.type is not None else _NOTHING

    @staticmethod
    def _struct(parts: list[Representation], size: int) -> Representation:
        parts = [part for part in parts if part.shape is not Shape.NOTHING]
        if len(parts) == 1 and parts[0].size == size:
            return parts[0]
        if len(parts) == 2 and all(part.shape in (Shape.SCALAR, Shape.FLOAT) for part in parts):
            return Representation(Shape.PAIR, size)
        return Representation(Shape.MEMORY, size)

    def _enum(self, type_: Type, depth: int) -> Representation:
        part = type_.variant_part
        memory = Representation(Shape.MEMORY, type_.size)
        if part is None or (part.discriminant is not None and part.discriminant.name == STATE):
            return memory
        contents: list[tuple[int | None, list[Representation]]] = []
        for value, member in part.variants:
            fields = self._types.at(member.type).members if member.type is not None else ()
            found = [self._of(field, depth) for field in fields]
            contents.append((value, [field for field in found if field.shape is not Shape.NOTHING]))
        full = [fields for _, fields in contents if fields]
        if part.discriminant is None:
            return self._struct(full[0], type_.size) if len(full) == 1 else (memory if full else _NOTHING)
        if not full:
            return Representation(Shape.SCALAR, type_.size)
        if any(value is None for value, _ in contents):  # the tag is a niche of the variant with value None
            main = next(fields for value, fields in contents if value is None)
            if len(full) > 1 or not main:
                return memory
            return self._struct(main, type_.size)
        # Tagged: a pair when every variant with content has the same single scalar.
        scalars = {(fields[0].shape, fields[0].size) if len(fields) == 1 else None for fields in full}
        kind = scalars.pop() if len(scalars) == 1 else None
        if kind is not None and kind[0] in (Shape.SCALAR, Shape.FLOAT):
            return Representation(Shape.PAIR, type_.size)
        return memory


def register_of(expression: bytes | None) -> Register | None:
    """The register that a location expression names, when it is an argument register and nothing more."""
    return _REGISTERS.get(expression[0]) if expression is not None and len(expression) == 1 else None
