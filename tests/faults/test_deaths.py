"""The tracer dies again and again, at random moments, of one program that works on as if nothing had been.

The seed is printed; FAULT_SEED gives it.  --fault-rounds: how many; 18 are each death once in each phase.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.bpf_objects import Objects
from tests.faults.deaths import DEATHS, Death
from tests.faults.endure import Endure, Work, endure
from tests.faults.figures import Figures
from tests.faults.tracer import (
    Tracer,
    assert_accounted,
    assert_nothing_left,
    assert_trace,
    assert_unharmed,
    captured_of,
    tracer,
)
from tests.running import Targets
from tracer.errors import ExitCode

pytestmark = pytest.mark.kernel

WORDS = {"start": "at any moment until it has attached", "recording": "while it records", "stop": "after Ctrl-C"}
PHASES = tuple(WORDS)

_RECORDING = 0.2
"""Seconds."""


@pytest.fixture(scope="module")
def enduring(targets: Targets, alone: Work) -> Iterator[Endure]:
    """One program for all rounds; at the end of them it has done all its work rightly."""
    with endure(targets) as running:
        running.ask("on")
        yield running
        assert_unharmed(running.ask("off"), alone)
        assert running.running.process.poll() is None


@pytest.fixture(scope="module")
def longest(enduring: Endure, before: Objects, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """How long each phase takes here, in seconds: a moment in it is one that is tried."""
    with tracer(enduring.pid, tmp_path_factory.mktemp("whole"), "-d", _RECORDING) as tracing:
        began = time.monotonic()
        tracing.until_attached()
        attached = time.monotonic()
        assert tracing.wait() == ExitCode.OK
        ended = time.monotonic()
        assert_nothing_left(tracing, enduring.pid, before)
        assert_trace(tracing.output)
    return {"start": attached - began, "recording": _RECORDING, "stop": ended - attached - _RECORDING}


@pytest.mark.parametrize("death", DEATHS, ids=lambda death: death.name)
def test_it_dies_at_any_moment(
    enduring: Endure,
    before: Objects,
    alone: Work,
    longest: dict[str, float],
    death: Death,
    tmp_path: Path,
    figures: Figures,
    pytestconfig: pytest.Config,
) -> None:
    rounds = int(pytestconfig.getoption("--fault-rounds"))
    for number in range(DEATHS.index(death), rounds, len(DEATHS)):
        moments = random.Random(figures.seed + number)
        phase = PHASES[number // len(DEATHS) % len(PHASES)]
        delay = moments.uniform(0, longest[phase])
        print(f"seed {figures.seed}, round {number}: {death.name} {delay:.3f} s into {phase}")
        chunks = one_round(enduring, before, death, phase, delay, tmp_path / str(number))
        assert_unharmed(enduring.ask("tell"), alone)
        figures.add(f"the tracer: {death.name}", WORDS[phase], chunks)


def one_round(enduring: Endure, before: Objects, death: Death, phase: str, delay: float, folder: Path) -> int:
    """Returns how many chunks of the program's work were compared."""
    name = "x.ratcap" if phase == "recording" else "x.pftrace"
    with tracer(enduring.pid, folder, name=name) as tracing:
        if phase != "start":
            tracing.until_attached()
        if phase == "stop":
            time.sleep(_RECORDING)
            tracing.process.send_signal(signal.SIGINT)
        time.sleep(delay)
        was_attached = tracing.is_attached
        death.strike(tracing)
        code = tracing.wait()
        assert_nothing_left(tracing, enduring.pid, before)
        enduring.ask("tell")
        if death.is_clean:
            assert_said_well(tracing, code, was_attached=was_attached, by=death.name, phase=phase)
        if tracing.output.exists() and phase == "stop":  # of the others many are too short to be worth the look
            assert_trace(tracing.output)
        captured = captured_of(tracing, folder)
        return assert_accounted(captured, enduring) if captured else 0


def assert_said_well(tracing: Tracer, code: int, *, was_attached: bool, by: str, phase: str) -> None:
    """A signal that can be handled ends it by a sentence and a documented exit code, and leaves no half a file.

    While Python itself begins or ends, or all is said already, it ends it as any program.
    """
    by_signal = (130, -signal.Signals[by])
    trace, capture = tracing.output.name, f"{tracing.output.name}.ratcap"
    left = {path.name for path in tracing.folder.iterdir()} - {"said"}
    if code in by_signal:
        assert phase != "recording"
        assert not was_attached or trace in left or capture in left
        return
    assert "Traceback" not in tracing.said, tracing.said
    if not was_attached:
        assert code in (ExitCode.OK, ExitCode.OUTPUT_FAILED, ExitCode.NO_EVENTS), tracing.said
    elif code == ExitCode.OUTPUT_FAILED:
        assert f"rat-ebpf convert {tracing.output}.ratcap" in tracing.said
        assert left == {capture}
    else:
        assert code == ExitCode.OK, tracing.said
        assert left == {trace}
