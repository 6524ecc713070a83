"""How a capture lies on disk: a file header, then blocks until the end of the file.

File header, 16 bytes: MAGIC, format version (u32), zero (u32).

Block, little-endian, 48 bytes of header and then record_size * count bytes of payload:

    marker   4 bytes   MARKER, so that a reader can find the next block behind a damaged one
    tag      4 bytes   what the payload is; an unknown tag is skipped
    size     u32       bytes of one record (1 for a message)
    count    u32       records (bytes of a message)
    cpu      i32       the CPU whose records these are, -1: several or none
    zero     u32
    first    u64       earliest and latest time in it, nanoseconds of CLOCK_MONOTONIC; 0: no time
    last     u64
    crc      u32       CRC-32 of the payload
    check    u32       CRC-32 of the 44 bytes before

A message's payload is one protobuf message of proto/capture.proto.  The first block is RECORDING.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

MAGIC = b"\x89RATCAP\n"
FORMAT_VERSION = 1
MARKER = b"\xf1RB\n"

FILE_HEADER = struct.Struct("<8sII")
_FIELDS = struct.Struct("<4s4sIIiIQQI")
_CHECK = struct.Struct("<I")
BLOCK_HEADER_SIZE = _FIELDS.size + _CHECK.size

MAX_PAYLOAD = 64 << 20
"""No block is longer, so that a damaged or hostile length cannot make a reader take more memory."""

RECORDING, EVENTS, THREADS = b"RECO", b"EVNT", b"THRD"
PLAN_CHANGE, LOSS, PROCESS_END, CAPTURE_END = b"PLAN", b"LOSS", b"PEND", b"CEND"
MEMORY, HALT = b"MEMR", b"HALT"
STACK_SAMPLES, STACKS = b"STSA", b"STCK"
SEGMENT = b"SEGM"


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """tag: 4 bytes.  first, last: nanoseconds, 0 when the block has no time.  crc: of the payload."""

    tag: bytes
    record_size: int
    count: int
    cpu: int
    first: int
    last: int
    crc: int

    @property
    def payload_size(self) -> int:
        return self.record_size * self.count

    def pack(self) -> bytes:
        fields = _FIELDS.pack(
            MARKER, self.tag, self.record_size, self.count, self.cpu, 0, self.first, self.last, self.crc
        )
        return fields + _CHECK.pack(zlib.crc32(fields))


def parse_block_header(data: bytes) -> BlockHeader | None:
    """The header in the first BLOCK_HEADER_SIZE bytes, or None when it is damaged or too short."""
    if len(data) < BLOCK_HEADER_SIZE or not data.startswith(MARKER):
        return None
    fields = data[: _FIELDS.size]
    if _CHECK.unpack_from(data, _FIELDS.size)[0] != zlib.crc32(fields):
        return None
    _, tag, record_size, count, cpu, _, first, last, crc = _FIELDS.unpack(fields)
    header = BlockHeader(tag, record_size, count, cpu, first, last, crc)
    return header if header.payload_size <= MAX_PAYLOAD else None
