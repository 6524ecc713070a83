"""Damage: bytes, structures and texts, changed by a random generator that can be repeated."""

from __future__ import annotations

from random import Random
from typing import Any

NUMBERS = (
    0,
    1,
    2,
    3,
    7,
    8,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    2**63 - 1,
    2**63,
    2**64 - 1,
)
PIECES = (
    b"\xff" * 8,
    b"\0" * 8,
    b"\x80" * 16,
    b"\x80" * 9 + b"\x01",
    b"\xff\xff\xff\xff\x0f",
    b"\x01" * 16,
    b"../" * 4,
)
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 2**32, 2**63, 2**64, -(2**70), 10**400, 0.5, float("nan"), float("inf"), "", "x",
    "\x1b[2J\n",
    "9" * 5000, [], [[]], {}, {"a": 1}, "A" * 100_000, "\ud800",
)  # fmt: skip


def damaged(random: Random, data: bytes, begin: int = 0, end: int | None = None) -> bytes:
    """Some changes of the bytes from `begin` to `end` that keep the length."""
    content = bytearray(data)
    end = len(content) if end is None else min(end, len(content))
    if begin >= end:
        return data
    for _ in range(1 + min(int(random.expovariate(0.7)), 12)):
        at = random.randrange(begin, end)
        way = random.randrange(6)
        if way == 0:
            content[at] ^= 1 << random.randrange(8)
        elif way == 1:
            content[at] = random.randrange(256)
        elif way == 2:
            size = random.choice((1, 2, 4, 8))
            _put(content, at, end, (random.choice(NUMBERS) & (1 << 8 * size) - 1).to_bytes(size, "little"))
        elif way == 3:
            _put(content, at, end, random.choice(PIECES))
        elif way == 4:  # something that is valid elsewhere
            source = random.randrange(begin, end)
            _put(content, at, end, bytes(content[source : source + random.choice((1, 4, 8, 16, 64))]))
        else:
            size = random.choice((1, 2, 4, 8))
            value = int.from_bytes(content[at : at + size], "little") + random.choice((-1, 1, -8, 8, 256, 1 << 20))
            _put(content, at, end, (value & (1 << 8 * size) - 1).to_bytes(size, "little"))
    return bytes(content)


def _put(content: bytearray, at: int, end: int, piece: bytes) -> None:
    piece = piece[: end - at]
    content[at : at + len(piece)] = piece


def resized(random: Random, data: bytes, tokens: tuple[bytes, ...] = PIECES) -> bytes:
    """damaged(), or with pieces more or less."""
    for _ in range(random.randrange(1, 4)):
        at = random.randrange(len(data) + 1)
        way = random.randrange(5)
        if way == 0:
            data = data[:at] + data[at + random.randrange(1, 40) :]
        elif way == 1:
            data = data[:at] + random.choice(tokens) * random.choice((1, 1, 2, 50)) + data[at:]
        elif way == 2:
            other = random.randrange(len(data) + 1)
            data = data[:at] + data[other : other + random.randrange(60)] * random.choice((1, 1, 3, 40)) + data[at:]
        elif way == 3 and random.random() < 0.2:
            data = data[:at]
        else:
            data = damaged(random, data)
    return data


def changed(random: Random, document: Any) -> Any:
    """A JSON document with one value, anywhere in it, that does not belong there."""
    if isinstance(document, list | dict) and document and random.random() < 0.93:
        keys = list(range(len(document))) if isinstance(document, list) else list(document)
        key = random.choice(keys)
        copy: Any = document.copy()
        if random.random() < 0.04:
            del copy[key]
        else:
            copy[key] = changed(random, document[key])
        return copy
    return nested(random) if random.random() < 0.02 else random.choice(VALUES)


def nested(random: Random) -> Any:
    """Lists in lists, deeper than Python's stack."""
    document: Any = 1
    for _ in range(random.choice((50, 900))):
        document = [document]
    return document
