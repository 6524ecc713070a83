"""What blocks where it may, apart from the tasks: blocking jobs, added up by function, and block_in_place; memory grows
with the functions, and with the jobs that are under way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tracer.assemble.lookup import distinct, locate
from tracer.model import Array, FunctionKind, OffCpuFlag, Outcome, PollFlag, PollFunction, Spans
from tracer.output.delays import Lengths, Sums
from tracer.output.kinds import Spawns
from tracer.output.records import pick

_IS_OVER = (Outcome.FINISHED, Outcome.PANICKED, Outcome.ENDED, Outcome.REPLACED)
_IS_CUT = np.uint16(PollFlag.START_UNKNOWN | PollFlag.END_UNKNOWN)


@dataclass(frozen=True, slots=True)
class JobFigures(Lengths):
    """Of the jobs of one function: how long they were in the queue, or ran.  Of calls in place: how long they took."""

    jobs: int


@dataclass(frozen=True, slots=True)
class PartialJobs:
    """Jobs whose begin or end was not seen.  total: ns that they ran, as far as that was seen."""

    jobs: int
    total: int


class Jobs:
    """Totals by function; of recordings without jobs nothing is done.

    polls, waits: how many of all are theirs.  inside: polls of what jobs block on.  longest_queued: by function, dtype
    TASK, the one that waited longest.
    """

    def __init__(self, functions: Sequence[PollFunction]) -> None:
        count = max(len(functions), 1)
        self.is_job = np.array([one.is_job for one in functions] or [False])
        # tokio runs a job in one poll, however that ended; a reader or writer of `blocking` is polled again and again.
        self._is_one_poll = np.array([one.is_job and one.runtime == "tokio" for one in functions] or [False])
        self._is_in_place = np.array([one.kind is FunctionKind.IN_PLACE for one in functions] or [False])
        self.jobs = np.zeros(count, np.int64)
        self.panicked = np.zeros(count, np.int64)
        self.cancelled = np.zeros(count, np.int64)
        self.polls = 0
        self.waits = 0
        self.inside = 0
        self.spawns = Spawns()
        self.longest_queued: dict[int, np.void] = {}
        self._queued, self._ran, self._in_place = Sums(count), Sums(count), Sums(1)
        self._partial_jobs, self._partial_time = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self._alive = np.empty(0, np.uint64)
        self._cut = np.empty(0, np.uint64)

    def apart(self, spans: Spans) -> tuple[Spans, Array]:
        """Count in the jobs among these; yields what is neither a job nor done in one, and no call in place; and those
        calls (dtype POLL)."""
        if not self.is_job.any() and not self._is_in_place.any():
            return spans, spans.polls[:0]
        begun, over = self.is_job[spans.begun["function"]], self.is_job[spans.over["function"]]
        self._alive = np.concatenate([self._alive, spans.begun["task"][begun]])
        is_cut = self.is_job[spans.polls["function"]] & ((spans.polls["flags"] & _IS_CUT) != 0)
        self._cut = np.concatenate([self._cut, spans.polls["instance"][is_cut]])
        self._add(pick(spans.begun, begun), pick(spans.over, over))
        polls, waits = self._of_jobs(spans.polls), self._of_jobs(spans.waits)
        in_poll = (spans.off_cpu["flags"] & np.uint8(OffCpuFlag.IN_POLL)) != 0
        off_cpu = pick(spans.off_cpu, ~in_poll | ~self._of_jobs(spans.off_cpu))
        in_place = pick(spans.polls, self._is_in_place[spans.polls["function"]])
        self._in_place.add(np.zeros(len(in_place), np.int64), in_place["end"] - in_place["start"])
        self.polls += int(np.count_nonzero(polls))
        of_functions = self.is_job | self._is_in_place
        self.inside += int(np.count_nonzero(polls & ~of_functions[spans.polls["function"]]))
        self.waits += int(np.count_nonzero(waits))
        self._alive, self._cut = (one[~np.isin(one, spans.over["task"])] for one in (self._alive, self._cut))
        others = replace(
            spans,
            polls=pick(spans.polls, ~polls),
            waits=pick(spans.waits, ~waits),
            begun=pick(spans.begun, ~begun),
            over=pick(spans.over, ~over),
            off_cpu=off_cpu,
        )
        return others, in_place

    def _of_jobs(self, rows: Array) -> npt.NDArray[np.bool_]:
        """rows: dtype POLL, WAIT or OFF_CPU."""
        function = rows["function"]
        of_functions = (self.is_job | self._is_in_place)[function]
        return np.asarray(of_functions | locate(distinct(self._alive)[0], rows["task"])[1])

    def _add(self, begun: Array, over: Array) -> None:
        spawned = pick(begun, begun["spawned"] != 0)
        self._queued.add(spawned["function"].astype(np.intp), _queued(spawned))
        for function in np.unique(spawned["function"]).tolist():
            mine = pick(spawned, spawned["function"] == function)
            longest, before = mine[int(np.argmax(_queued(mine)))], self.longest_queued.get(function)
            if before is None or _queued(longest) > _queued(before):
                self.longest_queued[function] = longest.copy()
        self.spawns.add(over)
        function, outcome = over["function"].astype(np.intp), over["outcome"]
        np.add.at(self.jobs, function, 1)
        np.add.at(self.panicked, function, outcome == Outcome.PANICKED)
        np.add.at(self.cancelled, function, outcome == Outcome.CANCELLED)
        ran = (outcome != Outcome.CANCELLED) & (over["polls"] > 0)
        is_whole = (np.isin(outcome, _IS_OVER) | self._is_one_poll[function]) & ~np.isin(over["task"], self._cut)
        self._ran.add(function[ran & is_whole], over["busy"][ran & is_whole])
        np.add.at(self._partial_jobs, function[ran & ~is_whole], 1)
        np.add.at(self._partial_time, function[ran & ~is_whole], over["busy"][ran & ~is_whole])

    def in_place(self) -> JobFigures | None:
        """How long calls of block_in_place took; None: there were none."""
        return self._figures(self._in_place, 0)

    def seen(self) -> list[int]:
        """The functions of jobs that were seen, those that ran longest first."""
        found, total = np.flatnonzero(self.jobs), self._ran.total + self._partial_time
        return [int(one) for one in found[np.argsort(-total[found], kind="stable")]]

    def queued(self, function: int) -> JobFigures | None:
        """From the spawns of jobs to their begins; None: no spawn was seen."""
        return self._figures(self._queued, function)

    def queued_for(self, function: int, length: float) -> int:
        """How many were in the queue for at least so many ns, within half a bin."""
        return self._queued.at_least(function, length)

    def ran(self, function: int) -> JobFigures | None:
        """From the begins of jobs to their ends; None: of none both were seen."""
        return self._figures(self._ran, function)

    def partial(self, function: int) -> PartialJobs | None:
        """Those that ran() leaves out, though they ran; None: there are none."""
        count = int(self._partial_jobs[function])
        return PartialJobs(count, int(self._partial_time[function])) if count else None

    @staticmethod
    def _figures(sums: Sums, function: int) -> JobFigures | None:
        lengths = sums.of(function)
        return JobFigures(**asdict(lengths), jobs=int(sums.count[function])) if lengths is not None else None


def _queued(jobs: Array | np.void) -> Any:
    """ns in the queue of each of these (dtype TASK), or of one."""
    return jobs["first"] - jobs["spawned"]
