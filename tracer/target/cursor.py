"""Reading a piece of DWARF from its begin to its end."""

from __future__ import annotations

import struct

_LONGEST = 10
"""Bytes of a LEB128 number of 64 bits."""


class Cursor:
    """A position in some bytes.  Reading beyond their end raises IndexError or struct.error, and nothing else."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data = data
        self._at = at

    @property
    def at(self) -> int:
        return self._at

    @property
    def is_at_end(self) -> bool:
        return self._at >= len(self._data)

    def number(self, form: str) -> int:
        """A number of fixed size, as struct writes it."""
        value = struct.unpack_from(form, self._data, self._at)[0]
        self._at += struct.calcsize(form)
        return int(value)

    def uleb(self) -> int:
        """An unsigned LEB128 number."""
        value = 0
        for shift in range(0, 7 * _LONGEST, 7):
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise IndexError("a number is too long")

    def sleb(self) -> int:
        """A signed LEB128 number."""
        begin = self._at
        value = self.uleb()
        bits = 7 * (self._at - begin)
        return value - (1 << bits) if value >> (bits - 1) & 1 else value

    def block(self, size: int) -> bytes:
        """So many bytes."""
        if size < 0 or self._at + size > len(self._data):
            raise IndexError("a block is cut off")
        self._at += size
        return self._data[self._at - size : self._at]

    def rest(self) -> bytes:
        """All that is left."""
        return self._data[self._at :]

    def text(self) -> bytes:
        """Up to the next NUL, which is passed."""
        end = self._data.find(b"\0", self._at)
        if end < 0:
            raise IndexError("a string has no end")
        begin, self._at = self._at, end + 1
        return self._data[begin:end]

    def skip(self, distance: int) -> None:
        """Forwards or back."""
        if not 0 <= self._at + distance <= len(self._data):
            raise IndexError("a jump leads out")
        self._at += distance
