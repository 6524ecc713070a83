"""Tables for the terminal, and for pipes: plain there, and as wide as they need to be, up to a hundred columns."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tracer.model import Group, Plan, PollFunction, Refusal
from tracer.output.awaits import await_point, where_words
from tracer.output.labels import (
    duration_words,
    kind_words,
    place_words,
    printable,
    probed_words,
    short_awaitee,
    short_name,
    state_words,
)
from tracer.output.summary import bound_words

if TYPE_CHECKING:
    from tracer.output.summary import Summary

_PIPE_WIDTH, _LIST_WIDTH = 100, 600
_TOP = 8
_TOP_KINDS = 5
_MAX_CHANGES = 4


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the command line, which knows that a reader who went away is no error."""
        raise BrokenPipeError


def make_console(pipe_width: int = _PIPE_WIDTH) -> Console:
    """The standard output: colours on a terminal only, a fixed width in a pipe."""
    terminal = sys.stdout.isatty()
    return _Console(width=None if terminal else pipe_width, no_color=not terminal, highlight=False, soft_wrap=False)


class Column(StrEnum):
    """What a column holds, which decides where it is cut when there is no room."""

    FIGURE = "figure"  # to the right, never cut
    WORD = "word"  # never cut
    NAME = "name"  # cut at its end
    PLACE = "place"  # cut at its beginning: the line number and the file's own name matter most


_FLEXIBLE = (Column.NAME, Column.PLACE)
_GAP = 3
_LEAST = 12


def _table(
    columns: dict[str, Column], rows: Sequence[Sequence[str]], width: int, expendable: Sequence[str] = ()
) -> Table:
    """A table no wider than `width`, if cutting names and places makes that possible, or leaving columns out.

    expendable: the columns that a narrow terminal does without, the first one first.
    """
    names, kinds = list(columns), list(columns.values())
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
    left = set(range(len(names)))
    for name in expendable:
        least = (min(widths[i], _LEAST) if kinds[i] in _FLEXIBLE else widths[i] for i in left)
        if sum(least) + _GAP * (len(left) - 1) <= width:
            break
        left.discard(names.index(name))
    flexible = [i for i in left if kinds[i] in _FLEXIBLE]
    while sum(widths[i] for i in left) + _GAP * (len(left) - 1) > width and flexible:
        widest = max(flexible, key=lambda i: widths[i])
        if widths[widest] <= _LEAST:
            break
        widths[widest] -= 1
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    for i in sorted(left):
        heading = _cut(names[i], widths[i], Column.NAME)
        table.add_column(heading, justify="right" if kinds[i] is Column.FIGURE else "left", no_wrap=True)
    for row in cells:
        table.add_row(*(Text(_cut(row[i], widths[i], kinds[i])) for i in sorted(left)))
    return table


def _cut(text: str, width: int, kind: Column) -> str:
    if cell_len(text) <= width:
        return text
    return "…" + text[1 - width :] if kind is Column.PLACE else text[: width - 1] + "…"


def _text(words: str, style: str = "") -> Text:
    """Text as it is: neither markup nor control characters of the target's names count."""
    return Text(printable(words), style)


def _count(number: int) -> str:
    return f"{number:,}"


def _some(number: int, what: str) -> str:
    """1 poll, 2 polls."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def print_summary(summary: Summary, console: Console) -> None:
    """The summary of a recording on one screen."""
    _print_header(summary, console)
    if summary.tally.polls or summary.accounts.polls.any():
        _print_functions(summary, console)
        _print_tasks(summary, console)
        _print_longest(summary, console)
    if summary.accounts.waits.any():
        _print_waits(summary, console)
    _print_remarks(summary, console)


def _print_header(summary: Summary, console: Console) -> None:
    tally, seconds = summary.tally, summary.seconds
    targets = ", ".join(f"{one.name} ({one.pid})" for one in summary.recording.processes)
    rate = f" ({tally.polls / seconds:,.0f}/s)" if seconds else ""
    console.print(
        Text.assemble(
            _text(targets, "bold"),
            f" · {seconds:.2f} s · {_some(tally.polls, 'poll')}{rate} · {_some(tally.instances, 'future')}"
            f" · {_some(summary.tasks(), 'task')}",
        )
    )
    console.print()


def _print_functions(summary: Summary, console: Console) -> None:
    accounts = summary.accounts
    figures = ("polls", "futures", "busy", "mean", "p99", "max", "waits", "waiting")
    functions = [(index, one) for index, one in summary.functions() if accounts.polls[index]]
    rows = []
    for index, function in functions[:_TOP]:
        polls, busy = int(accounts.polls[index]), int(accounts.busy[index])
        rows.append(
            (
                short_name(function),
                _count(polls),
                _count(int(accounts.instances[index])) if accounts.instances[index] else "?",
                duration_words(busy),
                duration_words(busy / polls),
                duration_words(accounts.percentile(index, 0.99)),
                duration_words(int(accounts.longest_poll[index])),
                _count(int(accounts.waits[index])),
                duration_words(int(accounts.waiting[index])),
            )
        )
    columns = {"most polling time": Column.NAME} | dict.fromkeys(figures, Column.FIGURE)
    console.print(_table(columns, rows, console.width, ("mean", "waits", "p99", "futures")))
    more = f"{len(functions) - _TOP} more functions were polled; " if len(functions) > _TOP else ""
    words = "times are wall time and include the futures polled inside and the probes; p99 is within 6 %"
    console.print(_text(more + words, "dim"))
    share = summary.share_probed(Group.FUTURES)
    if summary.changes and share < 0.999:
        words = f"futures were probed in {share:.1%} of the time only: their figures are of that part"
        console.print(_text(words, "yellow"))
    console.print()


def _print_tasks(summary: Summary, console: Console) -> None:
    kinds = summary.kinds
    seen = kinds.seen()
    rows = [
        (
            short_name(summary.recording.plan.functions[index]).removeprefix("task "),
            _count(int(kinds.tasks[index])),
            _count(int(kinds.polls[index])),
            duration_words(int(kinds.busy[index])),
            duration_words(int(kinds.longest[index])),
            duration_words(int(kinds.waiting[index])),
            place_words(summary.recording.plan.functions[index].location),
        )
        for index in seen[:_TOP_KINDS]
    ]
    if not rows:
        return
    columns = {"tasks by kind": Column.NAME}
    columns |= dict.fromkeys(("tasks", "polls", "busy", "longest poll", "waiting"), Column.FIGURE)
    console.print(_table(columns | {"place": Column.PLACE}, rows, console.width, ("place", "longest poll")))
    if len(seen) > _TOP_KINDS:
        console.print(_text(f"{_some(len(seen) - _TOP_KINDS, 'more kind')} of tasks", "dim"))
    console.print()


def _print_longest(summary: Summary, console: Console) -> None:
    rows = []
    for poll in summary.accounts.longest_apart(5):
        function = summary.recording.plan.functions[int(poll["function"])]
        tid = int(poll["tid"])
        bound = bound_words(int(poll["flags"]))
        rows.append(
            (
                short_name(function) + (f" ({bound})" if bound else ""),
                f"{summary.since_start(int(poll['start'])):.6f} s",
                ("≥ " if bound else "") + duration_words(int(poll["end"] - poll["start"])),
                place_words(function.location),
                summary.names.get(tid) or str(tid),
            )
        )
    columns = {
        "longest polls": Column.NAME,
        "at": Column.FIGURE,
        "took": Column.FIGURE,
        "place": Column.PLACE,
        "thread": Column.WORD,
    }
    console.print(_table(columns, rows, console.width, ("thread", "at")))
    console.print()


def _print_waits(summary: Summary, console: Console) -> None:
    rows = []
    for index, state, count, total, longest in summary.accounts.waits_at()[:_TOP]:
        function = summary.recording.plan.functions[index]
        point = await_point(function, state)
        number = "" if state is None else state_words(state)
        rows.append(
            (
                short_name(function),
                short_awaitee(point.awaitee) if point and point.awaitee else number,
                _count(count),
                duration_words(total),
                duration_words(total / count),
                duration_words(longest),
                where_words(function, state),
            )
        )
    columns = {"most waiting": Column.NAME, "for": Column.NAME}
    columns |= dict.fromkeys(("waits", "waiting", "mean", "max"), Column.FIGURE)
    columns |= {"where": Column.PLACE}
    console.print(_table(columns, rows, console.width, ("mean", "max", "where")))
    uncertain = summary.accounts.uncertain_waits
    if uncertain:
        why = "which may span two futures at one address, are left out"
        console.print(_text(f"{_some(uncertain, 'further wait')}, {why}", "dim"))
    console.print()


def _print_remarks(summary: Summary, console: Console) -> None:
    """What was not seen, and why: always said, also when all is well."""
    tally, end = summary.tally, summary.end
    parts = [f"{summary.lost:,} lost"]
    parts.append(f"{_some(tally.unmatched_exits, 'exit')} without an entry")
    if tally.unwound:
        parts.append(f"{_some(tally.unwound, 'poll')} unwound (a panic, or a lost exit)")
    if tally.open_at_start or tally.open_at_end:
        parts.append(f"under way at the start {tally.open_at_start:,}, at the end {tally.open_at_end:,}")
    console.print(_text(f"events: {tally.events:,}, {', '.join(parts)}", "bold red" if summary.lost else ""))
    if end is not None and end.overhead is not None:
        allowed = f"{summary.recording.max_overhead:.0%} of its own, or of one processor"
        took = f"the probes took about {end.overhead:.1%} of the CPU time that the target used"
        console.print(_text(f"overhead: {took} (allowed: {allowed})"))
    for change in summary.changes[:_MAX_CHANGES]:
        words = f"from {summary.since_start(change.time):.2f} s probed: {probed_words(change.active)} ({change.reason})"
        console.print(_text(words, "yellow"))
    if summary.changes:
        console.print(_text("--max-overhead PERCENT lets them cost more", "dim"))
    if len(summary.changes) > _MAX_CHANGES:
        more = f"{len(summary.changes) - _MAX_CHANGES:,} more changes of what was probed: see the trace, track 'probed'"
        console.print(_text(more, "yellow"))
    for gone in summary.ends:
        console.print(_text(f"at {summary.since_start(gone.time):.2f} s process {gone.pid}: {gone.reason}"))
    if end is None:
        console.print(_text("the capture breaks off: its end was not written", "yellow"))
    for runtime in summary.unidentified():
        words = f"tasks of {runtime} are told apart by their addresses: an address used again can look like one task"
        console.print(_text(words))
    refusals = summary.refusals()
    if refusals:
        plan = summary.recording.plan
        reasons = "; ".join(f"{count:,}: {reason}" for reason, count in refusals[:3])
        rest = sum(count for _, count in refusals[3:])
        more = f"; {rest:,}: other reasons" if rest else ""
        probed = f"probed {_some(len(plan.functions), 'function')}, not probed {len(plan.refusals):,}"
        console.print(_text(f"{probed} ({reasons}{more})"))


# ---- list


def print_functions(plan: Plan, *, as_json: bool = False, console: Console | None = None) -> None:
    """What a plan probes and what not: a table, or a JSON object
    {"probed": [{function, names, kind, crate, file, line, address, exits, source}],
    "not_probed": [{function, reason, file, line, address}]}, addresses being link-time integers."""
    if as_json:
        document = {
            "probed": [_function_json(one) for one in plan.functions],
            "not_probed": [_refusal_json(one) for one in plan.refusals],
        }
        json.dump(document, sys.stdout, indent=2)
        print()
        return
    # In a pipe nothing is cut: lines are as long as the longest name needs.
    console = console or make_console(_LIST_WIDTH)
    if plan.functions:
        console.print(function_table(plan, console.width))
    if plan.refusals:
        console.print()
        console.print(refusal_table(plan, console.width))
    reasons = Counter(one.reason for one in plan.refusals)
    console.print()
    console.print(_text(f"{_some(len(plan.functions), 'function')} can be probed, {len(plan.refusals):,} not"))
    for reason, count in reasons.most_common():
        console.print(_text(f"  {count:,}: {reason}"))


def function_table(plan: Plan, width: int) -> Table:
    """The functions that are probed."""
    functions = sorted(plan.functions, key=_place)
    rows = [(one.name, kind_words(one.kind), place_words(one.location)) for one in functions]
    return _table({"probed": Column.NAME, "kind": Column.WORD, "place": Column.PLACE}, rows, width)


def refusal_table(plan: Plan, width: int) -> Table:
    """The functions that are not, and why."""
    refusals = sorted(plan.refusals, key=_place)
    rows = [(one.name, one.reason, place_words(one.location)) for one in refusals]
    return _table({"not probed": Column.NAME, "why": Column.NAME, "place": Column.PLACE}, rows, width)


def _place(one: PollFunction | Refusal) -> tuple[bool, str, int, str]:
    """By place in the source, what has none last."""
    location = one.location
    return location is None, location.file if location else "", location.line if location else 0, one.name


def _function_json(function: PollFunction) -> dict[str, Any]:
    location = function.location
    return {
        "function": function.name,
        "names": list(function.names),
        "kind": str(function.kind),
        "crate": function.crate,
        "file": location.file if location else None,
        "line": location.line if location else None,
        "address": function.address,
        "exits": len(function.exits),
        "source": str(function.source),
    }


def _refusal_json(refusal: Refusal) -> dict[str, Any]:
    location = refusal.location
    return {
        "function": refusal.name,
        "reason": refusal.reason,
        "file": location.file if location else None,
        "line": location.line if location else None,
        "address": refusal.address,
    }
