"""Where a thread waits, seen from outside: it is the same wait only if the thread did not run in between."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tracer.target.call_frames import RETURN_ADDRESS, STACK_POINTER
from tracer.target.process import TargetProcess
from tracer.target.standing import Standing, copy_of_stack, standing


@contextmanager
def running(*command: str) -> Iterator[TargetProcess]:
    with subprocess.Popen(command) as process:
        try:
            yield TargetProcess.open(process.pid)
        finally:
            process.kill()


def waits(process: TargetProcess) -> Standing:
    for _ in range(500):
        there = standing(process, process.pid)
        if there is not None and there.call[0] in ("35", "230"):  # nanosleep, clock_nanosleep
            return there
        time.sleep(0.01)
    pytest.fail("it did not go to sleep")


def test_one_that_did_not_run_stands_where_it_stood() -> None:
    with running("/bin/sleep", "60") as process:
        there = waits(process)
        time.sleep(0.05)
        assert standing(process, process.pid) == there
        copy = copy_of_stack(process, process.pid, there, 1 << 20)
        short = copy_of_stack(process, process.pid, there, 64)
    assert copy is not None
    assert short is not None
    assert (copy.registers[STACK_POINTER], copy.registers[RETURN_ADDRESS]) == (there.stack_pointer, there.at)
    assert copy.registers.count(None) == len(copy.registers) - 2
    assert len(copy.content) == copy.until - there.stack_pointer
    assert short.content == copy.content[:64]
    assert standing(process, process.pid) is None  # it has ended
    assert copy_of_stack(process, process.pid, there, 64) is None


def test_the_same_place_again_is_another_wait() -> None:
    """A thread that sleeps again and again, always by the same call."""
    process, is_over = TargetProcess.open(os.getpid()), threading.Event()

    def sleep() -> None:
        while not is_over.is_set():
            time.sleep(0.01)

    thread = threading.Thread(target=sleep)
    thread.start()
    try:
        tid = thread.native_id
        assert tid is not None
        seen = set()
        for _ in range(50):
            seen.add(standing(process, tid))
            time.sleep(0.012)
    finally:
        is_over.set()
        thread.join()
    seen.discard(None)
    assert len({(one.stack_pointer, one.at) for one in seen if one is not None}) == 1
    assert len(seen) > 10


def test_one_that_runs_or_is_stopped_does_not_wait() -> None:
    with running("/bin/sh", "-c", "while :; do :; done") as process:
        assert [standing(process, process.pid) for _ in range(10)] == [None] * 10
    with running("/bin/sleep", "60") as process:
        waits(process)
        os.kill(process.pid, 19)  # SIGSTOP
        time.sleep(0.05)
        assert standing(process, process.pid) is None
