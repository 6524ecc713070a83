"""Where a future waits and for what, in words; without a table of awaits the number of the await is all there is."""

from __future__ import annotations

import re

from tracer.model import INLINED, AwaitPoint, FunctionKind, Layout, Plan, PollFunction, Source, SourceLocation
from tracer.output.labels import short_awaitee, state_words, wait_name
from tracer.terminal import printable

UNVERIFIED = ", line not verified"
"""What is said of a twin's line when nothing in the running binary shows that it is its own."""

_BEFORE_CRATE = re.compile(r"^.*/(?=[^/]+/(?:src|tests|examples|benches)/)")


def await_point(coroutine: PollFunction | Layout, state: int | None) -> AwaitPoint | None:
    """What is known of the await at which it has this state."""
    return next((point for point in coroutine.awaits if point.state == state), None)


def wait_title(function: PollFunction, state: int | None) -> str:
    """The name of a waiting interval: what it waits for, else where."""
    point = await_point(function, state)
    if point is not None and point.awaitee:
        return f"waiting: {short_awaitee(point.awaitee)}"
    if point is not None and point.location:
        return f"waiting at {short_place(point.location)}"
    return wait_name(state)


def await_words(function: PollFunction, state: int | None) -> str:
    """A coroutine's state with all that is known of it in short: `await #2 (server/src/main.rs:98, Mutex::lock)`."""
    point = await_point(function, state)
    if point is None:
        return state_words(state)
    known = []
    if point.location:
        known.append(short_place(point.location))
    elif point.macro:
        known.append(f"in the macro at {short_place(point.macro)}")
        if function.location:
            known.append(f"function at {short_place(function.location)}")
    if point.awaitee:
        known.append(short_awaitee(point.awaitee))
    if not point.is_verified:
        known.append(UNVERIFIED.removeprefix(", "))
    return f"{state_words(state)} ({', '.join(known)})" if known else state_words(state)


def where_words(function: PollFunction, state: int | None) -> str:
    """The await's line, else the function's own, with the word that it is only that where there is an await; or ""."""
    point = await_point(function, state)
    if point is not None and point.location:
        return short_place(point.location)
    if function.location is None:
        return ""
    own = short_place(function.location)
    return f"{own} (function)" if function.kind is FunctionKind.COROUTINE and state is not None else own


def layout_words(function: PollFunction, *, is_verified: bool = True) -> str:
    """Where it is known from where the function waits, or "".  is_verified: so is the line that is told."""
    if function.layout_source is None:
        return ""
    return f"{function.layout_source}{'' if is_verified else UNVERIFIED}"


def layout_remarks(plan: Plan) -> list[str]:
    """From what it is known where futures wait, in sentences; none where all is the binary's own debug information."""
    coroutines = [one for one in plan.functions if one.kind is FunctionKind.COROUTINE]
    by_twin = [one for one in coroutines if one.layout_source is Source.TWIN]
    remarks = []
    if by_twin:
        points = [point for one in by_twin for point in one.awaits]
        unverified = sum(not point.is_verified for point in points)
        lost = sum(point.location is None and point.macro is None for point in points)
        twins = ", ".join(sorted({binary.twin for binary in plan.binaries if binary.twin}))
        words = f"where {len(by_twin):,} of {len(coroutines):,} async functions wait is known from the twin {twins}"
        if unverified:
            words += (
                f"; {unverified:,} of {len(points):,} lines not verified: no panic location follows them in the file"
            )
        if lost:
            words += f"; {lost:,} of {len(points):,} lines left out: the twin's source differs before them"
        remarks.append(words)
    by_code = [
        _is_by_number(plan, index)
        for index, one in enumerate(plan.functions)
        if one.kind is FunctionKind.COROUTINE and one.layout_source is Source.CODE
    ]
    if False in by_code:
        inlined = sum(one.reason == INLINED for one in plan.unseen)
        known = f" ({inlined:,} are known)" if inlined else ""
        remarks.append(
            f"where {by_code.count(False):,} of {len(coroutines):,} async functions wait is known from their code and "
            f"line tables, without the futures inside of them and those that the compiler inlined{known}; --symbols "
            "TWIN tells those, if TWIN is the same program built again with debug = 2"
        )
    if True in by_code:
        remarks.append(
            f"where {by_code.count(True):,} of {len(coroutines):,} async functions wait is known from their code only, "
            "mostly by number; --symbols TWIN tells the lines, if TWIN is the same program built again with debug = 2"
        )
    return [printable(remark) for remark in remarks]


def _is_by_number(plan: Plan, index: int) -> bool:
    """Whether only the numbers are known of the awaits of a function (index into Plan.functions) known by its code."""
    points = plan.functions[index].awaits
    if points:
        return all(point.location is None and point.macro is None for point in points)
    return plan.binaries[plan.function_binary[index]].symbols not in ("dwarf", "line tables")


def short_place(location: SourceLocation) -> str:
    """A place in the source from its crate's folder on."""
    return printable(_BEFORE_CRATE.sub("", str(location)))
