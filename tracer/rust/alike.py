"""Jobs and tasks of one name, where nothing but their addresses tells them apart.

Of those of which neither symbols nor debug information tell what they run there can be many, each of another kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from tracer.model import FunctionKind, PollFunction
from tracer.rust.runtimes import task_name


def numbered(functions: Sequence[PollFunction]) -> tuple[PollFunction, ...]:
    """The functions, where each of those has a number in its name, by the order of their addresses.

    Other tasks of one name may well be one future's, which a runtime polls in several ways.
    """
    alike = [one for one in functions if one.is_job or _is_unknown(one)]
    counts = Counter(one.name for one in alike)
    numbers, given = dict[int, int](), Counter[str]()
    for one in sorted(alike, key=lambda one: one.address):
        given[one.name] += 1
        numbers[one.address] = given[one.name]
    return tuple(
        replace(one, name=f"{one.name} #{numbers[one.address]}")
        if one.address in numbers and counts[one.name] > 1
        else one
        for one in functions
    )


def _is_unknown(function: PollFunction) -> bool:
    return function.kind is FunctionKind.TASK and function.name == task_name(None, function.runtime or "")
