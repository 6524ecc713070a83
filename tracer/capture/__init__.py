"""The capture file: what the kernel sent, on disk while it is being recorded.

A capture is read anywhere: nothing here needs root, BCC or the traced process.
"""

from __future__ import annotations

from tracer.capture.format import FORMAT_VERSION
from tracer.capture.joining import join
from tracer.capture.reader import CaptureReader, Item, is_capture
from tracer.capture.ring import RING_SUFFIX, RingWriter, left_behind, remove_ring, segments_of
from tracer.capture.ring_reader import RingReader, open_capture, open_latest
from tracer.capture.writer import DEFAULT_MAX_SIZE, CaptureWriter

__all__ = [
    "DEFAULT_MAX_SIZE",
    "FORMAT_VERSION",
    "RING_SUFFIX",
    "CaptureReader",
    "CaptureWriter",
    "Item",
    "RingReader",
    "RingWriter",
    "is_capture",
    "join",
    "left_behind",
    "open_capture",
    "open_latest",
    "remove_ring",
    "segments_of",
]
