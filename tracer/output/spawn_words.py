"""Where tasks were spawned and by which task, for people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tracer.model import CallSite, PollFunction, SourceLocation
from tracer.output.labels import place_words, short_name, without_kind
from tracer.terminal import printable

NO_TASK = "no task, as far as was seen"
"""Of a spawn outside of any task's poll."""


def site_words(site: CallSite) -> str:
    """A place for people."""
    column = f":{site.column}" if site.column else ""
    return printable(f"{place_words(SourceLocation(site.file, site.line))}{column}")


def unknown_site(function: PollFunction) -> str:
    """Why nobody knows where a task of this function, whose spawn was seen, was spawned."""
    return f"unknown: {why_unknown(function.runtime)}"


def why_unknown(runtime: str | None) -> str:
    """Why nobody knows where tasks of a runtime were spawned, though their spawns were seen."""
    if runtime == "tokio":
        why = "the compiler made the spawn function a part of its caller, or left the place out"
    else:
        why = f"the spawn functions of {runtime or 'this runtime'} are not told who calls them"
    return f"{why}, and no debug information tells it"


def spawn_words(functions: Sequence[PollFunction], sites: Sequence[CallSite], task: np.void) -> str | None:
    """Of one task (dtype TASK), in a sentence; None: its spawn was not seen.  functions, sites: the plan's."""
    if not task["spawned"]:
        return None
    function, by = functions[int(task["function"])], int(task["spawned_by"])
    at = int(task["spawned_at"])
    place = site_words(sites[at - 1]) if at else f"a place that is {unknown_site(function)}"
    if not by:
        return f"spawned at {place} by {NO_TASK}"
    spawner = functions[int(task["spawned_by_function"])]
    who = f"{'job' if spawner.is_job else 'task'} {int(task['spawned_by_id']) or f'#{by}'}"
    return f"spawned at {place} by {who} {without_kind(short_name(spawner))}"
