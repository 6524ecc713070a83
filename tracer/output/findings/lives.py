"""How tasks and futures come and go over a run, by function."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tracer.model import (
    PANICKED,
    RETURNED,
    UNRESUMED,
    Array,
    FunctionKind,
    Outcome,
    PollFlag,
    Recording,
    WaitFlag,
)
from tracer.output.findings.open_futures import OpenFutures
from tracer.output.findings.timeline import Timeline
from tracer.output.records import pick

_RESULT, _PENDING, _UNWOUND = int(PollFlag.RESULT), int(PollFlag.PENDING), int(PollFlag.UNWOUND)
_CANCELLED, _UNSEEN = int(WaitFlag.CANCELLED), int(WaitFlag.END_UNKNOWN)
_ENDED = (Outcome.FINISHED, Outcome.REPLACED, Outcome.PANICKED, Outcome.CANCELLED, Outcome.ENDED)
_STATE, _UNKNOWN_STATE = int(PollFlag.STATE), 255
_MOST_TASKS = 1024
_MAX_INSTANCE = 1 << 28


_NOTHING = np.empty(0, np.uint64), np.empty(0, np.uint32)


class Lives:
    """Begins, ends and cancellations over time; memory grows with the functions, and by two bits an instance.

    begun, ended, cancelled: of tasks by the function of their polls, of others by that of the future.  known: polls
    whose result is known.  thrown: cancelled futures that had got somewhere: past an await at which they had waited.
    tasks: in how many tasks cancelled futures were, up to a limit.  sample: dtype WAIT, one that was cancelled;
    waiting: the longest one that was open at the end; within: the function of that one's task; dropped: dtype TASK,
    one that was cancelled.  spawned_at: as TASK has it, of the last one.  last_begun: ns, of any task or future.
    open: futures that did not end.
    """

    def __init__(self, recording: Recording) -> None:
        functions = recording.plan.functions
        count = max(len(functions), 1)
        self.is_task = np.array([one.kind is FunctionKind.TASK for one in functions] or [False])
        self._is_coroutine = np.array([one.kind is FunctionKind.COROUTINE for one in functions] or [False])
        self.begun, self.ended, self.cancelled = (Timeline(count, recording.start) for _ in range(3))
        self.known, self.thrown, self.spawned_at = (np.zeros(count, np.int64) for _ in range(3))
        self.open = OpenFutures(count)
        self.last_begun = recording.start
        self.sample: dict[int, np.void] = {}
        self.waiting: dict[int, np.void] = {}
        self.within: dict[int, int] = {}
        self.dropped: dict[int, np.void] = {}
        self.tasks: dict[int, set[int]] = {}
        self._first_states = np.zeros((count, 256), np.bool_)
        self._got_on = Numbers()

    def add(self, polls: Array, is_first: npt.NDArray[np.bool_], waits: Array, begun: Array, over: Array) -> None:
        """dtypes POLL, WAIT and TASK.  is_first: which of these polls are the first ones of instances."""
        # Those that memory at the begin knew had been waiting since before that.
        known = waits["instance"][(waits["flags"] & int(WaitFlag.START_UNKNOWN)) != 0]
        self._add_tasks(pick(begun, ~np.isin(begun["task"], known)), over)
        if len(polls):
            self._add_futures(polls, is_first)
        if len(waits):
            self._add_waits(waits)
        if len(over):
            for function, wait in self.waiting.items():
                mine = over["function"][over["task"] == wait["task"]]
                if len(mine):
                    self.within[function] = int(mine[0])
            self.open.forget(over["task"][over["outcome"] != Outcome.WAITING])

    def ends(self, function: int) -> tuple[int, int]:
        """How many of a function were cancelled, and how many finished."""
        cancelled = int(self.cancelled.counts[function].sum())
        return cancelled, int(self.ended.counts[function].sum()) - cancelled

    def _add_tasks(self, begun: Array, over: Array) -> None:
        begun = pick(begun, begun["first"] > self.begun.start)  # others were there before
        if len(begun):
            self.begun.add(begun["function"], np.where(begun["spawned"] != 0, begun["spawned"], begun["first"]))
            self.spawned_at[begun["function"]] = begun["spawned_at"]
            self.last_begun = max(self.last_begun, int(begun["first"].max()))
        ended = pick(over, np.isin(over["outcome"], _ENDED))
        self.ended.add(ended["function"], ended["until"])
        dropped = pick(over, over["outcome"] == Outcome.CANCELLED)
        self.cancelled.add(dropped["function"], dropped["until"])
        for function in np.unique(dropped["function"]).tolist():
            mine = pick(dropped, dropped["function"] == function)
            self.dropped[function] = mine[np.argmax(mine["until"])]

    def _add_futures(self, polls: Array, is_first: npt.NDArray[np.bool_]) -> None:
        born = pick(polls, is_first & ~self.is_task[polls["function"]])
        self.last_begun = max(self.last_begun, int(born["start"].max(initial=0)))
        self.begun.add(born["function"], born["start"])
        fresh = ((born["flags"] & _STATE) != 0) & (born["state"] == UNRESUMED)
        self._first_states[born["function"][fresh], born["state_after"][fresh]] = True
        flags, after = polls["flags"], polls["state_after"]
        by_state = self._is_coroutine[polls["function"]] & (after != _UNKNOWN_STATE)
        known = ((flags & (_RESULT | _UNWOUND)) != 0) | by_state
        self.known += np.bincount(polls["function"][known], minlength=len(self.known))
        over = ((flags & (_RESULT | _PENDING)) == _RESULT) | ((flags & _UNWOUND) != 0)
        over |= by_state & np.isin(after, (RETURNED, PANICKED))
        over &= ~self.is_task[polls["function"]]
        self.ended.add(polls["function"][over], polls["end"][over])
        self.open.change((born["task"], born["function"]), (polls["task"][over], polls["function"][over]))
        self._got_on.add(polls["parent"][over & ~is_first & (polls["parent"] != 0)])

    def _add_waits(self, waits: Array) -> None:
        waits = pick(waits, ((waits["flags"] & (_CANCELLED | _UNSEEN)) != 0))
        left = pick(waits, (waits["flags"] & _CANCELLED) == 0)
        left = left[np.lexsort((left["start"], -left["end"].astype(np.int64), left["function"]))]
        functions, first = np.unique(left["function"], return_index=True)
        for function, wait in zip(functions.tolist(), left[first], strict=True):
            known = self.waiting.get(function)
            if known is None or (wait["end"], -int(wait["start"])) > (known["end"], -int(known["start"])):
                self.waiting[function] = wait
        dropped = pick(waits, ((waits["flags"] & _CANCELLED) != 0) & ~self.is_task[waits["function"]])
        if not len(dropped):
            return
        self.ended.add(dropped["function"], dropped["end"])
        self.open.change(_NOTHING, (dropped["task"], dropped["function"]))
        self.cancelled.add(dropped["function"], dropped["end"])
        further = ((dropped["flags"] & int(WaitFlag.STATE)) != 0) & self._is_coroutine[dropped["function"]]
        further &= self._first_states[dropped["function"]].any(axis=1)
        further &= ~self._first_states[dropped["function"], dropped["state"]]
        further |= self._got_on.have(dropped["instance"])
        self.thrown += np.bincount(dropped["function"][further], minlength=len(self.thrown))
        for function in np.unique(dropped["function"]).tolist():
            mine = pick(dropped, dropped["function"] == function)
            self.sample[function] = mine[-1]
            tasks = self.tasks.setdefault(function, set())
            if len(tasks) < _MOST_TASKS:
                tasks |= set(np.unique(mine["task"]).tolist())


class Numbers:
    """A set of instances, which are numbered from 1 on: a bit each."""

    def __init__(self) -> None:
        self._bits = np.zeros(1 << 13, np.uint8)

    def add(self, numbers: npt.NDArray[np.uint64]) -> None:
        """Those beyond what memory there is for are left out."""
        numbers = numbers[numbers < _MAX_INSTANCE]
        if not len(numbers):
            return
        needed = int(numbers.max()) // 8 + 1
        if needed > len(self._bits):
            self._bits = np.concatenate([self._bits, np.zeros(2 * needed - len(self._bits), np.uint8)])
        at = numbers.astype(np.int64)
        np.bitwise_or.at(self._bits, at >> 3, np.left_shift(1, at & 7).astype(np.uint8))

    def have(self, numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Which of these are in it."""
        at = np.minimum(numbers, np.uint64(8 * len(self._bits) - 1)).astype(np.int64)
        has: npt.NDArray[np.bool_] = (self._bits[at >> 3] >> (at & 7).astype(np.uint8) & 1) != 0
        has &= numbers < 8 * len(self._bits)
        return has
