"""What the plan says of the ends of lives, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracer.model import EndKind, HeaderTest, Plan


@dataclass(frozen=True, slots=True)
class HeaderTests:
    """HeaderTest as columns; one that is always passed has mask 0, one that never is an impossible value."""

    mask: npt.NDArray[np.uint8]
    value: npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class EndColumns:
    """Plan.ends as columns.  of_task: a task ends, else a future; sudden: ... without being polled any more.

    only_if: what the header must pass.  first, count: where in `functions` those are whose futures end; for all tasks
    there is one function.
    """

    of_task: npt.NDArray[np.bool_]
    sudden: npt.NDArray[np.bool_]
    only_if: HeaderTests
    has_test: npt.NDArray[np.bool_]
    first: npt.NDArray[np.intp]
    count: npt.NDArray[np.intp]
    functions: npt.NDArray[np.uint32]


def tests_of(tests: Sequence[HeaderTest | None], *, otherwise: tuple[int, int]) -> HeaderTests:
    pairs = [(one.mask, one.value) if one is not None else otherwise for one in tests]
    columns = np.array(pairs, np.uint8).reshape(-1, 2)
    return HeaderTests(columns[:, 0], columns[:, 1])


def end_columns(plan: Plan, task: int) -> EndColumns:
    of_task = np.array([one.point.kind is not EndKind.DROPPED for one in plan.ends], np.bool_)
    functions = [(task,) if is_task else one.functions for one, is_task in zip(plan.ends, of_task, strict=True)]
    count = np.array([len(one) for one in functions], np.intp)
    return EndColumns(
        of_task=of_task,
        sudden=np.array([one.point.kind is EndKind.SHUTDOWN for one in plan.ends], np.bool_),
        only_if=tests_of([one.point.only_if for one in plan.ends], otherwise=(0, 0)),
        has_test=np.array([one.point.only_if is not None for one in plan.ends], np.bool_),
        first=np.cumsum(count) - count,
        count=count,
        functions=np.array([index for one in functions for index in one], np.uint32),
    )
