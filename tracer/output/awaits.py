"""Where a future waits and for what, in words; without a table of awaits the number of the await is all there is."""

from __future__ import annotations

import re

from tracer.model import AwaitPoint, FunctionKind, PollFunction, SourceLocation
from tracer.output.labels import printable, short_awaitee, state_words, wait_name

_BEFORE_CRATE = re.compile(r"^.*/(?=[^/]+/(?:src|tests|examples|benches)/)")


def await_point(function: PollFunction, state: int | None) -> AwaitPoint | None:
    """What is known of the await at which the function has this state."""
    return next((point for point in function.awaits if point.state == state), None)


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


def short_place(location: SourceLocation) -> str:
    """A place in the source from its crate's folder on."""
    return printable(_BEFORE_CRATE.sub("", str(location)))
