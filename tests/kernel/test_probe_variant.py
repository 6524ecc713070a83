"""The BPF program is compiled beside other work, in a process that nobody hears of and that leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.kernel.test_probe_session import of
from tests.kernel.turns import EVENTS, Turns
from tests.running import children_of
from tracer.model import Binary, EventFlag, ExitMode
from tracer.probe.bpf_program import is_kept
from tracer.probe.plan import make_plan
from tracer.probe.session import ProbeSession
from tracer.probe.variant import SOURCE, Variant, compiling_ahead

pytestmark = pytest.mark.kernel

_READS_ANY_MEMORY = 4
"""BPF_FUNC_probe_read."""


def test_it_is_there_when_it_is_waited_for(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = children_of(os.getpid())
    known = Variant.of_kernel()
    for is_first in (True, False):  # where neither is kept, and where the kernel's types are
        with compiling_ahead("auto", tmp_path) as ahead:
            assert len(children_of(os.getpid())) == len(before) + 1
            assert ahead.wait() == known
            assert is_kept(SOURCE, known.defines, tmp_path)
            assert children_of(os.getpid()) == before
        if is_first:
            for kept in tmp_path.glob("*.bpf"):
                kept.unlink()
    with compiling_ahead("auto", tmp_path) as ahead:
        assert children_of(os.getpid()) == before  # nothing is left to do
        assert ahead.wait() == known
    assert capfd.readouterr() == ("", "")


def test_it_ends_when_nobody_needs_it_any_more(tmp_path: Path) -> None:
    before = children_of(os.getpid())
    with compiling_ahead("auto", tmp_path):
        assert len(children_of(os.getpid())) == len(before) + 1
    assert not is_kept(SOURCE, Variant.of_kernel().defines, tmp_path)
    assert children_of(os.getpid()) == before


def test_it_does_not_outlive_its_maker(tmp_path: Path) -> None:
    begin = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from tracer.probe.variant import compiling_ahead\n"
        f"with compiling_ahead('auto', Path({str(tmp_path)!r})):\n"
        "    print(Path(f'/proc/self/task/{os.getpid()}/children').read_text(), flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", begin], stdout=subprocess.PIPE, text=True) as maker:
        assert maker.stdout is not None
        child = int(maker.stdout.readline())
        maker.send_signal(signal.SIGKILL)
    end = time.monotonic() + 20
    while Path(f"/proc/{child}").exists():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_is_asked_for_is_answered_by_whoever_needs_it(tmp_path: Path) -> None:
    with compiling_ahead("pigeon", tmp_path) as ahead:
        assert ahead.wait() is None


def test_polls_are_seen_by_the_helper_of_older_kernels(turns: Turns, turns_binary: Binary, tmp_path: Path) -> None:
    plan = make_plan([turns_binary], exit_mode=ExitMode.DEFAULT)
    variant = Variant.of_kernel()
    older = replace(variant, defines={**variant.defines, "READ_USER": _READS_ANY_MEMORY})
    with ProbeSession(plan, [turns.process], executables=[turns.exe], cache=tmp_path, variant=older) as session:
        session.attach()
        turns.run()
        events = np.concatenate([session.read().events, session.detach().events])
    assert len(events) == EVENTS
    states = of(plan, events, "turns", entry=True)["flags"] & EventFlag.STATE
    assert states.all(), "what it reads is the coroutine's state"
