"""Tables for the terminal, and for pipes: plain there, and as wide as they need to be, up to a hundred columns."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tracer.model import FunctionKind, Plan, PollFunction, Refusal, SourceLocation, WakePoint
from tracer.output.awaits import layout_remarks, layout_words, short_place
from tracer.output.labels import (
    duration_words,
    kind_words,
    place_words,
    printable,
    short_awaitee,
    short_name,
    short_name_of,
    state_words,
    without_kind,
)
from tracer.output.spawn_words import why_unknown

Document = dict[str, Any]
"""A summary as JSON has it, or a part of one."""

_PIPE_WIDTH = 100
LIST_WIDTH = 600
"""Of what is listed into a pipe: nothing is cut there."""
_TOP = 8
_TOP_KINDS, _TOP_LONGEST, _TOP_BLOCKERS = 5, 5, 5
_TOP_FINDINGS = 5
_MOST_NAMED = 2
_STYLES = {"critical": "bold red", "warning": "yellow", "info": ""}
_TOP_CALLS = 3
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
_READABLE = 16  # columns are left out rather than all names and places cut below this


@dataclass(frozen=True, slots=True)
class Fitted:
    """A table's text, cut to a width.  kinds, widths: of each column that is left."""

    headings: tuple[str, ...]
    kinds: tuple[Column, ...]
    widths: tuple[int, ...]
    rows: list[tuple[str, ...]]


def fit(
    columns: Mapping[str, Column], rows: Sequence[Sequence[str]], width: int, expendable: Sequence[str] = ()
) -> Fitted:
    """No wider than `width`, if cutting names and places makes that possible, or leaving columns out.

    expendable: the columns that a narrow terminal does without, the first one first.
    """
    names, kinds = list(columns), list(columns.values())
    shown = lru_cache(maxsize=None)(printable)
    cells = [[shown(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, {*column})) for column in zip(names, *cells, strict=True)]
    left = set(range(len(names)))
    for name in expendable:
        least = (min(widths[i], _READABLE) if kinds[i] in _FLEXIBLE else widths[i] for i in left)
        if sum(least) + _GAP * (len(left) - 1) <= width:
            break
        left.discard(names.index(name))
    flexible = [i for i in left if kinds[i] in _FLEXIBLE]
    while sum(widths[i] for i in left) + _GAP * (len(left) - 1) > width and flexible:
        widest = max(flexible, key=lambda i: widths[i])
        if widths[widest] <= _LEAST:
            break
        widths[widest] -= 1
    kept = sorted(left)
    cut = lru_cache(maxsize=None)(_cut)
    return Fitted(
        tuple(_cut(names[i], widths[i], Column.NAME) for i in kept),
        tuple(kinds[i] for i in kept),
        tuple(widths[i] for i in kept),
        [tuple(cut(row[i], widths[i], kinds[i]) for i in kept) for row in cells],
    )


def make_table(
    columns: Mapping[str, Column], rows: Sequence[Sequence[str]], width: int, expendable: Sequence[str] = ()
) -> Table:
    """A table, as fit() makes it."""
    fitted = fit(columns, rows, width, expendable)
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    for heading, kind in zip(fitted.headings, fitted.kinds, strict=True):
        table.add_column(heading, justify="right" if kind is Column.FIGURE else "left", no_wrap=True)
    for row in fitted.rows:
        table.add_row(*map(Text, row))
    return table


def table_lines(
    columns: Mapping[str, Column], rows: Sequence[Sequence[str]], width: int, expendable: Sequence[str] = ()
) -> Iterator[str]:
    """The same as lines of text, for tables of a hundred thousand rows."""
    fitted = fit(columns, rows, width, expendable)
    for row in (fitted.headings, *fitted.rows):
        cells = [
            (cell.rjust if kind is Column.FIGURE else cell.ljust)(size - cell_len(cell) + len(cell))
            for cell, kind, size in zip(row, fitted.kinds, fitted.widths, strict=True)
        ]
        yield (" " * _GAP).join(cells).rstrip()


def _cut(text: str, width: int, kind: Column) -> str:
    if cell_len(text) <= width:
        return text
    return "…" + text[1 - width :] if kind is Column.PLACE else text[: width - 1] + "…"


def plain_text(words: str, style: str = "") -> Text:
    """Text as it is: neither markup nor control characters of the target's names count."""
    return Text(printable(words), style)


def _count(number: int) -> str:
    return f"{number:,}"


def _some(number: int, what: str) -> str:
    """1 poll, 2 polls."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def print_summary(document: Document, console: Console) -> None:
    """The summary of a recording on one screen; document: what Summary.as_json says."""
    _print_header(document, console)
    _print_findings(document, console)
    if document["polls"] or document["functions"]:
        if document["polls"]:
            _print_functions(document, console)
        _print_tasks(document["task_kinds"], console)
        _print_scheduling(document, console)
        _print_delays(document, console)
        _print_jobs(document.get("jobs", []), document.get("in_place"), console)
        if document["polls"]:
            _print_longest(document["longest_polls"], console)
            _print_blockers(document.get("blockers", []), console)
    if document["waits_by_await"]:
        _print_waits(document, console)
    _print_remarks(document, console)


def _print_header(document: Document, console: Console) -> None:
    seconds, polls = document["seconds"], document["polls"]
    targets = ", ".join(f"{one['name']} ({one['pid']})" for one in document["processes"])
    rate = f" ({polls / seconds:,.0f}/s)" if seconds else ""
    console.print(
        Text.assemble(
            plain_text(targets, "bold"),
            f" · {seconds:.2f} s · {_some(polls, 'poll')}{rate} · {_some(document['instances'], 'future')}"
            f" · {_some(document['tasks'], 'task')}",
        )
    )
    console.print()


def _print_findings(document: Document, console: Console) -> None:
    """The worst first; that there are none is said below."""
    findings = document.get("findings", [])  # recordings by earlier versions know no rules
    for one in findings[:_TOP_FINDINGS]:
        place = short_place(SourceLocation(one["file"], one["line"])) if one["file"] is not None else ""
        where = f" · {place}" if place else ""
        words = f"{one['severity']} {one['rule']}: {one['title']}{where} · at {one['seconds']:.3f} s"
        console.print(plain_text(words, _STYLES[one["severity"]]))
        console.print(plain_text(f"  {one['advice']}", "dim"))
    if len(findings) > _TOP_FINDINGS:
        console.print(plain_text(f"{_some(len(findings) - _TOP_FINDINGS, 'more finding')}: see --json", "dim"))
    if findings:
        console.print()


def _print_unjudged(document: Document, console: Console) -> None:
    words = [] if document.get("findings", [True]) else ["findings: none"]
    unjudged = document.get("rules_not_judged", [])
    if unjudged:
        names = [one["rule"] for one in unjudged]
        which = ", ".join(names) if len(names) <= _MOST_NAMED else f"{len(names)} rules"
        reasons = list(dict.fromkeys(one["why"] for one in unjudged))
        more = "; more in --json" if len(reasons) > 1 else ""
        words.append(f"{which} not judged ({reasons[0]}{more})")
    if words:
        console.print(plain_text("; ".join(words)))


def _name(row: Document) -> str:
    return short_name_of(row["function"], FunctionKind(row["kind"]))


def _place_of(row: Document) -> str:
    return place_words(SourceLocation(row["file"], row["line"])) if row["file"] is not None else ""


def _print_functions(document: Document, console: Console) -> None:
    figures = ("polls", "futures", "busy", "mean", "p99", "max", "waits", "waiting")
    functions = [one for one in document["functions"] if one["polls"]]
    rows = [
        (
            _name(one),
            _count(one["polls"]),
            _count(one["instances"]) if one["instances"] else "?",
            duration_words(one["busy"]),
            duration_words(one["busy"] / one["polls"]),
            duration_words(one["p99"]),
            duration_words(one["longest"]),
            _count(one["waits"]),
            duration_words(one["waiting"]),
        )
        for one in functions[:_TOP]
    ]
    columns = {"most polling time": Column.NAME} | dict.fromkeys(figures, Column.FIGURE)
    console.print(make_table(columns, rows, console.width, ("mean", "waits", "p99", "futures")))
    more = f"{len(functions) - _TOP} more functions were polled; " if len(functions) > _TOP else ""
    words = "times are wall time and include the futures polled inside and the probes; p50, p99 are within 6 %"
    console.print(plain_text(more + words, "dim"))
    share = document["futures_probed"]
    if document["plan_changes"] and share < 0.999:
        words = f"futures were probed in {share:.1%} of the time only: their figures are of that part"
        console.print(plain_text(words, "yellow"))
    console.print()


def _print_tasks(kinds: Sequence[Document], console: Console) -> None:
    has_sites = any(_spawned_at(one) for one in kinds[:_TOP_KINDS])
    has_splits = any(one.get("scheduled") for one in kinds[:_TOP_KINDS])
    rows = [
        (
            _name(one).removeprefix("task "),
            _count(one["tasks"]),
            _count(one["polls"]),
            duration_words(one["busy"]),
            *(_split_cells(one) if has_splits else []),
            duration_words(one["longest"]),
            duration_words(one["waiting"]),
            *([_spawned_at(one)] if has_sites else []),
            _place_of(one),
        )
        for one in kinds[:_TOP_KINDS]
    ]
    if not rows:
        return
    columns = {"tasks by kind": Column.NAME}
    splits = ("runnable", "blocked") if has_splits else ()
    columns |= dict.fromkeys(("tasks", "polls", "busy", *splits, "longest poll", "waiting"), Column.FIGURE)
    columns |= {"spawned at": Column.PLACE} if has_sites else {}
    columns |= {"place": Column.PLACE}
    console.print(make_table(columns, rows, console.width, ("longest poll", "place", "spawned at")))
    if len(kinds) > _TOP_KINDS:
        console.print(plain_text(f"{_some(len(kinds) - _TOP_KINDS, 'more kind')} of tasks", "dim"))


def _split_cells(kind: Document) -> list[str]:
    """How long the polls were runnable, and blocked."""
    split = kind.get("scheduled")
    return [duration_words(split[key]) if split else "?" for key in ("runnable", "blocked")]


def _print_scheduling(document: Document, console: Console) -> None:
    """What the threads did while they polled tasks; recordings by earlier versions say nothing of it."""
    splits = [one["scheduled"] for one in document["task_kinds"] if one.get("scheduled")]
    scheduling = document.get("scheduling")
    if scheduling and splits:
        on_cpu, runnable, blocked = (sum(one[key] for one in splits) for key in ("on_cpu", "runnable", "blocked"))
        words = f"{duration_words(on_cpu)} of them on a CPU, {duration_words(runnable)} waiting for one, "
        words += f"{duration_words(blocked)} blocked"
        calls = [
            f"{one['name']} {duration_words(one['blocked'])}, longest {duration_words(one['longest'])}"
            for one in scheduling["blocked_in_polls"][:_TOP_CALLS]
        ]
        console.print(plain_text(f"busy: {words}" + (f" ({'; '.join(calls)})" if calls else ""), "dim"))
        if document["plan_changes"] and scheduling["probed"] < 0.999:
            words = f"scheduling was recorded in {scheduling['probed']:.1%} of the time only"
            console.print(plain_text(words, "yellow"))
    if document["task_kinds"]:
        console.print()


def _print_delays(document: Document, console: Console) -> None:
    """How long tasks were ready before they were polled; nothing of recordings in which no wake or spawn is known."""
    kinds = [one for one in document["task_kinds"] if one.get("delay") or one.get("first_delay")]
    kinds.sort(key=lambda one: -sum(int(one[key]["total"]) for key in ("delay", "first_delay") if one.get(key)))
    rows = [
        (
            _name(one).removeprefix("task "),
            *_delay_cells(one.get("delay"), ("polls", "own")),
            *_delay_cells(one.get("first_delay"), ("tasks",)),
        )
        for one in kinds[:_TOP_KINDS]
    ]
    if not rows:
        return
    columns = {"ready until polled": Column.NAME}
    new = ("spawned", "first p50", "first p99", "first max")
    columns |= dict.fromkeys(("woken", "by itself", "p50", "p99", "max", *new), Column.FIGURE)
    console.print(make_table(columns, rows, console.width, ("first p50", "by itself", "first p99", "p50")))
    if document["wakes"] is None:
        console.print()
        return
    wakes, share = document["wakes"], document["wakes_probed"]
    words = f"{_some(wakes['all'], 'wake')} of tasks, {wakes['without_effect']:,} without effect, {wakes['own']:,} by "
    words += f"themselves, {wakes['unanswered']:,} that no poll followed"
    console.print(plain_text(words, "dim"))
    if document["plan_changes"] and share < 0.999:
        words = f"wakes were probed in {share:.1%} of the time only: their figures are of that part"
        console.print(plain_text(words, "yellow"))
    console.print()


def _print_jobs(jobs: Sequence[Document], in_place: Document | None, console: Console) -> None:
    """How long blocking jobs were in the queue and ran, and calls in place took; recordings by earlier versions have
    none."""
    if in_place is not None:
        p50, p99, most = (duration_words(in_place[key]) for key in ("p50", "p99", "longest"))
        words = f"{_some(in_place['jobs'], 'call')} of block_in_place took {duration_words(in_place['total'])} in all"
        console.print(plain_text(f"{words}: p50 {p50}, p99 {p99}, max {most}"))
        console.print()
    rows = [
        (
            without_kind(_name(one)),
            *_delay_cells(one["queued"], ()),
            _count(one["jobs"]),
            *_delay_cells(one["ran"], ()),
            duration_words(one["ran"]["total"]) if one["ran"] else "",
            _spawned_at(one),
        )
        for one in jobs[:_TOP_KINDS]
    ]
    if not rows:
        return
    figures = ("queued p50", "p99", "max", "jobs", "ran p50", "ran p99", "ran max", "in all")
    columns = {"blocking jobs": Column.NAME} | dict.fromkeys(figures, Column.FIGURE) | {"spawned at": Column.PLACE}
    console.print(make_table(columns, rows, console.width, ("ran p99", "queued p50", "spawned at")))
    if len(jobs) > _TOP_KINDS:
        console.print(plain_text(f"{_some(len(jobs) - _TOP_KINDS, 'more kind')} of blocking jobs", "dim"))
    console.print()


def _delay_cells(delay: Document | None, counts: Sequence[str]) -> list[str]:
    """What a table has of delays: the counts of these names, and how long."""
    lengths = ("p50", "p99", "longest")
    if delay is None:
        return [""] * (len(counts) + len(lengths))
    return [*(_count(delay[key]) for key in counts), *(duration_words(delay[key]) for key in lengths)]


def _spawned_at(kind: Document) -> str:
    """Where most tasks of a kind were spawned, and how many other places there are; nothing where it is not known."""
    places = dict.fromkeys(
        place_words(SourceLocation(one["file"], one["line"]))
        for one in kind.get("spawned", [])  # recordings by earlier versions have none
        if one["file"] is not None
    )
    more = f" + {len(places) - 1}" if len(places) > 1 else ""
    return next(iter(places), "") + more


def _unknown_sites(kind: Document) -> int:
    """How many tasks of a kind were seen to be spawned, nobody knows where."""
    return sum(int(one["tasks"]) for one in kind.get("spawned", []) if one["file"] is None)


def _print_blockers(blockers: Sequence[Document], console: Console) -> None:
    """What kept threads in task polls; recordings by earlier versions have none."""
    rows = [
        (
            short_name_of(one["function"], FunctionKind.COROUTINE) if one["function"] else "no function of your own",
            {"blocked": "blocked", "running": "ran on"}[one["kind"]],
            _count(one["polls"]),
            duration_words(one["time"]) if one["kind"] == "blocked" else f"≈ {duration_words(one['time'])}",
            duration_words(one["longest"]) if one["kind"] == "blocked" else f"≈ {duration_words(one['longest'])}",
            _place_of(one),
        )
        for one in blockers[:_TOP_BLOCKERS]
    ]
    if not rows:
        return
    columns = {
        "what kept threads in polls": Column.NAME,
        "how": Column.WORD,
        "polls": Column.FIGURE,
        "time": Column.FIGURE,
        "longest": Column.FIGURE,
        "where": Column.PLACE,
    }
    console.print(make_table(columns, rows, console.width, ("longest", "polls")))
    console.print()


def _print_longest(polls: Sequence[Document], console: Console) -> None:
    rows = []
    for poll in polls[:_TOP_LONGEST]:
        bound = poll["note"]
        rows.append(
            (
                _name(poll) + (f" ({bound})" if bound else ""),
                f"{poll['seconds']:.6f} s",
                ("≥ " if bound else "") + duration_words(poll["duration"]),
                _place_of(poll),
                poll["thread"] or str(poll["tid"]),
            )
        )
    columns = {
        "longest polls": Column.NAME,
        "at": Column.FIGURE,
        "took": Column.FIGURE,
        "place": Column.PLACE,
        "thread": Column.WORD,
    }
    console.print(make_table(columns, rows, console.width, ("thread", "at")))
    console.print()


def _print_waits(document: Document, console: Console) -> None:
    rows = []
    for one in document["waits_by_await"][:_TOP]:
        number = "" if one["state"] is None else one["await"]
        rows.append(
            (
                _name(one),
                short_awaitee(one["awaitee"]) if one["awaitee"] else number,
                _kinds_words(one),
                _count(one["waits"]),
                duration_words(one["waiting"]),
                duration_words(one["p50"]),
                duration_words(one["p99"]),
                duration_words(one["longest"]),
                one["where"] or "",
            )
        )
    columns = {"most waiting": Column.NAME, "for": Column.NAME, "in tasks": Column.NAME}
    columns |= dict.fromkeys(("waits", "waiting", "p50", "p99", "max"), Column.FIGURE)
    columns |= {"where": Column.PLACE}
    console.print(make_table(columns, rows, console.width, ("in tasks", "p50", "max", "waits", "where")))
    uncertain = document["uncertain_waits"]
    if uncertain:
        why = "which may span two futures at one address, are left out"
        console.print(plain_text(f"{_some(uncertain, 'further wait')}, {why}", "dim"))
    console.print()


def _kinds_words(row: Document) -> str:
    """The kinds of tasks in which these waits are; nothing where they are the tasks' own."""
    names = row["task_kinds"]
    if not names or row["kind"] == FunctionKind.TASK:
        return ""
    first = short_name_of(names[0], FunctionKind.TASK).removeprefix("task ")
    return f"{first} + {len(names) - 1}" if len(names) > 1 else first


def _print_remarks(document: Document, console: Console) -> None:
    """What was not seen, and why: always said, also when all is well."""
    _print_unjudged(document, console)
    parts = [f"{document['lost']:,} lost"]
    parts.append(f"{_some(document['unmatched_exits'], 'exit')} without an entry")
    if document["unwound"]:
        parts.append(f"{_some(document['unwound'], 'poll')} unwound (a panic, or a lost exit)")
    if document["open_at_start"] or document["open_at_end"]:
        parts.append(f"under way at the start {document['open_at_start']:,}, at the end {document['open_at_end']:,}")
    style = "bold red" if document["lost"] else ""
    console.print(plain_text(f"events: {document['events']:,}, {', '.join(parts)}", style))
    if document["overhead"] is not None:
        allowed = f"{document['max_overhead']:.0%} of its own, or of one processor"
        took = f"the probes took about {document['overhead']:.1%} of the CPU time that the target used"
        console.print(plain_text(f"overhead: {took} (allowed: {allowed})"))
    readings = document.get("memory_readings", [])  # recordings by earlier versions have none
    if readings:
        words = "; ".join(
            f"{'at the end' if one['last'] else 'at the begin'} {_some(one['tasks'], 'task')} in "
            f"{duration_words(one['duration'])}"
            for one in readings
        )
        console.print(plain_text(f"memory read, without probes: {words}"))
    if document.get("no_scheduling"):
        words = f"when threads were on their CPUs is not known: {document['no_scheduling']}"
        console.print(plain_text(words, "yellow"))
    changes = document["plan_changes"]
    for change in changes[:_MAX_CHANGES]:
        words = f"from {change['seconds']:.2f} s probed: {change['probed']} ({change['reason']})"
        console.print(plain_text(words, "yellow"))
    if changes:
        words = "--max-overhead PERCENT lets them cost more; rat-ebpf sample PID needs no probes"
        console.print(plain_text(words, "dim"))
    if len(changes) > _MAX_CHANGES:
        more = f"{len(changes) - _MAX_CHANGES:,} more changes of what was probed: see the trace, track 'probed'"
        console.print(plain_text(more, "yellow"))
    for gone in document["process_ends"]:
        console.print(plain_text(f"at {gone['seconds']:.2f} s process {gone['pid']}: {gone['reason']}"))
    if not document["complete"]:
        console.print(plain_text("the capture breaks off: its end was not written", "yellow"))
    for runtime in sorted({one["runtime"] or "unknown" for one in document["task_kinds"] if one["unidentified"]}):
        words = f"tasks of {runtime} are told apart by their addresses: an address used again can look like one task"
        console.print(plain_text(words))
    if document["task_kinds"] and not document.get("spawns_probed", True):
        console.print(plain_text("where tasks came from is not known: no function was found in which they are made"))
    unknown = Counter[str]()
    for kind in document["task_kinds"]:
        unknown[kind["runtime"] or ""] += _unknown_sites(kind)
    for runtime, count in sorted((+unknown).items()):
        words = f"where {_some(count, 'task')} came from is not known: {why_unknown(runtime or None)}"
        console.print(plain_text(words))
    for remark in document["layouts"]:
        console.print(plain_text(remark))
    for remark in _stack_remarks(document.get("stacks")):
        console.print(plain_text(remark))
    refusals = document["not_probed"]
    if refusals:
        reasons = "; ".join(f"{one['functions']:,}: {one['reason']}" for one in refusals[:3])
        rest = sum(one["functions"] for one in refusals[3:])
        more = f"; {rest:,}: other reasons" if rest else ""
        count = sum(one["functions"] for one in refusals)
        probed = f"probed {_some(document['probed'], 'function')}, not probed {count:,}"
        console.print(plain_text(f"{probed} ({reasons}{more})"))
    if document["ended"]:
        console.print(plain_text(document["ended"]))


def _stack_remarks(census: Document | None) -> Iterator[str]:
    """What is missing of the stacks."""
    if census is None:
        return
    if census["refused"] is not None:
        yield f"no stacks of what blocks: {census['refused']}"
    missing = {
        "no room in the buffer": census["lost"],
        "too many threads blocked at once": census["crowded"],
        "their memory could not be read": census["unread"],
        "there were too many to unwind": census["skipped"],
    }
    reasons = [f"{count:,}: {reason}" for reason, count in missing.items() if count]
    if reasons:
        yield f"{_some(census['taken'], 'stack')} taken, others not ({'; '.join(reasons)})"
    if census["cut"]:
        yield f"{census['cut']:,} of {_some(census['taken'], 'stack')} are deeper than what is copied of them"


# ---- list


def print_functions(
    plan: Plan, *, with_awaits: bool = False, as_json: bool = False, console: Console | None = None
) -> None:
    """What a plan probes and what not: a table (with_awaits: also one of each await), or a JSON object
    {"probed": [{function, names, kind, crate, file, line, address, exits, source, layout,
    awaits: [{state, await, file, line, awaitee, macro, verified}]}],
    "not_probed": [{function, reason, file, line, address}], "wakes": [{function, address}]}, addresses being
    link-time integers; layout: from what it is known where the function waits, or null; wakes: where tasks are woken.
    """
    if as_json:
        document = {
            "probed": [_function_json(one) for one in plan.functions],
            "not_probed": [_refusal_json(one) for one in plan.refusals],
            "wakes": [{"function": one.name, "address": one.address} for one in _wakes(plan)],
        }
        json.dump(document, sys.stdout, indent=2)
        print()
        return
    # In a pipe nothing is cut: lines are as long as the longest name needs.
    console = console or make_console(LIST_WIDTH)
    if plan.functions:
        console.print(function_table(plan, console.width))
    if with_awaits and any(one.awaits for one in plan.functions):
        console.print()
        console.print(await_table(plan, console.width))
    if plan.refusals:
        console.print()
        console.print(refusal_table(plan, console.width))
    reasons = Counter(one.reason for one in plan.refusals)
    console.print()
    console.print(plain_text(f"{_some(len(plan.functions), 'function')} can be probed, {len(plan.refusals):,} not"))
    for reason, count in reasons.most_common():
        console.print(plain_text(f"  {count:,}: {reason}"))
    wakes = Counter(one.name for one in _wakes(plan))
    if wakes:
        words = ", ".join(f"{name}{f' ({count:,})' if count > 1 else ''}" for name, count in sorted(wakes.items()))
        console.print(plain_text(f"wakes of tasks are seen at {words}"))
    for remark in layout_remarks(plan):
        console.print(plain_text(remark))


def _wakes(plan: Plan) -> list[WakePoint]:
    """Where tasks are woken."""
    return [one.point for one in plan.wakes if one.point.begins is None]


def function_table(plan: Plan, width: int) -> Table:
    """The functions that are probed."""
    functions = sorted(plan.functions, key=_place)
    rows = [
        (
            one.name,
            kind_words(one),
            _count(len(one.awaits)) if one.awaits else "",
            layout_words(one),
            place_words(one.location),
        )
        for one in functions
    ]
    columns = {"probed": Column.NAME, "kind": Column.WORD, "awaits": Column.FIGURE}
    columns |= {"known by": Column.WORD, "place": Column.PLACE}
    return make_table(columns, rows, width, ("known by",))


def await_table(plan: Plan, width: int) -> Table:
    """Each await of the functions that are probed, with what is known of it."""
    rows = [
        (
            f"{short_name(one)} {state_words(point.state)}",
            short_awaitee(point.awaitee) if point.awaitee else "",
            (place_words(point.location) or (f"in the macro at {place_words(point.macro)}" if point.macro else ""))
            + ("" if point.is_verified else " (not verified)"),
        )
        for one in sorted(plan.functions, key=_place)
        for point in one.awaits
    ]
    return make_table({"await": Column.NAME, "for": Column.NAME, "place": Column.PLACE}, rows, width)


def refusal_table(plan: Plan, width: int) -> Table:
    """The functions that are not, and why."""
    refusals = sorted(plan.refusals, key=_place)
    rows = [(one.name, one.reason, place_words(one.location)) for one in refusals]
    return make_table({"not probed": Column.NAME, "why": Column.NAME, "place": Column.PLACE}, rows, width)


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
        "layout": str(function.layout_source) if function.layout_source is not None else None,
        "awaits": [
            {
                "state": point.state,
                "await": state_words(point.state),
                "file": point.location.file if point.location else None,
                "line": point.location.line if point.location else None,
                "awaitee": point.awaitee,
                "macro": {"file": point.macro.file, "line": point.macro.line} if point.macro else None,
                "verified": point.is_verified,
            }
            for point in function.awaits
        ],
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
