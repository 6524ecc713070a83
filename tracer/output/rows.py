"""Protobuf messages of constant length as rows of bytes: millions of trace packets a second by numpy.

A row's constant parts come from a template, its varying parts are columns.  A varint column has a
fixed width: the value's 7-bit groups, padded with continuation bits.  Such non-minimal varints are
legal protobuf (perfetto's trace_processor v52, v55.3 and v58.2 and protobuf's own parser read them).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.uint8]
"""One message a row, shape (n, size)."""

_MASK_56 = np.uint64((1 << 56) - 1)
_SPREAD = [
    (np.uint64(0x000000000FFFFFFF), np.uint64(0x00FFFFFFF0000000), np.uint64(4)),
    (np.uint64(0x00003FFF00003FFF), np.uint64(0x0FFFC0000FFFC000), np.uint64(2)),
    (np.uint64(0x007F007F007F007F), np.uint64(0x3F803F803F803F80), np.uint64(1)),
]
_PIECES = (8, 4, 2, 1)


@dataclass(frozen=True, slots=True)
class Varint:
    """A varying varint of `width` bytes: values below 2 ** (7 * width); 10 bytes hold any 64 bits."""

    name: str
    width: int


@dataclass(frozen=True, slots=True)
class Fixed:
    """A varying fixed64."""

    name: str
    width = 8


Part = bytes | Varint | Fixed


def varint(value: int) -> bytes:
    """The minimal encoding of one unsigned integer."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, value: int | Varint) -> list[Part]:
    """A varint field, constant or varying."""
    if isinstance(value, Varint):
        return [varint(number << 3), value]
    return [varint(number << 3) + varint(value)]


def fixed(number: int, value: Fixed) -> list[Part]:
    """A varying fixed64 field."""
    return [varint(number << 3 | 1), value]


def message(number: int, *fields: list[Part]) -> list[Part]:
    """A nested message."""
    parts = [part for one in fields for part in one]
    return [varint(number << 3 | 2) + varint(_length(parts)), *parts]


def delimited(number: int, body: bytes) -> bytes:
    """A length-delimited field with a constant body."""
    return varint(number << 3 | 2) + varint(len(body)) + body


def _length(parts: list[Part]) -> int:
    return sum(len(part) if isinstance(part, bytes) else part.width for part in parts)


def _groups(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The low 56 bits of each value with one 7-bit group in each byte."""
    spread = values & _MASK_56
    for low, high, shift in _SPREAD:
        spread = (spread & low) | ((spread & high) << shift)
    return spread


class RowFormat:
    """A message of constant length, as an element of the repeated field 1 of its parent (`Trace.packet`)."""

    def __init__(self, *fields: list[Part]) -> None:
        parts = message(1, *fields)
        template = bytearray()
        self._columns: dict[str, list[tuple[int, int]]] = {}
        self._fixed: dict[str, list[int]] = {}
        for part in parts:
            if isinstance(part, bytes):
                template += part
            elif isinstance(part, Fixed):
                self._fixed.setdefault(part.name, []).append(len(template))
                template += bytes(part.width)
            else:
                self._columns.setdefault(part.name, []).append((len(template), part.width))
                template += bytes(part.width)
        self.size = len(template)
        self._template = np.frombuffer(bytes(template), np.uint8)
        names, formats, offsets = [], [], []
        for places in self._columns.values():
            for place, width in places:
                for at, piece in _split(width):
                    names.append(f"{place + at}")
                    formats.append(f"<u{piece}")
                    offsets.append(place + at)
        for place in (place for places in self._fixed.values() for place in places):
            names.append(f"{place}")
            formats.append("<u8")
            offsets.append(place)
        self._layout = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": self.size})

    def has(self, column: str) -> bool:
        """Whether there is such a column."""
        return column in self._columns

    def rows(self, count: int) -> Rows:
        """`count` copies of the template, to be filled."""
        out = np.empty((count, self.size), np.uint8)
        out[:] = self._template
        return out

    def fill(self, rows: Rows, /, **columns: npt.ArrayLike) -> Rows:
        """Write columns into rows of this format, in place.  Values are unsigned; each has to fit its width."""
        records = rows.reshape(-1).view(self._layout)
        for name, values in columns.items():
            column = np.asarray(values).astype(np.uint64, copy=False)
            for place in self._fixed.get(name, ()):
                records[f"{place}"] = column
            if name not in self._columns:
                continue
            groups = _groups(column)
            for place, width in self._columns[name]:
                _store(records, place, width, column, groups)
        return rows

    def encode(self, count: int, /, **columns: npt.ArrayLike) -> Rows:
        """`count` rows with these columns."""
        return self.fill(self.rows(count), **columns)


def _split(width: int) -> list[tuple[int, int]]:
    """A column as little-endian pieces: (offset, bytes) of each."""
    pieces, at = [], 0
    for piece in _PIECES:
        while width - at >= piece:
            pieces.append((at, piece))
            at += piece
    return pieces


def _store(
    records: npt.NDArray[np.void],
    place: int,
    width: int,
    values: npt.NDArray[np.uint64],
    groups: npt.NDArray[np.uint64],
) -> None:
    """One varint column: continuation bits on all bytes but the last."""
    low = min(width, 8)
    continued = int.from_bytes(b"\x80" * (low if width > 8 else low - 1), "little")
    padded = groups | np.uint64(continued)
    for at, piece in _split(width):
        if at < 8:
            records[f"{place + at}"] = (padded >> np.uint64(8 * at)).astype(f"<u{piece}", copy=False)
        elif width == 9:
            records[f"{place + at}"] = (values >> np.uint64(56)).astype(np.uint8)
        else:
            ninth = (values >> np.uint64(56)) & np.uint64(0x7F) | np.uint64(0x80)
            tenth = values >> np.uint64(63)
            records[f"{place + at}"] = (ninth | tenth << np.uint64(8)).astype("<u2")
