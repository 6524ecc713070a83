"""What the summary says below its tables: losses, costs, what was not probed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Console

from tracer.model import ExitMode, FunctionKind
from tracer.output.labels import (
    duration_words,
    short_name_of,
)
from tracer.output.spawn_words import why_unknown
from tracer.output.tables import Document, plain_text, some

_MOST_NAMED = 2
_MAX_CHANGES, _MAX_NAMES, _MAX_LINES = 4, 5, 16
_MUCH_STOLEN = 0.01
_MOST_OF_THEM = 0.99


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


def unknown_sites(kind: Document) -> int:
    """How many tasks of a kind were seen to be spawned, nobody knows where."""
    return sum(int(one["tasks"]) for one in kind.get("spawned", []) if one["file"] is None)


def overhead_words(document: Document) -> str:
    """What the probes cost, the share first by which it is held: of an idle program's time every probe is much."""
    of_target, allowed = document["overhead"], f"{document['max_overhead'] * 100:g} %"
    of_processor = document.get("overhead_of_processor")  # recordings by earlier versions do not tell it
    if of_processor is None:
        return f"{of_target:.1%} of the target's CPU time (allowed: {allowed})"
    quota = document.get("cpu_quota") or 1.0
    whole = "one processor" if quota >= 1 else f"the {quota:.3g} processors that it may use"
    of_whole = of_processor / min(quota, 1.0)
    if of_target > document["max_overhead"] >= of_whole:
        return f"{of_whole:.2%} of {whole} (allowed: {allowed}), {of_target:.1%} of what the target used"
    both = f"{of_target:.1%} of the target's CPU time, {of_whole:.2%} of {whole}"
    return f"{both} (allowed: {allowed} of either)"


def print_remarks(document: Document, console: Console) -> None:
    """What was not seen, and why: always said, also when all is well."""
    _print_unjudged(document, console)
    parts = [f"{document['lost']:,} lost"]
    parts.append(f"{some(document['unmatched_exits'], 'exit')} without an entry")
    if document["unwound"]:
        parts.append(f"{some(document['unwound'], 'poll')} unwound (a panic, or a lost exit)")
    if document["open_at_start"] or document["open_at_end"]:
        parts.append(f"under way at the start {document['open_at_start']:,}, at the end {document['open_at_end']:,}")
    style = "bold red" if document["lost"] else ""
    console.print(plain_text(f"events: {document['events']:,}, {', '.join(parts)}", style))
    if document["overhead"] is not None:
        console.print(plain_text(f"overhead: the probes took about {overhead_words(document)}"))
    readings = document.get("memory_readings", [])  # recordings by earlier versions have none
    if readings:
        several = len(document["processes"]) > 1
        of_whom = {one["pid"]: f" of {one['name']} ({one['pid']})" for one in document["processes"] if several}
        words = "; ".join(
            f"{'at the end' if one['last'] else 'at the begin'} {some(one['tasks'], 'task')}"
            f"{of_whom.get(one.get('pid'), '')} in {duration_words(one['duration'])}"
            # recordings by earlier versions do not tell
            + (f" ({one['missed']:,} more came or went)" if one.get("missed") else "")
            for one in readings
        )
        console.print(plain_text(f"memory read, without probes: {words}"))
    if document.get("no_scheduling"):
        words = f"when threads were on their CPUs is not known: {document['no_scheduling']}"
        console.print(plain_text(words, "yellow"))
    stolen = (document.get("scheduling") or {}).get("stolen")
    if stolen and stolen["total"] >= _MUCH_STOLEN * stolen["of"]:
        took = f"{stolen['total'] / stolen['of']:.1%} of the time that threads seem to have been on their CPUs"
        words = (
            f"the host of this virtual machine took {took}, up to {duration_words(stolen['longest'])} of one stretch"
        )
        console.print(plain_text(f"{words}: polls in which it did look that much longer", "yellow"))
    changes = document["plan_changes"]
    for change in changes[:_MAX_CHANGES]:
        words = f"from {change['seconds']:.2f} s probed: {change['probed']} ({change['reason']})"
        console.print(plain_text(words, "yellow"))
    if changes:
        words = "--max-overhead PERCENT lets them cost more; rat-ebpf sample PID needs no probes"
        console.print(plain_text(words, "dim"))
    for words in left_out_words(document):
        console.print(plain_text(words, "yellow"))
    for words in _untimed(document):
        console.print(plain_text(words, "yellow"))
    if len(changes) > _MAX_CHANGES:
        more = f"{some(len(changes) - _MAX_CHANGES, 'more change')} of what was probed: see the trace, track 'probed'"
        console.print(plain_text(more, "yellow"))
    gone = document["process_ends"]
    _print_some([f"at {one['seconds']:.2f} s process {one['pid']}: {one['reason']}" for one in gone], console)
    if not document["complete"]:
        console.print(plain_text("the capture breaks off: its end was not written", "yellow"))
    for runtime in sorted({one["runtime"] or "unknown" for one in document["task_kinds"] if one["unidentified"]}):
        words = f"tasks of {runtime} are told apart by their addresses: an address used again can look like one task"
        console.print(plain_text(words))
    if document["task_kinds"] and not document.get("spawns_probed", True):
        console.print(plain_text("where tasks came from is not known: no function was found in which they are made"))
    elif unseen := sum(one.get("unseen_spawns") or 0 for one in document["task_kinds"]):
        words = f"where {some(unseen, 'task')} came from is not known: made where no probe is, or was not then"
        console.print(plain_text(words))
    unknown = Counter[str]()
    for kind in document["task_kinds"]:
        unknown[kind["runtime"] or ""] += unknown_sites(kind)
    for runtime, count in sorted((+unknown).items()):
        words = f"where {some(count, 'task')} came from is not known: {why_unknown(runtime or None)}"
        console.print(plain_text(words))
    _print_some(document["layouts"], console)
    for remark in _stack_remarks(document.get("stacks")):
        console.print(plain_text(remark))
    refusals = document["not_probed"]
    if refusals:
        reasons = "; ".join(f"{one['functions']:,}: {one['reason']}" for one in refusals[:3])
        rest = sum(one["functions"] for one in refusals[3:])
        more = f"; {rest:,}: other reasons" if rest else ""
        count = sum(one["functions"] for one in refusals)
        probed = f"probed {some(document['probed'], 'function')}, not probed {count:,}"
        console.print(plain_text(f"{probed} ({reasons}{more})"))
    in_part = document.get("seen_in_part", [])  # recordings by earlier versions have none
    if in_part:
        names = ", ".join(short_name_of(one, FunctionKind.COROUTINE) for one in in_part[:_MAX_NAMES])
        rest = f" and {len(in_part) - _MAX_NAMES:,} more" if len(in_part) > _MAX_NAMES else ""
        them = "it" if len(in_part) == 1 else "them"
        words = f"not all polls are seen of {names}{rest}: in some places the compiler inlined {them}"
        console.print(plain_text(words))
    if document["ended"]:
        console.print(plain_text(document["ended"]))


def _print_some(lines: Sequence[str], console: Console) -> None:
    """Not all, of a summary that somebody else may have written: it can have any number of them."""
    for line in lines[:_MAX_LINES]:
        console.print(plain_text(line))
    if len(lines) > _MAX_LINES:
        console.print(plain_text(f"{len(lines) - _MAX_LINES:,} more of these: see --json", "dim"))


def left_out_words(document: Document) -> Iterator[str]:
    """What was left out to keep the cost down, for how long."""
    left_out = (
        ("not_always_probed", "not_probed", "not probed"),
        (
            "exits_not_always_probed",
            "entries_only",
            "probed without their exits (how long polls took in that time is not known)",
        ),
    )
    for key, length, words in left_out:
        rows = document.get(key, [])  # recordings by earlier versions have none
        if not rows or not document["seconds"]:
            continue
        whole = document["seconds"] * 1e9
        names = [
            f"{short_name_of(one['function'], FunctionKind(one['kind']))} for {one[length] / whole:.1%} of the time"
            for one in rows[:_MAX_NAMES]
        ]
        more = f"; {some(len(rows) - _MAX_NAMES, 'more function')}" if len(rows) > _MAX_NAMES else ""
        yield f"{words}, to keep the cost down: {'; '.join(names)}{more}"


def _untimed(document: Document) -> Iterator[str]:
    """Of which functions it is not known how long polls took, though they were recorded from their begin to their end;
    recordings by earlier versions do not tell it."""
    rows = [
        one
        for one in document["functions"]
        if one.get("timed", one["polls"]) + one.get("cut", 0) < _MOST_OF_THEM * one["polls"]
    ]
    if not rows:
        return
    rows.sort(key=lambda one: one["timed"] - one["polls"])
    names = [short_name_of(one["function"], FunctionKind(one["kind"])) for one in rows[:_MAX_NAMES]]
    known = [f"{one['timed']:,} of {some(one['polls'], 'poll')} of" for one in rows]
    words = "; ".join(map(" ".join, zip(known, names, strict=False)))
    more = f"; {some(len(rows) - _MAX_NAMES, 'more function')}" if len(rows) > _MAX_NAMES else ""
    why = " (--exits task)" if document["exits"] == ExitMode.TASK else ""
    yield (
        f"exits were not seen of all polls{why}: how long they took is known of {words}{more}; the time of the others "
        "is in that of what polled them"
    )


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
        yield f"{some(census['taken'], 'stack')} taken, others not ({'; '.join(reasons)})"
    if census["cut"]:
        yield f"{census['cut']:,} of {some(census['taken'], 'stack')} are deeper than what is copied of them"
