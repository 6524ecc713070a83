"""The capture file: what the kernel sent, on disk while it is being recorded.

A capture is read anywhere: nothing here needs root, BCC or the traced process.
"""

from __future__ import annotations

from tracer.capture.follower import Restart, RingFollower
from tracer.capture.format import FORMAT_VERSION
from tracer.capture.joining import join
from tracer.capture.raw_stacks import NAME as RAW_STACKS
from tracer.capture.raw_stacks import RawStack, RawStackReader, RawStackWriter
from tracer.capture.reader import CaptureReader, Item, is_capture
from tracer.capture.ring import RING_SUFFIX, RingWriter, left_behind, remove_ring, segments_of, spare_of
from tracer.capture.ring_reader import RingReader, open_capture, open_latest
from tracer.capture.writer import DEFAULT_MAX_SIZE, CaptureWriter

__all__ = [
    "DEFAULT_MAX_SIZE",
    "FORMAT_VERSION",
    "RAW_STACKS",
    "RING_SUFFIX",
    "CaptureReader",
    "CaptureWriter",
    "Item",
    "RawStack",
    "RawStackReader",
    "RawStackWriter",
    "Restart",
    "RingFollower",
    "RingReader",
    "RingWriter",
    "is_capture",
    "join",
    "left_behind",
    "open_capture",
    "open_latest",
    "remove_ring",
    "segments_of",
    "spare_of",
]
