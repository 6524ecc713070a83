"""The content of compressed sections; what they say of their size is checked before anything is allocated."""

from __future__ import annotations

import zlib
from pathlib import Path

import zstandard

from tracer.target.elf_headers import Section, damaged

_MAX_SECTION = 4 << 30
_COMPRESSED = 0x800
_CHDR_SIZE = 24
_ZLIB, _ZSTD = 1, 2
_OLD_MAGIC = b"ZLIB"
_OLD_HEADER = 12


def is_compressed(section: Section) -> bool:
    """In either of the two ways."""
    return bool(section.flags & _COMPRESSED) or section.is_old_compressed


def decompressed(path: Path, section: Section, content: memoryview) -> bytes:
    """What a compressed section holds.  path: of its file, for errors.  Raises NotTraceable.

    Elf64_Chdr of the gABI: u4 type, u4 reserved, u8 size, u8 alignment, then the stream.  The old way of GNU's tools
    (.zdebug_info): "ZLIB", u8 size with the highest byte first, then the stream.
    """
    name = section.name
    if len(content) < (_OLD_HEADER if section.is_old_compressed else _CHDR_SIZE):
        raise damaged(path, f"its section {name} is too short to be compressed")
    if section.is_old_compressed:
        kind = _ZLIB if content[:4] == _OLD_MAGIC else None
        size, stream = int.from_bytes(content[4:_OLD_HEADER], "big"), content[_OLD_HEADER:]
    else:
        kind = int.from_bytes(content[:4], "little")
        size, stream = int.from_bytes(content[8:16], "little"), content[_CHDR_SIZE:]
    if size > min(_MAX_SECTION, 1 << 20 | len(stream) * 20_000):
        raise damaged(path, f"its section {name} claims {size} bytes")
    try:
        if kind == _ZLIB:
            result = zlib.decompressobj().decompress(stream, size) if size else b""  # 0 would be no bound
        elif kind == _ZSTD:
            with zstandard.ZstdDecompressor().stream_reader(stream) as reader:
                result = reader.read(size)
        else:
            raise damaged(path, f"its section {name} is compressed in an unknown way ({kind})")
    except (zlib.error, zstandard.ZstdError, MemoryError) as error:
        raise damaged(path, f"its section {name} cannot be decompressed ({error})") from error
    if len(result) != size:
        raise damaged(path, f"its section {name} is shorter than it says")
    return result
