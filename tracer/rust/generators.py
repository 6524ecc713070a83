"""What older compilers put around the body of an async fn or block.

rustc up to 1.66 (library/core/src/future/mod.rs): the body is a `Generator`, of type X, which returns a
`GeneratorState`; the future is `core::future::from_generator::GenFuture<X>`, X alone inside it, and its poll
calls the body, unless the body was inlined into it.  Later ones make X itself the future.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from tracer.model import FunctionKind, PollFunction, Refusal

RESULTS = ("Poll<", "GeneratorState<")
"""How the type begins that the body of an async fn returns; the latter's variants have the former's meaning."""

PENDING = ("Pending", "Yielded")
"""The variant that stands for a Pending result, of each."""

CONTEXT = "&mut core::task::wake::Context"
CONTEXTS = ("ResumeTy", CONTEXT)
"""The body's argument that stands for the context; compilers up to rustc 1.75 at least do not tell its first."""

_WRAPPER = re.compile(r"(?<![\w:])(?:core::future::from_generator::)?GenFuture<")
_WRAPPER_POLL = re.compile(r"^<core::future::from_generator::GenFuture<.+> as core::future::future::Future>::poll$")
_UNKNOWN = "T"
"""All that a legacy symbol says of X."""


def is_wrapper(type_name: str) -> bool:
    """Whether a type, by its path or its name alone, is the future around a body."""
    return _WRAPPER.match(type_name) is not None


def is_wrapper_poll(names: Collection[str]) -> bool:
    """Whether a function, by its demangled names, is the poll of the future around a body."""
    return any(_WRAPPER_POLL.match(name) for name in names)


def unwrapped(path: str) -> str:
    """The path with X in the place of each `GenFuture<X>` that tells it."""
    at = 0
    while match := _WRAPPER.search(path, at):
        end = _closing(path, match.end())
        inside = path[match.end() : end]
        if end == len(path) or inside == _UNKNOWN:
            at = match.end()
        else:
            path = path[: match.start()] + inside + path[end + 1 :]
            at = match.start()
    return path


def same_body(function: PollFunction, inlined: Iterable[Refusal]) -> Refusal | None:
    """Of the bodies that were inlined the one inside of this poll, by its name and place; None for other functions.

    The names of the two differ in the `{impl#3}` of a type's path, which is the type's name in a body's.
    """
    if function.kind is not FunctionKind.COROUTINE or not is_wrapper_poll(function.names):
        return None
    *_, tail = re.split(r"\{impl#\d+\}(?=::)", function.name)
    for body in inlined:
        is_same = body.name == function.name if tail == function.name else body.name.endswith(tail)
        if is_same and body.location == function.location:
            return body
    return None


def _closing(path: str, at: int) -> int:
    """Where the `<` before `at` is closed; the path's end when it is not."""
    depth = 1
    while at < len(path):
        if path[at] == "<":
            depth += 1
        elif path[at] == ">" and path[at - 1] != "-":
            depth -= 1
            if depth == 0:
                return at
        at += 1
    return at
