"""In words: whose a poll is, and what its thread did in it."""

from __future__ import annotations

import numpy as np

from tracer.model import SourceLocation, StackKind
from tracer.output.blockers import Blockers, frame_words
from tracer.output.findings.poll_lengths import SCHEDULED, own_length
from tracer.output.findings.run import Run
from tracer.terminal import printable


def whose(function: int, blockers: Blockers, run: Run) -> tuple[str, SourceLocation | None]:
    """Of whom a poll is, for people, and its place: of a library's future the user's function that was seen in it."""
    seen = next(iter(blockers.most()), None)
    about, frame = run.function(function), seen.frame if seen is not None and not run.is_own(function) else None
    name = frame.function if frame is not None else None
    # Where no line is known, a function of a library can look like the user's own.
    if frame is None or name is None or any(one.startswith(name) for one in (about.name, *about.names)):
        return run.short(function), about.location
    return f"{run.short(function)} (in {printable(name)})", frame.location or about.location


def perhaps_words(function: int | None, run: Run) -> tuple[str, dict[str, str]]:
    """That the time of a poll may have been one's inside it, of which it is not known; and the same as evidence."""
    if function is None:
        return "", {}
    return f" (perhaps in {run.short(function)}: its exit was not seen)", {"perhaps_in": run.function(function).name}


def doing(poll: np.void, blockers: Blockers) -> tuple[str, SourceLocation | None, dict[str, int | float | str]]:
    """What the thread did in this poll, as a verb; where it blocked, if it did; and more of that as evidence.

    That a thread was seen to run does not say that it did so all the time: it may have waited for a CPU.
    """
    about: dict[str, int | float | str] = {}
    seen_most = blockers.most()
    seen = next(iter(seen_most), None)
    is_known, is_blocked = False, seen is not None and seen.kind is StackKind.BLOCKED
    if poll["flags"] & SCHEDULED:
        own, blocked = own_length(poll), int(poll["blocked"])
        about = {"on_cpu_ns": own - blocked, "blocked_ns": blocked, "runnable_ns": int(poll["runnable"])}
        is_known, is_blocked = True, 2 * blocked >= own
        kind = StackKind.BLOCKED if is_blocked else StackKind.RUNNING
        seen = next((one for one in seen_most if one.kind is kind), seen)
    at = None
    if seen is not None:
        about |= {"seen_ns": seen.time, "stacks": seen.count}
        if seen.frame is not None:
            about["blocked_in" if seen.kind is StackKind.BLOCKED else "computed_in"] = frame_words(seen.frame)
            at = seen.frame.location if is_blocked and seen.kind is StackKind.BLOCKED else None
    return "blocked" if is_blocked else "used" if is_known else "kept", at, about
