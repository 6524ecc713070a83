"""The running kernel's own description of its types: BTF, as Documentation/bpf/btf.rst in Linux's source has it.

Only what is asked for is read: where a member of a structure lies, which arguments a function has, which constants
an enumeration has.
"""

from __future__ import annotations

import struct
from array import array
from functools import cached_property
from pathlib import Path

VMLINUX = Path("/sys/kernel/btf/vmlinux")

_MAGIC = 0xEB9F
_INT, _POINTER, _ARRAY, _STRUCT, _UNION, _ENUM, _TYPEDEF, _VOLATILE, _CONST, _RESTRICT = 1, 2, 3, 4, 5, 6, 8, 9, 10, 11
_FUNCTION, _FUNCTION_PROTOTYPE, _VARIABLE, _SECTION, _DECLARATION_TAG, _TYPE_TAG, _ENUM64 = 12, 13, 14, 15, 17, 18, 19
_WORDS_EACH = {
    _STRUCT: 3,
    _UNION: 3,
    _ENUM: 2,
    _FUNCTION_PROTOTYPE: 2,
    _SECTION: 3,
    _ENUM64: 3,
}
"""Words of each of the members that follow a type."""
_WORDS_MORE = {_INT: 1, _ARRAY: 3, _VARIABLE: 1, _DECLARATION_TAG: 1}
_TRANSPARENT = (_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG)
_DEEPEST = 16
"""Structures without a name inside each other, and names for names: the kernel has three or four."""


class KernelTypes:
    """data: a whole BTF file, little-endian.  Raises ValueError when it is none, or is cut off."""

    def __init__(self, data: bytes) -> None:
        try:
            magic, version, _, header, types, type_bytes, strings, string_bytes = struct.unpack_from("<HBBIIIII", data)
        except struct.error as error:
            raise ValueError("too short for BTF") from error
        if magic != _MAGIC or version != 1:
            raise ValueError("not BTF of version 1")
        begin = header + types
        if begin + type_bytes > len(data) or header + strings + string_bytes > len(data) or type_bytes % 4:
            raise ValueError("BTF that is cut off")
        self._words = array("I", data[begin : begin + type_bytes])
        self._strings = data[header + strings : header + strings + string_bytes]

    @classmethod
    def of_kernel(cls, path: Path = VMLINUX) -> KernelTypes:
        """Raises OSError where the kernel has none, or it may not be read."""
        return cls(path.read_bytes())

    def member(self, structure: str, *path: str) -> tuple[int, int] | None:
        """(offset, size) in bytes of a member that is a number or a pointer; None: there is no such.

        path: its name, after those of the structures inside each other that it is in.
        """
        at, offset = self._find(_STRUCT, structure), 0
        for name in path:
            found = None if at is None else self._member(at, name, 0)
            if found is None:
                return None
            offset, at = offset + found[0], found[1]
        size = self._size(at)
        return (offset, size) if size else None

    def parameters(self, typedef: str) -> list[str] | None:
        """The types of the arguments of what is a pointer to a function: names of structures for pointers to such,
        "" for what has none.  None: there is no such."""
        at = self._find(_TYPEDEF, typedef)
        if at is None:
            return None
        for kind in (_POINTER, _FUNCTION_PROTOTYPE):
            at = self._resolved(self._words[at + 2])
            if at is None or self._kind(at) != kind:
                return None
        assert at is not None
        types = [self._words[at + 3 + 2 * one + 1] for one in range(self._count(at))]
        return [self._shown(one) for one in types]

    def constants(self, enumeration: str) -> dict[str, int]:
        """By name, of an enumeration; empty when there is no such."""
        at = self._find(_ENUM, enumeration)
        if at is None:
            return {}
        pairs = (self._words[at + 3 + 2 * one : at + 5 + 2 * one] for one in range(self._count(at)))
        return {self._name(name): value for name, value in pairs}

    def function(self, name: str) -> int | None:
        """The number of a function; None: there is no such."""
        at = self._find(_FUNCTION, name)
        return None if at is None else self._places.index(at)

    # ---- types by where their words begin

    @cached_property
    def _places(self) -> list[int]:
        """By number; number 0 is void, and has none."""
        words, places, at = self._words, [-1], 0
        while at + 3 <= len(words):
            places.append(at)
            kind = words[at + 1] >> 24 & 0x1F
            at += 3 + _WORDS_MORE.get(kind, 0) + _WORDS_EACH.get(kind, 0) * (words[at + 1] & 0xFFFF)
        if at != len(words):
            raise ValueError("BTF with a type that is cut off")
        return places

    def _find(self, kind: int, name: str) -> int | None:
        words = self._words
        for at in self._places[1:]:
            if words[at + 1] >> 24 & 0x1F == kind and words[at] and self._name(words[at]) == name:
                return at
        return None

    def _member(self, at: int, wanted: str, depth: int) -> tuple[int, int | None] | None:
        """(offset in bytes, type)."""
        if self._kind(at) not in (_STRUCT, _UNION):
            return None
        is_packed = self._words[at + 1] >> 31  # then the upper byte of an offset is a bit field's size
        for one in range(self._count(at)):
            name, number, offset = self._words[at + 3 + 3 * one : at + 6 + 3 * one]
            bits = offset & 0xFFFFFF if is_packed else offset
            inner = self._resolved(number)
            if name and self._name(name) == wanted:
                return (bits // 8, inner) if bits % 8 == 0 and not (is_packed and offset >> 24) else None
            if not name and inner is not None and self._kind(inner) in (_STRUCT, _UNION) and depth < _DEEPEST:
                found = self._member(inner, wanted, depth + 1)
                if found is not None:
                    return found[0] + bits // 8, found[1]
        return None

    def _size(self, at: int | None) -> int:
        """Of a number or a pointer, in bytes; else 0."""
        if at is None:
            return 0
        kind = self._kind(at)
        return 8 if kind == _POINTER else self._words[at + 2] if kind in (_INT, _ENUM, _ENUM64) else 0

    def _shown(self, number: int) -> str:
        at = self._resolved(number)
        if at is not None and self._kind(at) == _POINTER:
            at = self._resolved(self._words[at + 2])
        return self._name(self._words[at]) if at is not None else ""

    def _resolved(self, number: int) -> int | None:
        """The type that a name stands for."""
        for _ in range(_DEEPEST):
            if not 0 < number < len(self._places):
                return None
            at = self._places[number]
            if self._kind(at) not in _TRANSPARENT:
                return at
            number = self._words[at + 2]
        return None

    def _kind(self, at: int) -> int:
        return self._words[at + 1] >> 24 & 0x1F

    def _count(self, at: int) -> int:
        return self._words[at + 1] & 0xFFFF

    def _name(self, offset: int) -> str:
        end = self._strings.find(b"\0", offset)
        return self._strings[offset:end].decode(errors="replace") if end >= 0 else ""
