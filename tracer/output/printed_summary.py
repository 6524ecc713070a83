"""The summary on one screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from tracer.model import FunctionKind, SourceLocation
from tracer.output.awaits import short_place
from tracer.output.flight import flight_words
from tracer.output.job_words import left_out, time_in_all
from tracer.output.labels import (
    duration_words,
    place_words,
    short_awaitee,
    short_name_of,
    without_kind,
)
from tracer.output.probed import ALL_THE_TIME
from tracer.output.summary_remarks import print_remarks
from tracer.output.tables import Column, Document, grouped, make_table, plain_text, some

_TOP = 8
_TOP_KINDS, _TOP_LONGEST, _TOP_BLOCKERS = 5, 5, 5
_TOP_FINDINGS = 5
_STYLES = {"critical": "bold red", "warning": "yellow", "info": ""}
_TOP_CALLS = 3
_LENGTHS = ("busy", "mean", "p99", "longest")
_MOST_OF_THEM = 0.99
_CUT_AT_P50, _CUT_AT_P99 = 0.05, 0.005
"""Shares of waits that the recording cut, from which on a percentile may be longer than it is said to be."""


def print_summary(document: Document, console: Console) -> None:
    """The summary of a recording on one screen; document: what Summary.as_json says."""
    _print_header(document, console)
    _print_findings(document, console)
    if document["polls"] or document["functions"]:
        if document["polls"]:
            _print_functions(document, console)
        _print_tasks(document, console)
        _print_scheduling(document, console)
        _print_delays(document, console)
        _print_jobs(document, console)
        if document["polls"]:
            _print_longest(document["longest_polls"], console)
            _print_blockers(document.get("blockers", []), console)
    if document["waits_by_await"]:
        _print_waits(document, console)
    print_remarks(document, console)


def _print_header(document: Document, console: Console) -> None:
    polls = document["polls"]
    targets = ", ".join(f"{one['name']} ({one['pid']})" for one in document["processes"])
    console.print(
        Text.assemble(
            plain_text(targets, "bold"),
            f" · {document['seconds']:.2f} s · {some(polls, 'poll')}{_rate_words(document)}"
            f" · {some(document['instances'], 'future')}"
            f" · {some(document['tasks'], 'task')}",
        )
    )
    for words in flight_words(document):
        console.print(plain_text(words))
    console.print()


def _rate_words(document: Document) -> str:
    """Polls a second: what was not probed all the time had more."""
    if not document["seconds"]:
        return ""
    rate = f"{document['polls'] / document['seconds']:,.0f}/s"
    tasks = document.get("tasks_probed", 1.0)  # recordings by earlier versions do not tell it
    if not document["plan_changes"] or min(tasks, document["futures_probed"]) >= ALL_THE_TIME:
        return f" ({rate})"
    how_long = f"; tasks probed in {tasks:.1%} of the time" if tasks < ALL_THE_TIME else ""
    return f" (≥ {rate}{how_long})"


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
        console.print(plain_text(f"{some(len(findings) - _TOP_FINDINGS, 'more finding')}: see --json", "dim"))
    if findings:
        console.print()


def _name(row: Document) -> str:
    return short_name_of(row["function"], FunctionKind(row["kind"]))


def _place_of(row: Document) -> str:
    return place_words(SourceLocation(row["file"], row["line"])) if row["file"] is not None else ""


def _print_functions(document: Document, console: Console) -> None:
    figures = ("polls", "futures", "busy", "mean", "p99", "max", "waits", "waiting")
    polled = [one for one in document["functions"] if one["polls"]]
    functions = [one for one in polled if not _runs_tasks(one)]
    rows = [
        (
            _name(one),
            grouped(one["polls"]),
            _instances_cell(one),
            *_length_cells(one),
            grouped(one["waits"]),
            duration_words(one["waiting"]),
        )
        for one in functions[:_TOP]
    ]
    columns = {"most polling time": Column.NAME} | dict.fromkeys(figures, Column.FIGURE)
    console.print(make_table(columns, rows, console.width, ("mean", "waits", "p99", "futures")))
    more = f"{len(functions) - _TOP} more functions were polled; " if len(functions) > _TOP else ""
    words = "times are wall time and include the futures polled inside and the probes; p50, p99 are within 6 %"
    console.print(plain_text(more + words, "dim"))
    for one in polled:
        if _runs_tasks(one):
            in_tasks, busy = duration_words(one["in_tasks"]), duration_words(one["busy"])
            words = f"left out: {_name(one)}, which ran tasks for {in_tasks} of the {busy} in its polls"
            console.print(plain_text(words, "dim"))
    cut = sum(one.get("cut", 0) for one in polled)  # recordings by earlier versions do not tell it
    if cut:
        words = f"≥: {some(cut, 'poll')} under way as probes came or went; what was seen is in busy and max only"
        console.print(plain_text(words, "dim"))
    _print_part("futures", document["futures_probed"], document, console)
    console.print()


def _runs_tasks(row: Document) -> bool:
    """Whether it did that rather than anything else: an executor's loop; recordings by earlier versions do not tell."""
    return bool(2 * (row.get("in_tasks") or 0) > (row["busy"] or 0))


def _instances_cell(row: Document) -> str:
    """How many futures; recordings by earlier versions do not tell how many more there may be."""
    least = "≥ " if row.get("more_instances") else ""
    return least + grouped(row["instances"]) if row["instances"] else "?"


def _length_cells(row: Document) -> list[str]:
    """How long the polls of a function took: all of them, mean, p99 and the longest, as far as that is known."""
    busy, mean, p99, longest = ("?" if row[key] is None else duration_words(row[key]) for key in _LENGTHS)
    least = _least(row)
    return [busy if busy == "?" else least + busy, mean, p99, longest if longest == "?" else least + longest]


def _least(row: Document) -> str:
    """What is before a sum of polls, and before the longest: of some only a part was seen, or nothing."""
    timed = row.get("timed", row["polls"])  # recordings by earlier versions do not tell it
    return "≥ " if timed < row["polls"] else ""


def _print_part(what: str, share: float, document: Document, console: Console) -> None:
    """That they were not probed all the time."""
    if document["plan_changes"] and share < ALL_THE_TIME:
        words = f"{what} were probed in {share:.1%} of the time only: their figures are of that part"
        console.print(plain_text(words, "yellow"))


def _print_tasks(document: Document, console: Console) -> None:
    kinds: Sequence[Document] = document["task_kinds"]
    has_sites = any(_spawned_at(one) for one in kinds[:_TOP_KINDS])
    has_splits = any(one.get("scheduled") for one in kinds[:_TOP_KINDS])
    rows = [
        (
            _name(one).removeprefix("task "),
            grouped(one["tasks"]),
            grouped(one["polls"]),
            _least(one) + duration_words(one["busy"]),
            *(_split_cells(one) if has_splits else []),
            _least(one) + duration_words(one["longest"]),
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
    console.print(
        make_table(columns, rows, console.width, ("longest poll", "place", "spawned at", "runnable", "blocked"))
    )
    if len(kinds) > _TOP_KINDS:
        console.print(plain_text(f"{some(len(kinds) - _TOP_KINDS, 'more kind')} of tasks", "dim"))
    # Recordings by earlier versions do not tell it.
    _print_part("tasks", document.get("tasks_probed", 1.0), document, console)


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
        known, polls = (sum(one["polls"] for one in rows) for rows in (splits, document["task_kinds"]))
        of_some = f" (told of {known:,} of {polls:,} polls)" if known < _MOST_OF_THEM * polls else ""
        console.print(plain_text(f"busy: {words}{duration_words(blocked)} blocked{of_some}", "dim"))
        _print_blocked(scheduling["blocked_in_polls"], console)
        if document["plan_changes"] and scheduling["probed"] < ALL_THE_TIME:
            words = f"scheduling was recorded in {scheduling['probed']:.1%} of the time only"
            console.print(plain_text(words, "yellow"))
    if document["task_kinds"]:
        console.print()


def _print_blocked(calls: Sequence[Document], console: Console) -> None:
    """In what threads were blocked: in polls of no task, such as what `block_on` runs, too."""
    told = [
        f"{one['name']} {duration_words(one['blocked'])}, longest {duration_words(one['longest'])}"
        for one in calls[:_TOP_CALLS]
        if one["blocked"]  # a call can have left its CPU without being blocked
    ]
    if told:
        total = duration_words(sum(one["blocked"] for one in calls))
        words = f"blocked in polls, those outside of tasks included: {total} ({'; '.join(told)})"
        console.print(plain_text(words, "dim"))


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
    columns = {"delay until poll": Column.NAME}
    new = ("spawned", "first p50", "first p99", "first max")
    columns |= dict.fromkeys(("woken", "by itself", "p50", "p99", "max", *new), Column.FIGURE)
    console.print(make_table(columns, rows, console.width, ("first p50", "by itself", "first p99", "p50")))
    if document["wakes"] is None:
        console.print()
        return
    wakes = document["wakes"]
    words = f"{some(wakes['all'], 'wake')} of tasks, {wakes['without_effect']:,} without effect, {wakes['own']:,} by "
    words += f"themselves, {wakes['unanswered']:,} that no poll followed"
    words += "; above are the polls that waited for one"  # one that begins before the last has ended did not
    console.print(plain_text(words, "dim"))
    _print_part("wakes", document["wakes_probed"], document, console)
    console.print()


def _print_jobs(document: Document, console: Console) -> None:
    """How long blocking jobs were in the queue and ran, and calls in place took; recordings by earlier versions have
    none."""
    jobs: Sequence[Document] = document.get("jobs", [])
    in_place: Document | None = document.get("in_place")
    if in_place is not None:
        p50, p99, most = (duration_words(in_place[key]) for key in ("p50", "p99", "longest"))
        words = f"{some(in_place['jobs'], 'call')} of block_in_place took {duration_words(in_place['total'])} in all"
        console.print(plain_text(f"{words}: p50 {p50}, p99 {p99}, max {most}"))
        console.print()
    rows = [
        (
            without_kind(_name(one)),
            *_delay_cells(one["queued"], ()),
            grouped(one["jobs"]),
            *_delay_cells(one["ran"], ()),
            duration_words(total) if (total := time_in_all(one)) is not None else "",
            _spawned_at(one),
        )
        for one in jobs[:_TOP_KINDS]
    ]
    if not rows:
        return
    figures = ("queued p50", "queued p99", "queued max", "jobs", "ran p50", "ran p99", "ran max", "in all")
    columns = {"blocking jobs": Column.NAME} | dict.fromkeys(figures, Column.FIGURE) | {"spawned at": Column.PLACE}
    console.print(make_table(columns, rows, console.width, ("ran p99", "queued p50", "queued p99", "spawned at")))
    if len(jobs) > _TOP_KINDS:
        console.print(plain_text(f"{some(len(jobs) - _TOP_KINDS, 'more kind')} of blocking jobs", "dim"))
    for words in left_out(jobs, document.get("polls_in_jobs", 0)):
        console.print(plain_text(words, "dim"))
    _print_part("jobs", document.get("tasks_probed", 1.0), document, console)
    console.print()


def _delay_cells(delay: Document | None, counts: Sequence[str]) -> list[str]:
    """What a table has of delays: the counts of these names, and how long."""
    lengths = ("p50", "p99", "longest")
    if delay is None:
        return [""] * (len(counts) + len(lengths))
    return [*(grouped(delay[key]) for key in counts), *(duration_words(delay[key]) for key in lengths)]


def _spawned_at(kind: Document) -> str:
    """Where most tasks of a kind were spawned, and how many other places there are; nothing where it is not known."""
    places = dict.fromkeys(
        place_words(SourceLocation(one["file"], one["line"]))
        for one in kind.get("spawned", [])  # recordings by earlier versions have none
        if one["file"] is not None
    )
    more = f" + {len(places) - 1}" if len(places) > 1 else ""
    return next(iter(places), "") + more


def _print_blockers(blockers: Sequence[Document], console: Console) -> None:
    """What kept threads in task polls; recordings by earlier versions have none.

    One that was woken before it had left its CPU was kept for no time.
    """
    rows = [
        (
            short_name_of(one["function"], FunctionKind.COROUTINE) if one["function"] else "no function of your own",
            {"blocked": "blocked", "running": "ran on"}[one["kind"]],
            grouped(one["polls"]),
            duration_words(one["time"]) if one["kind"] == "blocked" else f"≈ {duration_words(one['time'])}",
            duration_words(one["longest"]) if one["kind"] == "blocked" else f"≈ {duration_words(one['longest'])}",
            _place_of(one),
        )
        for one in blockers[:_TOP_BLOCKERS]
        if one["time"]
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
        bound, in_tasks = poll["note"], poll.get("in_tasks", 0)  # recordings by earlier versions do not tell it
        remarks = ([bound] if bound else []) + ([f"without {duration_words(in_tasks)} of tasks"] if in_tasks else [])
        rows.append(
            (
                _name(poll) + (f" ({', '.join(remarks)})" if remarks else ""),
                f"{poll['seconds']:.6f} s",
                ("≥ " if bound else "") + duration_words(poll["duration"] - in_tasks),
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
    rows, waits = [], document["waits_by_await"][:_TOP]
    alike = Counter((_name(one), one["awaitee"], one["where"]) for one in waits)
    for one in waits:
        number = "" if one["state"] is None else one["await"]
        which = f" ({number})" if number and alike[_name(one), one["awaitee"], one["where"]] > 1 else ""
        cut = one.get("cut", 0)
        rows.append(
            (
                _name(one),
                short_awaitee(one["awaitee"]) + which if one["awaitee"] else number,
                _kinds_words(one),
                grouped(one["waits"]),
                duration_words(one["waiting"]),
                _at_least(one["p50"], is_cut=cut > _CUT_AT_P50 * one["waits"]),
                _at_least(one["p99"], is_cut=cut > _CUT_AT_P99 * one["waits"]),
                _at_least(one["longest"], is_cut=one.get("longest_is_cut", False)),
                one["where"] or "",
            )
        )
    columns = {"most waiting": Column.NAME, "for": Column.NAME, "in tasks": Column.NAME}
    columns |= dict.fromkeys(("waits", "waiting", "p50", "p99", "max"), Column.FIGURE)
    columns |= {"where": Column.PLACE}
    console.print(make_table(columns, rows, console.width, ("in tasks", "p50", "max", "waits", "where")))
    uncertain = document["uncertain_waits"]
    if uncertain:
        why = "which may have ended sooner (the future dropped, unseen)"
        console.print(plain_text(f"left out: {some(uncertain, 'further wait')}, {why}", "dim"))
    console.print()


def _at_least(length: int, *, is_cut: bool) -> str:
    """ns; is_cut: as far as the recording saw it."""
    return f"≥ {duration_words(length)}" if is_cut else duration_words(length)


def _kinds_words(row: Document) -> str:
    """The kinds of tasks in which these waits are; nothing where they are the tasks' own."""
    names = row["task_kinds"]
    if not names or row["kind"] == FunctionKind.TASK:
        return ""
    first = short_name_of(names[0], FunctionKind.TASK).removeprefix("task ")
    return f"{first} + {len(names) - 1}" if len(names) > 1 else first
