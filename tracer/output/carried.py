"""The summary inside a trace: one instant of the track "rat-ebpf" has its document, as JSON text, for an argument.

A thinned trace does not hold what a summary is made of; so it carries the document.  To Perfetto it is an argument
like any other: `extract_arg(arg_set_id, 'debug.document')` in a query.
"""

from __future__ import annotations

import json
import mmap
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from tracer.errors import BadCapture
from tracer.output.summary_document import SCHEMA

SUMMARY, SUMMARY_KEY, CHECK_KEY = "summary", "document", "crc32"
"""Names of the instant and of its arguments, the text and its CRC-32."""

_PACKET = 0x0A
"""The tag of Trace.packet, of which a trace file is a sequence (Perfetto's protos/perfetto/trace/trace.proto)."""
_TRACK_EVENT, _EVENT_NAME, _ANNOTATION = 11, 23, 4
_ANNOTATION_NAME, _ANNOTATION_INT, _ANNOTATION_STRING = 10, 4, 6
"""Numbers of the fields TracePacket.track_event; TrackEvent.name, .debug_annotations; DebugAnnotation.name, .int_value,
.string_value (Perfetto v52)."""
_OURS = b"rat-ebpf"
_FIRST_PACKETS = 1 << 16


def text_of(summary: Mapping[str, Any]) -> str:
    """The document as text that nothing on the way changes: ASCII without control characters."""
    return json.dumps(summary, separators=(",", ":")).replace("\x7f", "\\u007f")


def read_summary(path: Path) -> dict[str, Any]:
    """The summary that a trace of ours carries.  Raises BadCapture for any other file, and with the reason."""
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: an empty file
        why = error.strerror if isinstance(error, OSError) else "it is empty"
        raise BadCapture(f"{path} cannot be read: {why}", fix=f"ls -l {path}") from None
    with data:
        return _summary_in(data, path)


def print_carried(document: dict[str, Any], path: Path, console: Console) -> None:
    """Print a summary that a trace carries, and that somebody else may have made.

    Raises BadCapture where it is not as ours are.
    """
    from tracer.output.printed_summary import print_summary

    try:
        print_summary(document, console)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise BadCapture(
            f"the summary in {path} was made by another version of rat-ebpf, or by another program",
            why=f"it has no {error}" if isinstance(error, KeyError) else f"it has a value of another kind ({error})",
            fix=f"rat-ebpf report --json {path}",
        ) from None


def _summary_in(data: mmap.mmap, path: Path) -> dict[str, Any]:
    start = data[:_FIRST_PACKETS]
    if start.startswith(b"\x1f\x8b"):
        raise BadCapture(
            f"{path} is compressed", fix=f"gunzip -c {path} > trace.pftrace; rat-ebpf report trace.pftrace"
        )
    if start.lstrip()[:1] in (b"{", b"["):
        raise BadCapture(
            f"{path} is JSON, not a Perfetto trace",
            why="only those of --format perfetto carry the summary",
            fix="rat-ebpf report FILE.ratcap   # or FILE.pftrace",
        )
    if start[:1] != bytes([_PACKET]) or _OURS not in start:
        raise BadCapture(
            f"{path} is neither a capture nor a trace of rat-ebpf",
            fix="make one: sudo rat-ebpf --pid PID -o FILE.pftrace",
        )
    packet = _last_packet(data)
    if packet is None:
        raise BadCapture(
            f"{path} is cut off or damaged",
            why="the summary, which is at its end, is missing",
            fix="rat-ebpf report FILE.ratcap   # if its capture was kept",
        )
    text = _carried_text(packet)
    if text is None:
        raise BadCapture(
            f"{path} carries no summary",
            why="`rat-ebpf sample` wrote it, another version, or another program",
            fix="rat-ebpf report FILE.ratcap   # if its capture was kept",
        )
    return _document(text, path)


def _last_packet(data: mmap.mmap) -> bytes | None:
    """The payload of the last packet; None when the file is no whole sequence of packets."""
    at, start, size = 0, 0, len(data)
    while at < size:
        if data[at] != _PACKET:
            return None
        length, start = _varint(data, at + 1)
        at = start + length
    return data[start:at] if at == size else None


def _carried_text(packet: bytes) -> str | None:
    event = _only(packet, _TRACK_EVENT)
    if _only(event, _EVENT_NAME) != SUMMARY.encode():
        return None
    annotations = [one for number, one in _fields(event) if number == _ANNOTATION and isinstance(one, bytes)]
    arguments = {_only(one, _ANNOTATION_NAME): one for one in annotations}
    text = _only(arguments.get(SUMMARY_KEY.encode(), b""), _ANNOTATION_STRING)
    check = dict(_fields(arguments.get(CHECK_KEY.encode(), b""))).get(_ANNOTATION_INT)
    return text.decode("ascii") if check == zlib.crc32(text) and text.isascii() else None


def _only(message: bytes, number: int) -> bytes:
    """The bytes of one field; none when it is missing."""
    found = dict(_fields(message)).get(number)
    return found if isinstance(found, bytes) else b""


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """The numbers and values of a message's fields, as far as they can be read."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        value, at = _varint(message, at) if kind in (0, 2) else (0, at + {1: 8, 5: 4}.get(kind, len(message)))
        if kind == 2:
            yield tag >> 3, message[at : at + value]
            at += value
        elif kind == 0:
            yield tag >> 3, value


def _varint(data: bytes | mmap.mmap, at: int) -> tuple[int, int]:
    """A number of ten bytes at most, and the place behind it."""
    value = 0
    for shift, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << 7 * shift
        at += 1
        if byte < 0x80:
            break
    return value, at


def _document(text: str, path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(text)
        schema = document["schema"]
    except (ValueError, LookupError, TypeError, RecursionError):
        schema = None
    if not isinstance(schema, int):
        raise BadCapture(f"the summary in {path} is not one of rat-ebpf", why="another program made it")
    if schema > SCHEMA:
        raise BadCapture(
            f"{path} carries a summary of schema {schema}",
            why=f"this program knows schema {SCHEMA}",
            fix="pip install --upgrade rat-ebpf",
        )
    return document
