"""Threads that poll tasks, and blocked outside of all polls: in what block_on runs there, which may have no poll of its
own, or in the destructor of a task.

How long they computed there nobody sees; nor can a lock (futex) be told from a thread that has nothing to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from tracer.model import Array, Finding, OffCpuFlag, Severity
from tracer.output.findings.long_polls import LEAST, LONG_POLL, limit_of
from tracer.output.findings.run import Need, Run
from tracer.output.histogram import BINS, Integers, at_least, bins_of
from tracer.output.labels import duration_words, more_times
from tracer.output.records import pick
from tracer.output.syscalls import syscall_words

_IDLE = np.array([7, 23, 24, 202, 232, 270, 271, 281, 426, 441, 449], np.int16)
"""poll, select, sched_yield, futex, epoll_wait, pselect6, ppoll, epoll_pwait, io_uring_enter, epoll_pwait2, futex_waitv
of x86-64: so a runtime's thread waits for something to do."""
_WHO = "what block_on runs, or a destructor,"
_NOT_OURS = int(OffCpuFlag.IN_POLL | OffCpuFlag.MAYBE_IN_POLL | OffCpuFlag.END_UNKNOWN)


@dataclass(slots=True)
class _Blocked:
    """Of one thread.  worst: dtype OFF_CPU.  lengths: in bins."""

    worst: np.void
    longest: int = 0
    lengths: Integers = field(default_factory=lambda: np.zeros(BINS, np.int64))


class OutsidePolls:
    """By thread; what a thread did before its first poll that was seen can have been in one that was not."""

    def __init__(self, is_task: Sequence[bool]) -> None:
        self._is_task = np.array([*is_task] or [False])
        self._since: dict[int, int] = {}
        self.by_thread: dict[int, _Blocked] = {}

    def add(self, polls: Array, off_cpu: Array) -> None:
        """dtypes POLL and OFF_CPU; of what a poll is in, the poll comes no later."""
        tasks = pick(polls, self._is_task[polls["function"]])
        for tid in np.unique(tasks["tid"]).tolist():
            start = int(tasks["start"][tasks["tid"] == tid].min())
            self._since[tid] = min(self._since.get(tid, start), start)
        blocked = pick(off_cpu, (off_cpu["flags"] & _NOT_OURS) == 0)
        blocked = pick(blocked, (blocked["state"] != 0) & (blocked["syscall"] >= 0))
        blocked = pick(blocked, (_lengths(blocked) >= LEAST) & ~np.isin(blocked["syscall"], _IDLE))
        for row, length in zip(blocked, _lengths(blocked).tolist(), strict=True):
            if int(row["start"]) >= self._since.get(int(row["tid"]), int(row["end"])):
                self._count(row, length)

    def _count(self, row: np.void, length: int) -> None:
        one = self.by_thread.setdefault(int(row["tid"]), _Blocked(row.copy()))
        one.lengths[bins_of(np.array([length]))] += 1
        if length > one.longest:
            one.worst, one.longest = row.copy(), length


def _lengths(off_cpu: Array) -> Integers:
    """ns that each blocked: until it was woken, where that is known."""
    lengths: Integers = np.where(off_cpu["woken"] != 0, off_cpu["woken"], off_cpu["end"]) - off_cpu["start"]
    return lengths


def outside_polls(evidence: OutsidePolls, run: Run) -> Iterator[Finding]:
    """One finding a thread."""
    if Need.WHOLE in run.missing:
        return
    somebody = "what block_on runs, a destructor, or a task that is not probed," if run.plan.leaves_out_tasks else _WHO
    limit, limits = limit_of(LONG_POLL, run.accounts.percentile_of_tasks(0.5)), LONG_POLL.limits
    for tid, one in evidence.by_thread.items():
        count = at_least(one.lengths, limit)
        if one.longest < limit or (count < limits["polls"] and one.longest < limits["sure_ns"]):
            continue
        often = f", and {more_times(count - 1)} for long" if count > 1 else ""
        call = syscall_words(int(one.worst["syscall"]))
        yield Finding(
            LONG_POLL.id,
            Severity.CRITICAL if one.longest >= limits["always_ns"] else Severity.WARNING,
            f"{somebody} blocked {run.thread(tid)} outside of all polls for "
            f"{duration_words(one.longest)}{often}, in {call}",
            {"longest_ns": one.longest, "times": count, "limit_ns": limit, "system_call": call},
            None,
            None,
            int(one.worst["start"]),
            one.longest,
            tid,
            None,
            "Move what blocks to spawn_blocking, or use the async variant: no task runs on that thread meanwhile.",
        )
