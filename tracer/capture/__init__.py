"""The capture file: what the kernel sent, on disk while it is being recorded.

A capture is read anywhere: nothing here needs root, BCC or the traced process.
"""

from __future__ import annotations

from tracer.capture.format import FORMAT_VERSION
from tracer.capture.reader import CaptureReader, Item, is_capture
from tracer.capture.writer import DEFAULT_MAX_SIZE, CaptureWriter

__all__ = ["DEFAULT_MAX_SIZE", "FORMAT_VERSION", "CaptureReader", "CaptureWriter", "Item", "is_capture"]
