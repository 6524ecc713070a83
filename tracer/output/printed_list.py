"""What can be probed, and what not: as tables and as JSON."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.console import Console
from rich.table import Table

from tracer.model import Plan, PollFunction, Refusal, WakePoint
from tracer.output.awaits import layout_remarks, layout_words
from tracer.output.labels import (
    kind_words,
    not_probed_words,
    place_words,
    short_awaitee,
    short_name,
    state_words,
)
from tracer.output.tables import LIST_WIDTH, Column, grouped, make_console, make_table, plain_text, some
from tracer.terminal import say_json


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
        say_json(document)
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
    console.print(plain_text(f"{some(len(plan.functions), 'function')} can be probed{not_probed_words(plan)}"))
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
            grouped(len(one.awaits)) if one.awaits else "",
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
