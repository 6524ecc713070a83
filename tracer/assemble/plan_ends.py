"""What the plan says of the ends of lives, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracer.model import EndKind, EndPoint, HeaderTest, Plan

_ALWAYS, _NEVER = (0, 0), (0, 1)
"""Mask and value of tests that every byte passes, and none."""


@dataclass(frozen=True, slots=True)
class HeaderTests:
    """HeaderTest as columns; one that is always passed has mask 0, one that never is an impossible value."""

    mask: npt.NDArray[np.uint8]
    value: npt.NDArray[np.uint8]

    def passed(self, which: npt.NDArray[np.integer], byte: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """Of the tests `which` and as many bytes."""
        passes: npt.NDArray[np.bool_] = (byte & self.mask[which]) == self.value[which]
        return passes


@dataclass(frozen=True, slots=True)
class EndColumns:
    """Plan.ends as columns.  of_task: a task ends, else a future.  caught: neither, a panic was caught.

    others: of catches, EndPoint.others, see by_others().  if_idle: tells that its future did not return, when it is not
    being polled.  only_if: what the header must pass; done, undone: see EndPoint.  has_test: whether the header is
    needed.  first, count: where in `functions` those are whose futures end here; for all tasks there is one function.
    """

    of_task: npt.NDArray[np.bool_]
    caught: npt.NDArray[np.bool_]
    if_idle: npt.NDArray[np.bool_]
    only_if: HeaderTests
    done: HeaderTests
    undone: HeaderTests
    has_test: npt.NDArray[np.bool_]
    first: npt.NDArray[np.intp]
    count: npt.NDArray[np.intp]
    functions: npt.NDArray[np.uint32]
    others: npt.NDArray[np.int64]

    def by_others(self, end: npt.NDArray[np.integer], distance: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which of these catches are certainly others' than the runtimes', by how far away the call is."""
        found = np.zeros(len(end), np.bool_)
        for number in np.unique(end).tolist():
            found |= (end == number) & np.isin(distance, self.others[self.others[:, 0] == number, 1])
        return found


def tests_of(tests: Sequence[HeaderTest | None], *, otherwise: tuple[int, int]) -> HeaderTests:
    """otherwise: mask and value where there is no test."""
    pairs = [(one.mask, one.value) if one is not None else otherwise for one in tests]
    columns = np.array(pairs, np.uint8).reshape(-1, 2)
    return HeaderTests(columns[:, 0], columns[:, 1])


def end_columns(plan: Plan, task: int) -> EndColumns:
    """task: the function that stands for all tasks."""
    points = [one.point for one in plan.ends]
    kinds = [point.kind for point in points]
    of_future, caught = _are(kinds, EndKind.DROPPED), _are(kinds, EndKind.CAUGHT)
    of_task = ~of_future & ~caught
    functions = [(task,) if is_task else one.functions for one, is_task in zip(plan.ends, of_task, strict=True)]
    count = np.array([len(one) for one in functions], np.intp)
    return EndColumns(
        of_task=of_task,
        caught=caught,
        if_idle=_are(kinds, EndKind.COMPLETE) | _are(kinds, EndKind.CLOSED),
        only_if=tests_of([point.only_if for point in points], otherwise=_ALWAYS),
        done=tests_of([point.done for point in points], otherwise=_NEVER),
        undone=tests_of([point.undone for point in points], otherwise=_NEVER),
        has_test=np.array([point.only_if is not None for point in points], np.bool_),
        first=np.cumsum(count) - count,
        count=count,
        functions=np.array([index for one in functions for index in one], np.uint32),
        others=_others(points),
    )


def _others(points: Sequence[EndPoint]) -> npt.NDArray[np.int64]:
    """Rows of (index of the end, distance), by the former."""
    pairs = [(number, distance) for number, point in enumerate(points) for distance in point.others]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _are(kinds: Sequence[EndKind], kind: EndKind) -> npt.NDArray[np.bool_]:
    return np.array([one is kind for one in kinds], np.bool_)
