"""A BPF program as it was compiled, before any of its maps is there; how it is kept for the next run.

Instructions are those of linux/bpf.h, 8 bytes each: opcode, registers (the source's in the upper half), offset, number.
"""

from __future__ import annotations

import base64
import contextlib
import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import astuple, dataclass

from tracer.target.own_files import OwnFiles

_LOAD_64, _BY_MAP = 0x18, 1
_MAX_TEXT = 16 << 20
_NOT_OURS = (
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    OverflowError,
    RecursionError,
    MemoryError,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class MapShape:
    """What a map is made of.  kind: enum bpf_map_type.  sizes in bytes."""

    name: str
    kind: int
    key_size: int
    value_size: int
    entries: int
    flags: int


@dataclass(frozen=True, slots=True)
class Compiled:
    """functions: by name their instructions, in which a map is told by its index in `maps`."""

    maps: tuple[MapShape, ...]
    functions: dict[str, bytes]


def with_maps(instructions: bytes, numbers: Mapping[int, int]) -> bytes:
    """The same with other numbers for maps.  Raises KeyError when one is not told, ValueError when the instructions
    refer to something else that is not theirs."""
    if len(instructions) % 8:
        raise ValueError("it ends in an instruction")
    code = bytearray(instructions)
    at = 0
    while at < len(code):
        opcode, registers, _, number = struct.unpack_from("<BBhi", code, at)
        if opcode == _LOAD_64:
            if registers >> 4 not in (0, _BY_MAP):
                raise ValueError("it refers to more than maps")
            if registers >> 4 == _BY_MAP:
                struct.pack_into("<i", code, at + 4, numbers[number])
            at += 8  # its second half is no opcode
        at += 8
    return bytes(code)


class KeptPrograms:
    """Compiled programs of earlier runs.  No method raises: what cannot be kept is compiled again."""

    def __init__(self, files: OwnFiles) -> None:
        self._files = files

    def load(self, name: str) -> Compiled | None:
        """name: a digest of all that the compiler was given."""
        try:
            unpacker = zlib.decompressobj()
            text = unpacker.decompress(self._files.read(name), _MAX_TEXT)
            if not unpacker.eof:
                return None
            maps, functions = json.loads(text)
            return Compiled(
                tuple(MapShape(str(row[0]), *map(int, row[1:])) for row in maps),
                {str(one): base64.b64decode(code, validate=True) for one, code in functions.items()},
            )
        except _NOT_OURS:
            return None

    def store(self, name: str, compiled: Compiled) -> None:
        functions = {one: base64.b64encode(code).decode() for one, code in compiled.functions.items()}
        text = json.dumps([[astuple(shape) for shape in compiled.maps], functions])
        with contextlib.suppress(OSError):
            self._files.write(name, zlib.compress(text.encode()))
