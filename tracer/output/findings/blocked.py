"""Tasks that wait for what another one has, which waits itself and did not go on: as memory at the end tells it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tracer.model import Array, Finding, Severity, StuckKind, WaitFlag
from tracer.output.findings.held_locks import HELD_LOCK
from tracer.output.findings.queues import LONG_QUEUE
from tracer.output.findings.run import Need, Rule
from tracer.output.findings.stuck import StuckTasks
from tracer.output.labels import duration_words

_NEEDS = frozenset({Need.STUCK, Need.LINKS})
_LIMITS = {"least_ns": 1_000_000_000, "tasks": 10}

HELD_STILL = replace(HELD_LOCK, needs=_NEEDS, limits=_LIMITS)
LINE_STANDS = replace(LONG_QUEUE, needs=_NEEDS, limits=_LIMITS)
"""Of the rules whose names they have: until the end, so that no wait that ended tells it."""

_KINDS = {HELD_LOCK.id: StuckKind.HELD, LONG_QUEUE.id: StuckKind.IN_LINE}

_LENT_OUT_ADVICE = "Find out who took the permits and did not give them back: forgotten, leaked, or kept by no task."


@dataclass(frozen=True, slots=True)
class Blocked:
    """finding: what is to be said.  behind: the instances of the tasks that wait."""

    finding: Finding
    behind: frozenset[int]


def blocked(rule: Rule, evidence: StuckTasks, longest: int) -> Iterator[Blocked]:
    """One a place at which tasks wait that have what others wait for.  longest: ns, of such waits that did end: what is
    not longer is as usual."""
    for told in evidence.told:
        stuck = told.stuck
        holding, behind = evidence.waits_of(stuck.tasks), evidence.waits_of(stuck.behind)
        if stuck.kind is not _KINDS[rule.id] or not len(holding) or not len(behind):
            continue
        # Of permits any one that is given back helps, and who has it may wait for a moment only.
        is_any = stuck.kind is StuckKind.IN_LINE
        first = holding[int(_start(holding).argmax() if is_any else _start(holding).argmin())]
        held = told.time - int(first["start"])
        oldest = behind[int(_start(behind).argmin())]
        waited = told.time - int(oldest["start"])
        if held < rule.limits["least_ns"] or held <= longest:
            continue
        if waited < rule.limits["least_ns"] and len(behind) < rule.limits["tasks"]:
            continue
        finding = Finding(
            rule.id,
            Severity.INFO if is_any and len(stuck.behind) == 1 else Severity.WARNING,
            f"{stuck.words}, {_time_words(waited, oldest)} until the end",
            {
                "tasks": len(stuck.tasks),
                "waiting_tasks": len(stuck.behind),
                "waiting_ns": held,
                "longest_ns": waited,
                "certain": int(stuck.is_certain),
            },
            stuck.function,
            stuck.location,
            int(first["start"]),
            held,
            int(first["tid"]) or None,
            int(first["instance"]) or None,
            rule.advice,
        )
        yield Blocked(finding, frozenset(behind["instance"].tolist()))


def lent_out(rule: Rule, evidence: StuckTasks, longest: int) -> Iterator[Blocked]:
    """One a semaphore of which nobody is known to have a permit.  longest: as blocked() has it."""
    for told in evidence.told:
        stuck = told.stuck
        behind = evidence.waits_of(stuck.behind)
        if stuck.kind is not StuckKind.LENT_OUT or not len(behind):
            continue
        oldest = behind[int(_start(behind).argmin())]
        waited = told.time - int(oldest["start"])
        if waited < rule.limits["least_ns"] or waited <= longest:
            continue
        finding = Finding(
            rule.id,
            Severity.INFO if len(stuck.behind) == 1 else Severity.WARNING,
            f"{stuck.words}, {_time_words(waited, oldest)} until the end",
            {"tasks": 0, "waiting_tasks": len(stuck.behind), "longest_ns": waited, "certain": int(stuck.is_certain)},
            stuck.function,
            stuck.location,
            int(oldest["start"]),
            waited,
            int(oldest["tid"]) or None,
            int(oldest["instance"]) or None,
            _LENT_OUT_ADVICE,
        )
        yield Blocked(finding, frozenset(behind["instance"].tolist()))


def _time_words(waited: int, wait: np.void) -> str:
    """wait: dtype WAIT."""
    is_older = wait["flags"] & int(WaitFlag.START_UNKNOWN)
    return f"{duration_words(waited)} or more" if is_older else f"up to {duration_words(waited)}"


def _start(waits: Array) -> Array:
    start: Array = waits["start"]
    return start
