"""Where a thread waits, seen from outside: it is the same wait only if the thread did not run in between."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tracer.target.call_frames import RETURN_ADDRESS, STACK_POINTER
from tracer.target.process import TargetProcess
from tracer.target.standing import Standing, copies_of_stacks, standing, standing_of, waits_of


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
        (copy,) = copies_of_stacks(process, {process.pid: there}, 1 << 20).values()
        (short,) = copies_of_stacks(process, {process.pid: there}, 64).values()
    assert (copy.registers[STACK_POINTER], copy.registers[RETURN_ADDRESS]) == (there.stack_pointer, there.at)
    assert copy.registers.count(None) == len(copy.registers) - 2
    assert len(copy.content) == copy.until - there.stack_pointer
    assert short.content == copy.content[:64]
    assert standing(process, process.pid) is None  # it has ended
    assert copies_of_stacks(process, {process.pid: there}, 64) == {}


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


def test_of_several_those_that_still_stand_there_are_copied() -> None:
    with running("/bin/sleep", "60") as process:
        there = waits(process)
        tids = [process.pid, 1 << 30]  # no thread has that number
        assert standing_of(process, tids) == {process.pid: there}
        was = replace(there, left=(there.left[0] + 1, there.left[1]))
        nowhere = replace(there, stack_pointer=8)
        found = copies_of_stacks(process, {process.pid: there, 1 << 30: was, 1 << 31: nowhere}, 64)
        assert list(found) == [process.pid]
        assert copies_of_stacks(process, {process.pid: was}, 64) == {}
        assert waits_of(process, process.pid) == there.left[0]
    assert waits_of(process, process.pid) is None


def test_one_that_runs_or_is_stopped_does_not_wait() -> None:
    with running("/bin/sh", "-c", "while :; do :; done") as process:
        assert [standing(process, process.pid) for _ in range(10)] == [None] * 10
    with running("/bin/sleep", "60") as process:
        waits(process)
        os.kill(process.pid, 19)  # SIGSTOP
        time.sleep(0.05)
        assert standing(process, process.pid) is None
