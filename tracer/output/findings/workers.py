"""What each thread that polls tasks had to do, and how many tasks waited for it meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from tracer.assemble.lookup import distinct
from tracer.model import Array, Finding, Severity
from tracer.output.delays import ready_times
from tracer.output.findings.run import Need, Rule, Run
from tracer.output.histogram import Integers
from tracer.output.records import pick

IMBALANCE = Rule(
    "worker-imbalance",
    frozenset({Need.TASKS, Need.ALL_WAKES, Need.WHOLE}),
    {"busy_share": 0.5, "ready_tasks": 1.0, "idle_share": 0.25},
    "Spread the tasks: spawn them on a runtime that shares its work, or hand connections to threads by their load.",
)


class Workers:
    """By thread, ns: polling; and how long tasks that it polled then had been ready.  Only polls of tasks count."""

    def __init__(self, is_task: Sequence[bool]) -> None:
        self._is_task = np.array([*is_task] or [False])
        self.busy: Counter[int] = Counter()
        self.ready: Counter[int] = Counter()
        self.polls: Counter[int] = Counter()
        self._by_function: Counter[int] = Counter()

    def busiest(self, tid: int) -> int:
        """The function of the tasks that took most of a thread's time."""
        mine = {pair & 0xFFFF_FFFF: busy for pair, busy in self._by_function.items() if pair >> 32 == tid}
        return max(mine, key=lambda function: mine[function])

    def add(self, polls: Array, woken: Array) -> None:
        """dtype POLL, and answered waits, with those of new tasks (dtype WAIT)."""
        polls = pick(polls, self._is_task[polls["function"]])
        length = polls["end"] - polls["start"]  # what it waited for a CPU is no time for other tasks either
        tids, thread = distinct(polls["tid"])
        pairs, pair = distinct(thread * len(self._is_task) + polls["function"])
        threads, functions = np.divmod(pairs, len(self._is_task))
        busy, counts = _sums(pair, length), np.bincount(pair).tolist()
        of = zip(tids[threads].tolist(), functions.tolist(), busy, counts, strict=True)
        for tid, function, total, count in of:
            self.busy[tid] += total
            self.polls[tid] += count
            self._by_function[tid << 32 | function] += total
        tids, thread = distinct(woken["tid"])
        for tid, total in zip(tids.tolist(), _sums(thread, ready_times(woken)), strict=True):
            self.ready[tid] += total


def _sums(group: npt.NDArray[np.intp], values: Integers) -> list[int]:
    """The sums of the values of each group, which are numbered from 0 on."""
    totals = np.zeros(int(group.max(initial=-1)) + 1, np.int64)
    np.add.at(totals, group, values)
    return totals.tolist()


def imbalances(rule: Rule, workers: Workers, run: Run) -> Iterator[Finding]:
    """At most one a process: a busy thread for which tasks waited while another one had next to nothing to do."""
    processes: dict[int, list[int]] = {}
    for tid in workers.polls:
        processes.setdefault(run.pids.get(tid, 0), []).append(tid)
    for pid, tids in processes.items():
        most = max(tids, key=lambda tid: workers.busy[tid])
        least = min(tids, key=lambda tid: workers.busy[tid])
        busy, idle = workers.busy[most] / run.duration, workers.busy[least] / run.duration
        queue = workers.ready[most] / run.duration
        if not pid or busy < rule.limits["busy_share"] or queue < rule.limits["ready_tasks"]:
            continue
        if idle > rule.limits["idle_share"] * busy:
            continue
        one = run.function(workers.busiest(most))
        yield Finding(
            rule.id,
            Severity.WARNING,
            f"{run.thread(most)} polled tasks in {busy:.0%} of the time with {queue:.1f} more ready on average, "
            f"{run.thread(least)} in {idle:.1%}",
            {
                "threads": len(tids),
                "busiest_share": round(busy, 4),
                "idlest_share": round(idle, 4),
                "ready_tasks": round(queue, 2),
                "busiest_polls": workers.polls[most],
                "idlest_polls": workers.polls[least],
                "idlest_tid": least,
            },
            one.name,
            one.location,
            run.start,
            run.duration,
            most,
            None,
            rule.advice,
        )
