"""Futures that can be dropped while the one around them goes on, and that the compiler made a part of it.

They have no polls of their own and no end that anybody sees: memory tells only that they wait.  Whether such a future
was dropped and begun anew between two waits, or got to its end, looks the same.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from tracer.model import Array, Layout, LayoutKind, Place, Plan, is_foreign
from tracer.output.awaits import await_point
from tracer.output.findings.places import TaskWaits, numbers_of
from tracer.output.findings.run import Need, Rule, Run
from tracer.output.labels import POLL_FN, POLLS_ALL, short_awaitee, without_kind
from tracer.output.records import pick

_SELECT = "/macros/select.rs"
"""Where tokio's select! awaits.  That of futures-util has its branches by reference, for the most part."""

_DROPS = re.compile(
    r"^(?:tokio::time::timeout::Timeout|async_std::(?:\w+::)*TimeoutFuture|async_io::(?:\w+::)*Timeout"
    r"|futures_util::future::(?:\w+::)*(?:Select|Abortable))<"
)
"""Hand-written futures that end before the one that they have does."""

_MOST_TASKS = 1024
_MOST_NAMES = 2


class InlinedBranches:
    """How often each of them was seen to wait; memory grows with their number.

    Only those of the user's own, with more than one await: what has a single one loses nothing when it is begun anew,
    unless it loops.
    """

    def __init__(self, plan: Plan) -> None:
        self._of_place = _branches(plan)
        self._of_tasks = TaskWaits(plan)
        self._waits: dict[int, dict[int, int]] = {}
        self._tasks: dict[int, set[int]] = {}

    def add(self, waits: Array) -> None:
        """dtype WAIT."""
        if not self._of_place.any() or not len(waits):
            return
        of_place = self._of_place[numbers_of(waits)]
        shows = of_place.max(axis=1, initial=0) > 0
        waits, of_place = pick(waits, shows), of_place[shows]
        tasks = self._of_tasks.tasks(waits)
        for number in np.unique(of_place[of_place > 0]).tolist():
            mine = (of_place == number).any(axis=1)
            # A wait has a row for the task and for each future in it: each kind of row is counted for itself.
            by_function = self._waits.setdefault(number - 1, {})
            for function, count in zip(*np.unique(waits["function"][mine], return_counts=True), strict=True):
                by_function[int(function)] = by_function.get(int(function), 0) + int(count)
            whose = self._tasks.setdefault(number - 1, set())
            if len(whose) < _MOST_TASKS:
                whose |= set(np.unique(tasks[mine]).tolist())

    def seen(self, waits: int, waits_a_task: int) -> list[int]:
        """Those (index into Plan.layouts) that waited as often at the least, the most often first."""
        often = {layout: max(counts.values()) for layout, counts in self._waits.items()}
        return sorted(
            (layout for layout, count in often.items() if count >= max(waits, waits_a_task * len(self._tasks[layout]))),
            key=lambda layout: -often[layout],
        )


def _branches(plan: Plan) -> npt.NDArray[np.intp]:
    """By number of a place, 1 + the layout of the outermost such future on the way to it; 0: there is none.

    Outside of it there is no other one of the user's own up to what can drop it: that would be dropped with it.
    """
    found, may_be_dropped = [0], [False]
    for place in plan.places:
        above = found[place.parent]
        layout = plan.layouts[place.layout] if place.layout is not None else None
        is_branch = may_be_dropped[place.parent]
        if layout is None or layout.kind is not LayoutKind.COROUTINE:
            found.append(above)
            may_be_dropped.append(is_branch or (layout is not None and _drops(plan, place, layout)))
            continue
        is_own = layout.location is None or not is_foreign(layout.location.file, plan.own_folders)
        is_unseen = is_branch and is_own and not place.is_polled and len(layout.awaits) > 1
        found.append(above or (place.layout + 1 if is_unseen and place.layout is not None else 0))
        may_be_dropped.append(is_branch and not is_own)
    return np.array(found)


def _drops(plan: Plan, place: Place, layout: Layout) -> bool:
    """Whether what is there may end before the futures that it has do."""
    if _DROPS.match(layout.name) or POLLS_ALL.match(layout.name):
        return True
    above = plan.places[place.parent - 1].layout if place.parent else None
    if above is None or not POLL_FN.match(layout.name):
        return False
    point = await_point(plan.layouts[above], place.state)
    return point is not None and point.macro is not None and point.macro.file.endswith(_SELECT)


def unseen_drops(rule: Rule, evidence: InlinedBranches, run: Run) -> str | None:
    """Why it cannot be said of some futures whether they are dropped all the time; None: there is none like that."""
    if Need.LINKS in run.missing:
        return "which branches of select! the compiler inlined is not known without types: debug = 2, or --symbols TWIN"
    seen = evidence.seen(int(rule.limits["cancelled"]), int(rule.limits["rounds_a_task"]))
    if not seen:
        return None
    names = list(dict.fromkeys(without_kind(short_awaitee(run.plan.layouts[layout].name)) for layout in seen))
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return (
        f"for {', '.join(names[:_MOST_NAMES])}{more}: inlined into the future around, which shows when it waits "
        "but not if it was dropped and began anew"
    )
