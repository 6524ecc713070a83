"""What a run of samples says on one screen, and as JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.text import Text

from tracer.output.labels import duration_words
from tracer.output.sampled import SampledRun
from tracer.output.tables import Column, make_table, plain_text
from tracer.stacks import TaskState
from tracer.terminal import printable

_TOP = 12
_TOP_KINDS = 6

Mask = npt.NDArray[np.bool_]


def print_sampled(run: SampledRun, console: Console) -> None:
    """The summary."""
    document = sampled_json(run)
    pace = run.pace
    per_second = pace.rate / pace.parts
    console.print(
        Text.assemble(
            plain_text(f"{run.process.name} ({run.process.pid})", "bold"),
            f" · {run.seconds:.2f} s · {document['samples']:,} samples, each task {per_second:,.1f} times a second"
            f" · {pace.cpu:.1%} of a core",
        )
    )
    states = document["states"]
    counts = ", ".join(f"{one['tasks']:,.1f} {one['state']}" for one in states if one["tasks"])
    console.print(plain_text(f"tasks at a time: {document['tasks']:,.1f}{': ' if counts else ''}{counts}"))
    console.print()
    rows = [
        (
            _percent(one["share"]),
            _plus_minus(one["error"]),
            f"{one['tasks']:,.1f}",
            one["at_short"] or "not known",
            one["awaiting"] or "",
            one["leaf"] if one["leaf"] and one["leaf"] != one["awaiting"] else "",
        )
        for one in document["waiting"][:_TOP]
    ]
    columns = {"waiting": Column.FIGURE, "±": Column.FIGURE, "tasks": Column.FIGURE, "at": Column.PLACE}
    columns |= {"awaiting": Column.NAME, "in the end": Column.NAME}
    if rows:
        console.print(make_table(columns, rows, console.width, ("in the end", "awaiting")))
        _print_rest(console, len(document["waiting"]) - _TOP, "place")
        console.print()
    kinds = [
        (
            f"{one['tasks']:,.1f}",
            _percent(one["running"]),
            _percent(one["ready"]),
            _percent(one["waiting"]),
            one["future_short"],
        )
        for one in document["task_kinds"][:_TOP_KINDS]
    ]
    if kinds:
        headings = {"tasks": Column.FIGURE, "running": Column.FIGURE, "ready": Column.FIGURE, "waiting": Column.FIGURE}
        console.print(make_table({**headings, "task": Column.NAME}, kinds, console.width))
        _print_rest(console, len(document["task_kinds"]) - _TOP_KINDS, "kind")
        console.print()
    for remark in remarks(run):
        console.print(plain_text(remark))


def _print_rest(console: Console, count: int, what: str) -> None:
    if count > 0:
        console.print(plain_text(f"… and {count:,} {what}{'' if count == 1 else 's'} more (--json has all)"))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _plus_minus(error: float | None) -> str:
    return "" if error is None else f"{100 * error:.1f}"


def remarks(run: SampledRun) -> list[str]:
    """What one has to know of these figures."""
    counts, pace = run.counts, run.pace
    found = [run.reason]
    if pace.rate < 0.9 * pace.asked:
        found.append(
            f"{pace.rate:.0f} ticks a second instead of {pace.asked:g}: more would have cost more than it should"
        )
    if counts.searched:
        share = counts.met / counts.searched
        found.append(
            f"{share:.1%} of the tasks that {counts.searches:,} searches found had been met already"
            + ("" if share > 0.9 else ": tasks that live for less than a second are missed or rare in these figures")
        )
    if counts.unreadable:
        found.append(f"{counts.unreadable:,} samples could not be taken: the memory was being given back or used anew")
    unknown = sum(
        float(time)
        for kind, time in zip(run.shares.kinds, run.shares.times, strict=True)
        if kind.state == TaskState.WAITING and kind.stack < 0
    )
    if unknown:
        found.append(f"{duration_words(unknown)} of the tasks' waiting is at places that are not known")
    return found


def sampled_json(run: SampledRun) -> dict[str, Any]:
    """As docs/sample.schema.json has it."""
    shares, counts, pace = run.shares, run.counts, run.pace
    elapsed = max(1, run.ended - run.began)
    times = shares.times
    state_of = np.array([kind.state for kind in shares.kinds], np.uint8)
    function_of = np.array([kind.function for kind in shares.kinds], np.int64)
    everything = np.ones(len(times), np.bool_)
    is_waiting: Mask = state_of == TaskState.WAITING
    return {
        "schema": 1,
        "process": {"pid": run.process.pid, "name": run.process.name, "executable": run.process.executable},
        "time": run.began,
        "nanoseconds": elapsed,
        "ended": run.reason,
        "samples": int(shares.samples.sum()),
        "tasks": float(times.sum()) / elapsed,
        "states": [
            {
                "state": state.name.lower(),
                "tasks": float(times[state_of == state].sum()) / elapsed,
                "error": _in_tasks(run, state_of == state, everything),
            }
            for state in (TaskState.RUNNING, TaskState.READY, TaskState.WAITING)
        ],
        "waiting": _places(run, is_waiting, elapsed),
        "task_kinds": [
            _kind(run, int(function), function_of == function, state_of, elapsed)
            for function in _by_time(function_of, times)
        ],
        "cost": {
            "ticks": counts.ticks,
            "ticks_asked_per_second": pace.asked,
            "ticks_per_second": pace.rate,
            "ticks_per_round": pace.parts,
            "cpu": pace.cpu,
            "searches": counts.searches,
            "searched": counts.searched,
            "met": counts.met,
            "unreadable": counts.unreadable,
            "walked": counts.walked,
            "bytes_read": counts.bytes_read,
        },
    }


def _in_tasks(run: SampledRun, part: Mask, whole: Mask) -> float | None:
    error = run.shares.error(part, whole)
    total = float(run.shares.times[whole].sum())
    return None if error is None else error * total / max(1, run.ended - run.began)


def _by_time(functions: npt.NDArray[np.int64], times: npt.NDArray[np.float64]) -> list[int]:
    found = np.unique(functions)
    spent = [float(times[functions == one].sum()) for one in found]
    return [int(found[place]) for place in np.argsort(spent)[::-1]]


def _places(run: SampledRun, is_waiting: Mask, elapsed: int) -> list[dict[str, Any]]:
    """By place, what is awaited there, and what that comes down to; where most time is spent first."""
    groups: dict[tuple[str, str | None, str, str], list[int]] = {}
    for column in np.flatnonzero(is_waiting).tolist():
        kind = run.shares.kinds[column]
        at = run.words.parked(kind.function, kind.stack)
        key = at.place, str(at.location) if at.location else None, at.awaited, at.leaf
        groups.setdefault(key, []).append(column)
    found = []
    waiting = float(run.shares.times[is_waiting].sum())
    for (place, location, awaited, leaf), columns in groups.items():
        mask = np.zeros(len(is_waiting), np.bool_)
        mask[columns] = True
        time = float(run.shares.times[mask].sum())
        found.append(
            {
                "at": location,
                "at_short": place,
                "awaiting": printable(awaited) or None,
                "leaf": printable(leaf) or None,
                "nanoseconds": round(time),
                "share": time / waiting if waiting else 0.0,
                "error": run.shares.error(mask, is_waiting),
                "tasks": time / elapsed,
                "samples": int(run.shares.samples[mask].sum()),
            }
        )
    return sorted(found, key=lambda one: -one["nanoseconds"])


def _kind(run: SampledRun, function: int, mask: Mask, state_of: npt.NDArray[np.uint8], elapsed: int) -> dict[str, Any]:
    times = run.shares.times
    total = float(times[mask].sum())

    def share(state: TaskState) -> float:
        return float(times[mask & (state_of == state)].sum()) / total if total else 0.0

    one = run.binary.functions[function]
    return {
        "future": printable(one.name.removeprefix("task ")),
        "future_short": run.words.task(function),
        "runtime": one.runtime,
        "tasks": total / elapsed,
        "seen": int(np.count_nonzero(run.tasks["function"] == function)),
        "running": share(TaskState.RUNNING),
        "ready": share(TaskState.READY),
        "waiting": share(TaskState.WAITING),
    }
