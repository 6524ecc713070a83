"""What the slices of a trace say of where futures wait: interned once for each state, and for each chain of futures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tracer.assemble.lookup import distinct, locate
from tracer.model import Array, Plan, PollFunction, WaitFlag
from tracer.output.awaits import await_point, await_words, layout_words, wait_title
from tracer.output.chains import Chains
from tracer.output.descriptors import Descriptors
from tracer.output.histogram import Integers
from tracer.output.labels import state_words, wait_name

UNKNOWN_STATE = 256
STATES = UNKNOWN_STATE + 1
CHAIN = tuple(f"link {number}" for number in range(24))
"""Columns of the links of a wait's chain."""


class Whereabouts:
    """Columns of intern ids: a row for each state of each function that has awaits, and for each chain that is met."""

    def __init__(self, descriptors: Descriptors, plan: Plan) -> None:
        self._descriptors = descriptors
        self._functions = plan.functions
        self._chains = Chains(plan)
        self._await_of, self._await_columns = self._intern_awaits(plan.functions)
        self._walked: dict[tuple[int, int, int], int] = {}
        self._walked_below: list[list[int]] = []
        self._places = np.empty(0, np.uint64)
        self._walked_columns: dict[str, list[int]] = {key: [] for key in (*self._await_columns, *CHAIN, "links")}

    @property
    def first_walked(self) -> int:
        """Rows from here on are of waits whose places are known: of one function and state each."""
        return len(self._await_columns["name"])

    def details(self, function: Integers, state: Integers) -> Integers:
        """The intern ids of what a coroutine does in a state (UNKNOWN_STATE: not known), in words."""
        return np.asarray(self._await_columns["details"][self._await_of[function, state]])

    def of(self, waits: Array) -> tuple[Integers, dict[str, Integers]]:
        """(row of the columns by wait; the columns' intern ids, 0 for what is not known)."""
        awaits, nothing = self._rows_of(waits), np.zeros(self.first_walked, np.int64)
        about = {
            key: np.concatenate([self._await_columns.get(key, nothing), np.array(more, np.int64)])
            for key, more in self._walked_columns.items()
        }
        return awaits, about

    def _rows_of(self, waits: Array) -> Integers:
        function, state = waits["function"].astype(np.int64), states_of(waits, WaitFlag.STATE)
        awaits: Integers = self._await_of[function, state]
        walked = np.flatnonzero(waits["places"])
        if len(walked):
            which = self._numbered(waits["places"][walked])
            of_await = function[walked] * STATES + state[walked]
            combinations, which_of = distinct(of_await * len(self._places) + which)
            rows = []
            for key in combinations.tolist():
                await_, one = divmod(key, len(self._places))
                rows.append(self._walked_row(await_ // STATES, await_ % STATES, int(self._places[one])))
            awaits[walked] = self.first_walked + np.array(rows)[which_of]
        return awaits

    def _numbered(self, places: npt.NDArray[np.uint64]) -> npt.NDArray[np.intp]:
        """Where each is among all that were met so far."""
        at, is_known = locate(self._places, places)
        if is_known.all() and len(self._places):
            return at
        self._places = np.union1d(self._places, places)
        return locate(self._places, places)[0]

    def _walked_row(self, function: int, state: int, places: int) -> int:
        """The row among those of waits whose places are known; made when first asked for."""
        row = self._walked.get((function, state, places))
        if row is not None:
            return row
        row = self._walked[function, state, places] = len(self._walked)
        known = None if state == UNKNOWN_STATE else state
        waiting = self._chains.waiting(function, known, places)
        layout = layout_words(self._functions[function], is_verified=waiting.is_verified)
        name, string, location = self._descriptors.name, self._descriptors.string, self._descriptors.location
        values = {
            "name": name(waiting.title),
            "state": string(state_words(known)),
            "await": string(str(waiting.location)) if waiting.location else 0,
            "line": location(self._functions[function].name, waiting.location) if waiting.location else 0,
            "macro": string(str(waiting.macro)) if waiting.macro else 0,
            "awaitee": string(waiting.awaitee) if waiting.awaitee else 0,
            "layout": string(layout) if layout else 0,
            "links": min(len(waiting.chain), len(CHAIN)),
            **{column: string(link) for column, link in zip(CHAIN, waiting.chain, strict=False)},
        }
        for key, column in self._walked_columns.items():
            column.append(values.get(key, 0))
        self._walked_below.append([name(str(step)) for step in waiting.inlined[: len(CHAIN)]])
        return row

    def below(self, waits: Array) -> Integers:
        """Of the futures without a function of their own that lie below each wait (WAIT) the intern ids of their names,
        outer ones first; 0: none.  Shape (waits, at most 24)."""
        row = self._rows_of(waits) - self.first_walked
        deepest = max(map(len, self._walked_below), default=0)
        names = np.zeros((len(waits), deepest), np.int64)
        if deepest:
            table = np.array([[*steps, *[0] * (deepest - len(steps))] for steps in self._walked_below])
            names[row >= 0] = table[row[row >= 0]]
        return names

    def _intern_awaits(self, functions: Sequence[PollFunction]) -> tuple[Integers, dict[str, Integers]]:
        """(row of the columns by function and state; the columns' intern ids, 0 for what is not known).

        The first rows are those of the bare states, for functions that have no table of awaits.
        """
        string, name, location = self._descriptors.string, self._descriptors.name, self._descriptors.location
        states = [None if state == UNKNOWN_STATE else state for state in range(STATES)]
        rows = [(name(wait_name(state)), string(state_words(state)), string(state_words(state))) for state in states]
        columns = [(*row, 0, 0, 0, 0, 0) for row in rows]
        index = np.tile(np.arange(STATES), (max(len(functions), 1), 1))
        for number, function in enumerate(functions):
            for state in {point.state for point in function.awaits if point.state < UNKNOWN_STATE}:
                point = await_point(function, state)
                assert point is not None
                index[number, state] = len(columns)
                columns.append(
                    (
                        name(wait_title(function, state)),
                        string(state_words(state)),
                        string(await_words(function, state)),
                        string(str(point.location)) if point.location else 0,
                        location(function.name, point.location) if point.location else 0,
                        string(str(point.macro)) if point.macro else 0,
                        string(point.awaitee) if point.awaitee else 0,
                        string(layout_words(function, is_verified=point.is_verified)) if function.layout_source else 0,
                    )
                )
        keys = ("name", "state", "details", "await", "line", "macro", "awaitee", "layout")
        return index, dict(zip(keys, np.array(columns).T, strict=True))


def states_of(spans: Array, flag: int) -> Integers:
    """The states of coroutines in polls (POLL) or waits (WAIT), where this flag says that they are known."""
    return np.where(spans["flags"] & int(flag), spans["state"].astype(np.int64), UNKNOWN_STATE)
