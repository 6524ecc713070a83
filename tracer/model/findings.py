"""What is wrong with the program."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from tracer.model.functions import SourceLocation


class Severity(IntEnum):
    """How bad a finding is, the higher the worse."""

    INFO = 0
    WARNING = 1
    CRITICAL = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in a recording that a person can act on; what each rule means is in docs/findings.md.

    rule: its id.  title, advice: a sentence each.  evidence: numbers, with their units in the keys, and words.
    function: the name of the one that it is about, None: of none.  where: the place in the source of its await, else
    its own; None: not known.  time: where to look in the trace, ns, and for how long (duration, ns).  tid: the thread
    to look at, None: of none; task: the same of the task, its number.
    """

    rule: str
    severity: Severity
    title: str
    evidence: dict[str, int | float | str]
    function: str | None
    where: SourceLocation | None
    time: int
    duration: int
    tid: int | None
    task: int | None
    advice: str
