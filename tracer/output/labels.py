"""Words that every output shares: short function names, await states, unusual endings."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tracer.model import (
    FIRST_SUSPEND,
    PANICKED,
    RETURNED,
    UNRESUMED,
    FunctionKind,
    Group,
    PollFlag,
    PollFunction,
    WaitFlag,
)

_POLL_FLAGS = {
    PollFlag.START_UNKNOWN: "was under way when tracing began",
    PollFlag.END_UNKNOWN: "end not seen: drawn to the end of the trace",
    PollFlag.UNWOUND: "unwound by a panic (or its exit was lost)",
    PollFlag.INFERRED_END: "end inferred: its function has no exit probe",
    PollFlag.TAIL: "left by a jump, ends with its callee",
}
_WAIT_FLAGS = {
    WaitFlag.START_UNKNOWN: "the poll before it was not seen",
    WaitFlag.END_UNKNOWN: "no poll followed: drawn to the end of the trace",
    WaitFlag.AMBIGUOUS: "may belong to another future at the same address",
}
_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_BLOCKS = ("{{closure}}", "{closure#", "{async_", "{impl#", "{{async")
_KINDS = {
    FunctionKind.COROUTINE: "async fn or block",
    FunctionKind.FUTURE: "hand-written future",
    FunctionKind.TASK: "task of the runtime",
}


def printable(text: str) -> str:
    """Text from the target with control and direction characters made visible."""
    return _INVISIBLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def kind_words(kind: FunctionKind) -> str:
    """A function's kind for people."""
    return _KINDS[kind]


def state_words(state: int | None) -> str:
    """A coroutine's state byte for people; None: it could not be read."""
    if state is None:
        return "unknown"
    fixed = {UNRESUMED: "not yet polled", RETURNED: "returned", PANICKED: "panicked"}
    return fixed.get(state) or f"await #{state - FIRST_SUSPEND + 1}"


def wait_name(state: int | None) -> str:
    """The name of a waiting interval."""
    return "waiting" if state is None or state < FIRST_SUSPEND else f"waiting at await #{state - FIRST_SUSPEND + 1}"


def poll_notes(flags: int) -> str:
    """What is unusual about a poll, or ""."""
    return "; ".join(words for flag, words in _POLL_FLAGS.items() if flags & flag)


def wait_notes(flags: int) -> str:
    """What is unusual about a wait, or ""."""
    return "; ".join(words for flag, words in _WAIT_FLAGS.items() if flags & flag)


def probed_words(active: frozenset[Group]) -> str:
    """What a plan change leaves attached."""
    if not active:
        return "paused"
    return "all" if active == frozenset(Group) else f"{' and '.join(sorted(active))} only"


def short_name(function: PollFunction) -> str:
    """A function's name as a timeline has room for it: its last two path elements, no generics."""
    name = function.name
    if function.kind is FunctionKind.TASK:
        future = _first_generic(name)
        return printable(f"task {_shorten(future)}" if future else _shorten(name))
    return printable(_shorten(name))


def _shorten(name: str) -> str:
    parts = [_element(part) for part in _split(name, "::")]
    if parts[0] != (bare := _split(name, "::")[0]) and bare.startswith("<") and parts[-1] == "poll":
        parts.pop()  # <T as Future>::poll is known as T
    closures = [part for part in parts if part.startswith(_BLOCKS)]
    path = [part for part in parts if not part.startswith(_BLOCKS)] or parts
    short = "::".join(path[-2:]) if len(path) > 1 else path[0]
    blocks = len([part for part in closures if not part.startswith("{impl#")])
    is_block = blocks > 1 or any("async_block" in part or "async_closure" in part for part in closures)
    return f"{short} {{block}}" if is_block else short


def _element(part: str) -> str:
    """One path element without its generics; <T as Trait> becomes T."""
    if part.startswith("<"):
        inner = part[1:-1] if part.endswith(">") else part[1:]
        return _shorten(next(iter(_split(inner, " as "))).lstrip("&").removeprefix("mut "))
    return part.partition("<")[0] or part


def _first_generic(name: str) -> str | None:
    """T of f::<T, S>, or None."""
    for part in reversed(_split(name, "::")):
        head, bracket, rest = part.partition("<")
        if bracket and rest.endswith(">") and " as " not in head:
            return _split(rest[:-1], ",")[0].strip()
    return None


def _split(text: str, separator: str) -> list[str]:
    """Split where no bracket is open."""
    parts, start = [], 0
    for at in _top_level(text, separator):
        parts.append(text[start:at])
        start = at + len(separator)
    return [part for part in [*parts, text[start:]] if part] or [text]


def _top_level(text: str, separator: str) -> Iterator[int]:
    depth, at = 0, 0
    while at < len(text):
        character = text[at]
        if character in "<([{":
            depth += 1
        elif character in ")]}" or (character == ">" and text[at - 1 : at] != "-"):
            depth -= 1
        elif depth == 0 and text.startswith(separator, at):
            yield at
            at += len(separator)
            continue
        at += 1
