"""What a flight recorder waits for, as it is typed: `poll > 100ms`, `wait(serve) > 1s`, `finding:long-poll`."""

from __future__ import annotations

import re

from tracer.errors import UsageError
from tracer.model import Trigger, TriggerKind

UNITS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000}

_LENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*([a-zµ]*)")
_WITH_LENGTH = re.compile(r"(\w+)\s*(?:\((.*)\))?\s*(>=?)\s*(.+)", re.DOTALL)
_FINDING = re.compile(r"finding\s*(?::\s*(\S+))?")
_KINDS = (TriggerKind.POLL, TriggerKind.WAIT, TriggerKind.READY)
_ALLOWED = """\
rat-ebpf … --trigger 'poll > 100ms'            a poll that takes longer
rat-ebpf … --trigger 'poll(serve_one) > 10ms'  the same of functions whose name matches
rat-ebpf … --trigger 'wait > 1s'               a task's wait that lasts longer
rat-ebpf … --trigger 'ready > 50ms'            a task that was woken, or made, and not polled for longer
rat-ebpf … --trigger finding                   anything that is wrong
rat-ebpf … --trigger finding:long-poll         one rule of docs/findings.md"""


def nanoseconds(text: str, *, otherwise: str | None = None) -> int:
    """`1.5s` as nanoseconds; otherwise: the unit of a bare number.  Raises ValueError, which says what is wrong."""
    match = _LENGTH.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text.strip() or 'nothing'} is no length of time like 100ms")
    number, unit = match[1], match[2] or otherwise
    if unit is None:
        raise ValueError(f"{number} of what? The units are ns, us, ms, s and m")
    if unit not in UNITS:
        raise ValueError(f"{unit} is no unit: those are ns, us, ms, s and m")
    length = float(number) * UNITS[unit]
    if not length < 1 << 62:
        raise ValueError(f"{text.strip()} is too long")
    return round(length)


def parse_trigger(text: str, rules: tuple[str, ...]) -> Trigger:
    """rules: the ids of those that can be judged.  Raises UsageError, which says what is allowed."""
    words = " ".join(text.split())
    if found := _FINDING.fullmatch(words):
        return _finding(words, found[1], rules)
    match = _WITH_LENGTH.fullmatch(words)
    if match is None or match[1] not in _KINDS:
        raise UsageError(f"{text!r} is no trigger", why="it begins with poll, wait, ready or finding", fix=_ALLOWED)
    kind, pattern, _, length = match.groups()
    if pattern is not None:
        _check(text, pattern)
    try:
        least = nanoseconds(length)
    except ValueError as error:
        raise UsageError(f"{text!r} is no trigger", why=str(error), fix=_ALLOWED) from None
    if not least:
        raise UsageError(f"{text!r} is no trigger", why=f"{length} is too short", fix=_ALLOWED)
    return Trigger(words, TriggerKind(kind), least, pattern)


def _check(text: str, pattern: str) -> None:
    try:
        if re.compile(pattern).fullmatch(""):
            raise UsageError(f"{text!r} is no trigger", why="there is nothing between ( and )", fix=_ALLOWED)
    except re.error as error:
        raise UsageError(f"{text!r} is no trigger", why=f"{pattern} is no pattern: {error}", fix=_ALLOWED) from None


def _finding(text: str, rule: str | None, rules: tuple[str, ...]) -> Trigger:
    if rule is not None and rule not in rules:
        why = f"no rule {rule} is judged while a recording goes on, but {', '.join(rules)}"
        raise UsageError(f"{text!r} is no trigger", why=why)
    return Trigger(text, TriggerKind.FINDING, rule=rule)
