"""What is checked after each fault would fail if there were anything: the checks, without a tracer."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.captures import busy_plan, recording_of
from tests.faults.bpf_objects import unheld
from tests.faults.captured import Captured, unaccounted
from tests.faults.endure import endure
from tests.faults.tracer import wait_until
from tests.running import Targets
from tests.text import changed_bytes
from tracer.model import Loss
from tracer.probe.kernel import RETURN_0, load_program

pytestmark = pytest.mark.kernel

_SOCKET_FILTER, _ATTACH_BPF = 1, 50


def test_a_poll_that_is_missing_is_noticed(targets: Targets) -> None:
    with endure(targets) as running:
        running.ask("3")
        begin = int(running.times[0, 0])
        entries = {
            name: np.concatenate([np.linspace(first + 1, last - 1, count) for first, last in running.times])
            for name, count in running.polls.items()
        }
        whole = Captured(
            recording=replace(recording_of(busy_plan()), start=begin - 10_000_000),
            entries={name: times.astype(np.int64) for name, times in entries.items()},
            losses=(),
            changes=(),
            until=int(running.times[-1, 1]) + 10_000_000,
            end=None,
            damaged=0,
        )
        assert unaccounted(whole, running) == (3, 0)
        name = next(iter(whole.entries))
        cut = replace(whole, entries={**whole.entries, name: whole.entries[name][1:]})
        assert unaccounted(cut, running) == (3, 1)
        assert unaccounted(replace(cut, losses=(Loss(-1, 1, None, None),)), running) == (3, 0)
        twice = replace(whole, entries={**whole.entries, name: np.sort(np.append(whole.entries[name], begin + 2))})
        with pytest.raises(AssertionError, match="never had"):
            unaccounted(twice, running)


def test_a_changed_byte_is_noticed(targets: Targets) -> None:
    with endure(targets) as running:
        assert changed_bytes(running.pid) == 0
        code = next(line for line in Path(f"/proc/{running.pid}/maps").read_text().splitlines() if " r-xp " in line)
        with open(f"/proc/{running.pid}/mem", "r+b", buffering=0) as memory:
            memory.seek(int(code.split("-")[0], 16) + 4000)
            byte = memory.read(1)
            memory.seek(-1, 1)
            memory.write(bytes([byte[0] ^ 0xCC]))
        assert changed_bytes(running.pid) == 1


def test_a_program_that_nobody_holds_is_noticed() -> None:
    before = unheld()
    with socket.socket() as holder:
        descriptor = load_program(_SOCKET_FILTER, RETURN_0, 0, "leaked")
        assert not unheld() - before
        holder.setsockopt(socket.SOL_SOCKET, _ATTACH_BPF, descriptor)
        os.close(descriptor)
        assert len(unheld() - before) == 1
    wait_until(lambda: not unheld() - before, "it goes with its socket")
