"""Words that every output shares: short function names, await states, unusual endings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from tracer.model import (
    FIRST_SUSPEND,
    PANICKED,
    RETURNED,
    UNRESUMED,
    FunctionKind,
    Group,
    Plan,
    PlanChange,
    PollFlag,
    PollFunction,
    SourceLocation,
    WaitFlag,
)
from tracer.terminal import printable

_POLL_FLAGS = (
    (int(PollFlag.START_UNKNOWN), "was under way when its polls began to be recorded"),
    (int(PollFlag.END_UNKNOWN), "end not seen: drawn as long as it certainly went on"),
    (int(PollFlag.UNWOUND), "unwound by a panic (or its exit was lost)"),
    (int(PollFlag.INFERRED_END), "end inferred: its exit was not probed"),
    (int(PollFlag.ABORTED), "the task was aborted before: its future was dropped, not polled"),
    (int(PollFlag.PANICKED), "the task's future panicked"),
    (int(PollFlag.TAIL), "left by a jump, ends with its callee"),
)
_WAIT_FLAGS = (
    (int(WaitFlag.START_UNKNOWN), "the poll before it was not seen"),
    (int(WaitFlag.END_UNKNOWN), "no poll followed: drawn as long as its polls were recorded"),
    (int(WaitFlag.CANCELLED), "cancelled: it was dropped while it waited"),
    (int(WaitFlag.REPLACED), "... some time before another one was polled at its address, where it is drawn to end"),
    (
        int(WaitFlag.AMBIGUOUS),
        "may have ended sooner: its future may have been dropped unseen",
    ),
)
_REGISTRY = re.compile(
    r"^.*/(?:registry/src/[^/]+|git/checkouts/[^/]+/[^/]+)/|^/rustc/[0-9a-f]+/library/|^.*/rustc-\d[^/]*/library/"
)
_BLOCK_NAMES = re.compile(r"^\{(?:async[ _])?(block|closure)(?:_env)?(?:#(\d+))?\}(?:<.*>)?$")
_OBJECT = "dyn "
_ANY_TYPE = re.compile(r"^<[A-Z]\d? as ")
_REFERENCE = re.compile(r"^(?:&(?:mut )?)+")
_OR = " or "
_OTHERS = re.compile(r"^\d+ others?$")
"""Of a function that is several futures' (tracer.rust.merged)."""
_DEEPEST = 100
"""Brackets inside each other in a name that somebody wrote; of one with more all is shown."""
JOB = "blocking job "
"""How the names of jobs begin, as those of tasks do with "task "."""

_KINDS = {
    FunctionKind.COROUTINE: "async fn or block",
    FunctionKind.FUTURE: "hand-written future",
    FunctionKind.TASK: "task of the runtime",
    FunctionKind.IN_PLACE: "blocking call in place",
}


def kind_words(function: PollFunction) -> str:
    """A function's kind for people."""
    return "blocking job" if function.is_job else _KINDS[function.kind]


def category(function: PollFunction) -> str:
    """Of what is drawn of its polls."""
    return "job" if function.is_job else "in place" if function.kind is FunctionKind.IN_PLACE else "poll"


def without_kind(name: str) -> str:
    """A task's or job's name without the word for what it is; of one that has a number only that is all there is."""
    short = name.removeprefix("task ").removeprefix(JOB)
    return short if not short.startswith("#") else name


def state_words(state: int | None) -> str:
    """A coroutine's state byte for people; None: it could not be read."""
    if state is None:
        return "unknown"
    fixed = {UNRESUMED: "not yet polled", RETURNED: "returned", PANICKED: "panicked"}
    return fixed.get(state) or f"await #{state - FIRST_SUSPEND + 1}"


UNSURE_WAIT = "waiting or over"
"""Of a wait between two polls of which nobody knows whether they are of one future."""


def wait_name(state: int | None) -> str:
    """The name of a waiting interval."""
    return "waiting" if state is None or state < FIRST_SUSPEND else f"waiting at await #{state - FIRST_SUSPEND + 1}"


POLL_FN = re.compile(r"^(?:\w+::)*PollFn<")

POLLS_ALL = re.compile(r"^futures_(?:lite::future::(?:Or|Race)|util::future::(?:\w+::)*Select(?:All|Ok))<")
"""futures-lite 1 and 2, futures-util 0.3: they end with the first of their futures, and poll all until then."""

MAYBE_DONE = re.compile(r"^(?:\w+::)*(?:Try)?MaybeDone<")
"""What join! has around its branches (tokio, futures-util).  It may be polled when it is done, and is ready again."""


def poll_notes(flags: int) -> str:
    """What is unusual about a poll, or ""."""
    return _notes(_POLL_FLAGS, flags)


def wait_notes(flags: int) -> str:
    """What is unusual about a wait, or ""."""
    return _notes(_WAIT_FLAGS, flags)


@lru_cache(maxsize=1024)
def _notes(words: tuple[tuple[int, str], ...], flags: int) -> str:
    return "; ".join(text for flag, text in words if flags & flag)


def not_probed_words(plan: Plan) -> str:
    """How many functions of a plan are not probed, and how many only in part, as a sentence goes on: ", 3 not"."""
    in_part = f", {len(plan.seen_in_part):,} in part" if plan.seen_in_part else ""
    return f", {len(plan.unseen):,} not{in_part}"


_POLLS = frozenset({Group.TASKS, Group.FUTURES})


def probed_words(change: PlanChange, planned: frozenset[Group]) -> str:
    """What a plan change leaves attached, of a plan with probes of these groups."""
    active, unprobed, blind = change.active, len(change.unprobed), len(change.entries_only)
    if not active:
        return "paused"
    if active >= _POLLS or unprobed or blind:
        missing: list[str] = sorted(planned - active)
        missing += [_functions(unprobed)] if unprobed else []
        words = f"all but {' and '.join(missing)}" if missing else "all"
        return f"{words}, entries only of {_functions(blind)}" if blind else words
    return f"{' and '.join(sorted(active))} only"


def _functions(count: int) -> str:
    return f"{count:,} function{'s' if count > 1 else ''}"


def short_name(function: PollFunction) -> str:
    """A function's name as a timeline has room for it: the last elements of its path, generics only by their names."""
    return short_name_of(function.name, function.kind)


@lru_cache(1 << 14)
def short_name_of(name: str, kind: FunctionKind) -> str:
    """The same by name and kind."""
    prefix = next((word for word in ("task ", JOB) if name.startswith(word)), "")
    if _is_too_deep(name):
        return printable(name)
    several = name[len(prefix) :].split(_OR)
    return printable(prefix + _OR.join(one if _OTHERS.match(one) else _short_one(one, kind) for one in several))


def _short_one(name: str, kind: FunctionKind) -> str:
    name = _short_objects(name)
    # A task's future is an async fn or block by its path, or a type (such as a wrapper around one).
    is_type = _split(name, "::")[-1][:1].isupper() or name.startswith(_OBJECT)
    plain = kind is FunctionKind.FUTURE or (kind is FunctionKind.TASK and is_type)
    return _short_type(name) if plain else _short_path(name)


_PART_OF = re.compile(r"(?:async fn|async block|closure) in ")
"""Of a function without a name of its own, see rust.stack_names."""


def short_awaitee(name: str) -> str:
    """The display name of an awaited type in short: async fns have names in lower case, types do not."""
    if _is_too_deep(name):
        return printable(name)
    parts = 0
    while part := _PART_OF.match(name, parts):
        parts = part.end()
    if parts:
        return printable(name[:parts]) + short_awaitee(name[parts:])
    name = _short_objects(name)
    last = _split(name, "::")[-1]
    is_path = (
        not name.startswith("&") and (last.startswith("{") or last[:1].islower()) and " " not in last.split("<")[0]
    )
    return printable(_short_path(name) if is_path else _short_type(name))


def _is_too_deep(name: str) -> bool:
    return any(depth > _DEEPEST for _, depth in _depths(name))


def _short_objects(name: str) -> str:
    """Trait objects, `(dyn a::Trait<T> + Send)` (of symbols without the spaces), by their traits' own names: `dyn
    Trait`."""
    parts, done = list[str](), 0
    while (begin := name.find(_OBJECT, done)) >= 0:
        inner = begin + len(_OBJECT)
        # Up to a comma, or the bracket that closes one before it.
        ends = (at for at, depth in _depths(name, inner) if depth < 0 or (depth == 0 and name[at] == ","))
        end = next(ends, len(name))
        trait = _split(_split(name[inner:end], "+")[0].strip(), "::")[-1].partition("<")[0]
        is_wrapped = begin > done and name[begin - 1] == "(" and name[end : end + 1] == ")"
        parts += [name[done : begin - is_wrapped], _OBJECT, trait]
        done = end + is_wrapped
    return "".join([*parts, name[done:]])


def _short_path(name: str, deeper: int = 1) -> str:
    """`a::b::C<T>::f::{async block#1}` becomes `C::f {block 1}`; symbols alone do not tell the number."""
    parts = _split(name, "::")
    path = [_element(part) for part in parts if not part.startswith("{")] or [name]
    block = next((found for part in reversed(parts) if (found := _BLOCK_NAMES.match(part))), None)
    words = " ".join(filter(None, block.groups())) if block else ""
    implementor = _implementor(parts) if deeper else ""
    return "::".join(path[-2:]) + implementor + (f" {{{words}}}" if words else "")


def _implementor(parts: list[str]) -> str:
    """What a trait that is implemented for any type, `<F as Handler>`, is implemented for: the first argument."""
    arguments = parts[-1].partition("}<")[2]
    if not _ANY_TYPE.match(parts[0]) or not arguments:
        return ""
    first = _split(arguments.removesuffix(">"), ",")[0]
    returned = _split(first, " -> ")[-1] if first.startswith("fn(") else first
    return f"<{_short_path(returned, deeper=0).split('::')[-1]}>"


def _short_type(name: str, deeper: int = 1) -> str:
    """`a::b::Join<c::D<E>, f::{async block#0}>` becomes `Join<D, f {block 0}>`; a wrapper shows one level more."""
    reference = _REFERENCE.match(name)
    if reference:
        return reference[0] + _short_type(name[reference.end() :])
    parts = _split(name, "::")
    if parts[-1].startswith("{"):
        return _short_path(name)
    base, bracket, arguments = parts[-1].partition("<")
    if not bracket or not base or not arguments.endswith(">"):
        return _element(parts[-1])
    inner = [_REFERENCE.sub("", argument.strip()) for argument in _split(arguments[:-1], ",")]
    if len(inner) == 1 and deeper:
        return f"{base}<{_short_type(inner[0], deeper - 1)}>"
    return f"{base}<{', '.join(_short_path(one).split('::')[-1] for one in inner)}>"


def _element(part: str) -> str:
    """One path element without its generics; <T as Trait> becomes T."""
    if part.startswith("<"):
        inner = part[1:-1] if part.endswith(">") else part[1:]
        return _short_path(_REFERENCE.sub("", _split(inner, " as ")[0])).split("::")[-1]
    return part.partition("<")[0] or part


def _split(text: str, separator: str) -> list[str]:
    """Split where no bracket is open."""
    parts, start = [], 0
    for at in _top_level(text, separator):
        parts.append(text[start:at])
        start = at + len(separator)
    return [part for part in [*parts, text[start:]] if part] or [text]


def _top_level(text: str, separator: str) -> Iterator[int]:
    free = 0
    for at, depth in _depths(text):
        if depth == 0 and at >= free and text.startswith(separator, at):
            yield at
            free = at + len(separator)


def _depths(text: str, start: int = 0) -> Iterator[tuple[int, int]]:
    """(place, how many brackets are open behind it), from `start` on; below 0 where more are closed."""
    depth = 0
    for at in range(start, len(text)):
        character = text[at]
        if character in "<([{":
            depth += 1
        elif character in ")]}" or (character == ">" and text[at - 1 : at] != "-"):
            depth -= 1
        yield at, depth


def duration_words(ns: float) -> str:
    """Nanoseconds with three digits and a unit."""
    for factor, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if ns >= factor * 0.9995:
            value = ns / factor
            digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
            return f"{value:,.{digits}f} {unit}"
    return f"{ns:.0f} ns"


def more_times(count: int) -> str:
    """How often again."""
    return "once more" if count == 1 else f"{count:,} more times"


def place_words(location: SourceLocation | None) -> str:
    """A place in the source; of a crate from a registry, from its own folder on."""
    return printable(_REGISTRY.sub("", str(location))) if location else ""
