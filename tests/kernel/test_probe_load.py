"""Programs are loaded whatever happens meanwhile."""

from __future__ import annotations

import os
import signal
import struct
import time
from types import FrameType

from tracer.probe.kernel import PROGRAM_UPROBE, RETURN_0, load_program

_ADD_1 = struct.pack("<BBhi", 0x07, 0, 0, 1)
_STEPS = 60_000
_SIGNALS = 20


def test_a_signal_while_the_kernel_looks_at_a_program_does_no_harm() -> None:
    """The kernel gives up with EAGAIN then, which was an error once."""
    code = RETURN_0[:8] + _ADD_1 * _STEPS + RETURN_0
    began = time.monotonic()
    os.close(load_program(PROGRAM_UPROBE, code))
    takes = time.monotonic() - began
    came = 0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came += 1

    before = signal.signal(signal.SIGALRM, note)
    try:
        for one in range(_SIGNALS):
            signal.setitimer(signal.ITIMER_REAL, takes * (one + 0.5) / _SIGNALS)
            os.close(load_program(PROGRAM_UPROBE, code))
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert came > _SIGNALS // 2
