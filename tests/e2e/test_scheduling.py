"""What threads did during polls is what the target's own clocks say: on a CPU, waiting for one, or blocked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from tests.assembled import assembled, joined
from tests.e2e.command import recording
from tests.running import Targets
from tracer.model import Array, OffCpuFlag, PollFlag, Spans

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

NEAR, NEAR_SHARE = 100_000, 0.05
"""ns, or the share of the poll: how far two clocks may be apart."""
ASLEEP = 5_000_000
READ, FUTEX, CLOCK_NANOSLEEP = 0, 202, 230
TIMES = 7
KNOWN = 5
"""Of TIMES polls of a kind, those at least of which all was told: a switch may be hidden from us."""
STANDS_STILL = 0.15
"""Of a time off the CPU: a virtual machine's clock of a thread can stand still for so long when it runs again."""


@dataclass(frozen=True, slots=True)
class Line:
    """What the target measured in one poll: its begin, end and CPU time, ns."""

    what: str
    begin: int
    end: int
    cpu: int
    tid: int


@dataclass(frozen=True, slots=True)
class Matched:
    """A line with its innermost poll (POLL), and the times off the CPU (OFF_CPU) in that.

    stolen: ns that the host may have taken of it; of such the thread's own clock knows nothing.
    """

    line: Line
    poll: np.void
    off: Array
    stolen: int

    @property
    def near(self) -> float:
        return max(NEAR, NEAR_SHARE * (self.line.end - self.line.begin))

    @property
    def longest(self) -> np.void:
        """Of those in which it did not want to run on."""
        waits = self.off[self.off["state"] != 0]
        one: np.void = waits[np.argmax(waits["end"] - waits["start"])]
        return one


def matched(lines: list[Line], spans: Spans) -> list[Matched]:
    found = []
    for line in lines:
        polls = spans.polls[spans.polls["tid"] == line.tid]
        around = polls[(polls["start"] <= line.begin) & (polls["end"] >= line.end)]
        assert len(around), line
        poll = around[np.argmin(around["end"] - around["start"])]
        off = spans.off_cpu[spans.off_cpu["tid"] == line.tid]
        before = off[(off["since"] < poll["end"]) & (off["start"] > poll["start"])]
        stolen = int(np.maximum(before["stolen"], 0).sum())
        off = off[(off["start"] >= poll["start"]) & (off["end"] <= poll["end"])]
        if poll["flags"] & PollFlag.SCHEDULED:
            found.append(Matched(line, poll, off, stolen))
    return found


@pytest.fixture(
    params=[(target, profile) for profile in ("dev", "release") for target in ("schedules_tokio", "schedules_smol")],
    ids="-".join,
    scope="module",
)
def run(request: pytest.FixtureRequest, targets: Targets, tmp_path_factory: pytest.TempPathFactory) -> list[Matched]:
    target, profile = request.param
    capture = tmp_path_factory.mktemp("scheduling") / "c.ratcap"
    with targets.run(target, profile) as running:
        with recording("--pid", running.pid, "--format", "capture", "-o", capture, "--max-overhead", 100) as recorder:
            running.go()
            done = recorder.wait()
        result = running.wait()
    assert done.code == 0, done.err
    lines = [Line(**line) for line in result.lines]
    assert len(lines) == 6 * TIMES
    recorded, parts, _ = assembled(capture)
    assert recorded.plan.scheduling
    return matched(lines, joined(parts))


def of(run: list[Matched], what: str) -> list[Matched]:
    found = [one for one in run if one.line.what == what]
    assert len(found) >= KNOWN, what
    return found


def test_time_on_the_cpu_is_the_threads_own(run: list[Matched]) -> None:
    apart = []
    for one in run:
        line = one.line
        inside = one.off[(one.off["start"] >= line.begin) & (one.off["end"] <= line.end)]
        off = int((inside["end"] - inside["start"]).sum())
        own = line.end - line.begin - line.cpu
        if not (1 - STANDS_STILL) * own - one.stolen - one.near <= off <= own + one.near:
            apart.append((line.what, off, own, line.cpu, one.stolen))
    # The two clocks that the target reads at either end: it can lose its CPU between them.
    assert len(apart) <= 0.05 * len(run), apart


def test_a_poll_is_told_all_times_off_the_cpu(run: list[Matched]) -> None:
    for one in run:
        assert one.poll["runnable"] + one.poll["blocked"] == (one.off["end"] - one.off["start"]).sum()


def test_who_sleeps_is_blocked_until_the_timer(run: list[Matched]) -> None:
    for one in of(run, "sleep"):
        asleep = one.line.end - one.line.begin - one.line.cpu  # longer than was asked for, where the host was late
        assert ASLEEP <= one.poll["blocked"] <= asleep + one.near
        longest = one.longest
        assert longest["syscall"] == CLOCK_NANOSLEEP
        assert longest["flags"] & OffCpuFlag.BY_INTERRUPT
        assert longest["woken_by"] == 0


def test_who_computes_is_not_blocked(run: list[Matched]) -> None:
    for one in of(run, "spin"):
        assert one.poll["blocked"] <= NEAR
        assert one.poll["end"] - one.poll["start"] >= 60_000_000


def test_who_has_a_competitor_waits_for_the_cpu(run: list[Matched]) -> None:
    found = of(run, "compete")
    # The other thread is begun and joined; in between it has half of the CPU.
    for one in found:
        assert one.poll["runnable"] >= 10_000_000
        assert one.poll["runnable"] > 10 * one.poll["blocked"]


def test_who_reads_is_blocked_in_read(run: list[Matched]) -> None:
    for one in of(run, "pipe"):
        assert one.longest["syscall"] == READ
        assert one.longest["woken"] - one.longest["start"] >= 0.9 * ASLEEP
        assert one.longest["woken_by"] not in (0, one.line.tid)


def test_who_waits_for_a_lock_is_woken_by_who_had_it(run: list[Matched]) -> None:
    keepers = [one.line for one in run if one.line.what == "keep the lock"]
    seen = 0
    for one in of(run, "wait for the lock"):
        keeper = [other for other in keepers if other.begin < one.line.end and one.line.begin < other.end]
        if one.longest["syscall"] != FUTEX or not keeper:
            continue  # it came when the other one had gone
        seen += 1
        assert one.longest["woken_by"] == keeper[0].tid
    assert seen >= KNOWN
