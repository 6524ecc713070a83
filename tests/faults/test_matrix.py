"""Each fault in the middle of a recording: the program does as it does untraced, nothing of ours is left, and what was
captured is whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.bpf_objects import unheld
from tests.faults.endure import Work, endure, untraced
from tests.faults.figures import Figures
from tests.faults.of_environment import OF_ENVIRONMENT
from tests.faults.of_targets import OF_TARGETS
from tests.faults.scene import Fault, Moment
from tests.faults.tracer import assert_accounted, assert_nothing_left, assert_unharmed, captured_of, tracer
from tests.running import Targets
from tests.text import changed_bytes

pytestmark = pytest.mark.kernel

CHUNKS = 5
"""Before each fault."""

FAULTS = {fault.name: fault for fault in (*OF_TARGETS, *OF_ENVIRONMENT)}


@pytest.fixture(scope="module")
def alone(targets: Targets) -> dict[tuple[str, ...], Work]:
    """What each kind of work gives when nobody traces it."""
    return {work: untraced(targets, *work) for work in {fault.work for fault in FAULTS.values()}}


@pytest.mark.parametrize("name", FAULTS)
def test_it_is_stood(
    targets: Targets, alone: dict[tuple[str, ...], Work], tmp_path: Path, figures: Figures, name: str
) -> None:
    fault = FAULTS[name]
    if why := fault.impossible():
        figures.skip(name, "while it records", why)
        pytest.skip(why)
    figures.add(
        f"the program: {name}" if fault in OF_TARGETS else name,
        "while it records",
        one_fault(fault, targets, alone[fault.work], tmp_path),
    )


def one_fault(fault: Fault, targets: Targets, alone: Work, scratch: Path) -> int:
    """Returns how many chunks of the program's work were compared with the capture."""
    before = unheld()
    with (
        fault.around(targets, scratch) as place,
        endure(targets, *fault.work, place=place) as enduring,
        tracer(enduring.pid, scratch / "traced", name="x.ratcap", place=place) as tracing,
    ):
        tracing.until_attached()
        assert changed_bytes(enduring.pid) > 0, "there are no probes: nothing is tried"
        assert_unharmed(enduring.ask(str(CHUNKS)), alone)
        fault.happens(Moment(enduring, tracing, scratch))
        if fault.ends is None:
            assert_unharmed(enduring.ask("3"), alone)
            tracing.stop()
        else:
            assert enduring.running.process.wait(10) == fault.ends
        assert tracing.wait() == 0, tracing.said
        assert "Traceback" not in tracing.said
        if fault.ends is None:
            assert_nothing_left(tracing, enduring.pid, before)
            assert_unharmed(enduring.ask("3"), alone)
        captured = captured_of(tracing, scratch)
        assert captured is not None
        assert captured.end is not None
        assert captured.lost >= int(fault.loses)
        chunks = assert_accounted(captured, enduring)
        assert chunks >= CHUNKS
        return chunks
