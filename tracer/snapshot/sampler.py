"""The states of all tasks, looked at again and again, at a cost that does not grow with what the process does.

Where the tasks are is searched for now and then, since that means reading all memory.  In between only the tasks
themselves are read, a part of them at each tick, and the parts take turns in random order.  What frees a task gives
its place to the next one of that size: so a place is looked at further when its task is gone, and the tasks that
came since the last search are mostly met there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from tracer.model import Array, Binary
from tracer.snapshot.decode import CONTAINED, Decoder, Pieces, Places
from tracer.snapshot.headers import HEADERS, Header, states_of
from tracer.snapshot.image import Areas, Image, Known
from tracer.snapshot.steps import Steps
from tracer.snapshot.vtables import FutureVtables
from tracer.snapshot.walk import Walk
from tracer.stacks import SAMPLE, SAMPLED_TASK, SampleCounts, Stack, TaskState, Tick
from tracer.target.clock import kernel_now
from tracer.target.memory import Addresses, Memory

_HEADER_SIZE = 48
"""Bytes of the longest header of a runtime."""

_MOST_OFFSET = 1 << 16
_FIRST_PART = 1500
"""Tasks that are looked at in one tick, before it is known how long that takes."""

_FEWEST = 500
"""Tasks in a part: fewer would hardly take less time."""

_FORGOTTEN_AFTER = 4
"""Searches that did not find a task at a place."""

_NO_TASK = 0xFFFFFFFF

SLOT = np.dtype(
    [
        ("header", "<u8"),
        ("id", "<u8"),  # of the task that was there last
        ("seen", "<u8"),  # ns of CLOCK_MONOTONIC, when it was looked at last, or searched in vain
        ("span", "<u4"),  # bytes that are read
        ("function", "<u4"),  # of the task that was there last
        ("task", "<u4"),  # the same, by number; _NO_TASK: there is none
        ("runtime", "u1"),
        ("missed", "u1"),  # searches that found no task here, one after the other
        ("is_many", "?"),  # its task had futures in a container
        ("_pad", "u1"),
    ]
)
"""A place where a task is or was, 40 bytes."""


class Sampler:
    """Of one process.  counts: what was done."""

    def __init__(
        self,
        binary: Binary,
        memory: Memory,
        task_vtables: dict[int, int],
        future_vtables: FutureVtables,
        present: Callable[[], tuple[Addresses, npt.NDArray[np.uint32]]],
    ) -> None:
        """task_vtables: by address the index of the poll.  present: the headers and polls of the tasks there are."""
        self._binary = binary
        self._memory = memory
        self._present = present
        self._future_vtables = future_vtables
        self._image: Image | None = None
        self._areas: Areas
        self._steps = Steps(binary, self._polled)
        self._decoder = Decoder(self._steps)
        self._vtables = np.array(sorted(task_vtables), np.uint64)
        self._function_of_vtable = np.array([task_vtables[one] for one in sorted(task_vtables)], np.int64)
        names = sorted({str(binary.functions[index].runtime) for index in task_vtables.values()})
        self._headers = [HEADERS[name] for name in names]
        count = len(binary.functions)
        self._runtime = np.zeros(count, np.uint8)
        self._root = np.full(count, -1, np.int64)
        self._distance = np.full(count, -1, np.int64)
        self._span = np.full(count, _HEADER_SIZE, np.int64)
        for index in set(task_vtables.values()):
            function = binary.functions[index]
            self._runtime[index] = names.index(str(function.runtime))
            if function.layout is not None:
                self._root[index] = self._steps.root(function.layout)
                self._span[index] = max(_HEADER_SIZE, self._steps.span(function.layout))
        self._slots = np.empty(0, SLOT)
        self._tasks: list[Array] = []
        self._met = 0
        self._parts = 1
        self._bounds = [0]
        self._order: list[int] = []
        self._followed: dict[int, tuple[Addresses, Addresses]] = {}
        self._round = 0
        self._searched = 0
        self._random = np.random.default_rng()
        self.counts = SampleCounts()

    @property
    def parts(self) -> int:
        """How many ticks it takes to look at each task once."""
        return self._parts

    @property
    def places(self) -> int:
        """Where tasks are or were."""
        return len(self._slots)

    @property
    def stacks(self) -> tuple[Stack, ...]:
        """All that were met, by number."""
        return self._steps.stacks

    @property
    def tasks(self) -> Array:
        """All tasks that were met, dtype SAMPLED_TASK, by number."""
        return np.concatenate([np.empty(0, SAMPLED_TASK), *self._tasks])

    # ------------------------------------------------------------ where the tasks are

    def search(self, parts: int | None = None) -> None:
        """Look for tasks in all memory.  parts: in how many ticks each is to be looked at once; None: as before.

        Raises NoSuchProcess, PermissionMissing.
        """
        before, self._searched = self._searched, kernel_now()
        headers, functions = self._present()
        self._areas, self._image = Areas(self._memory), None
        slots = self._slots
        at = np.minimum(np.searchsorted(headers, slots["header"]), max(0, len(headers) - 1))
        is_there = headers[at] == slots["header"] if len(headers) else np.zeros(len(slots), np.bool_)
        slots["missed"] = np.where(is_there | (slots["task"] != _NO_TASK), 0, slots["missed"] + 1)
        is_new = ~np.isin(headers, slots["header"])
        if self.counts.searches:
            self.counts.searched += len(headers)
            self.counts.met += int(np.count_nonzero(slots["task"][is_there] != _NO_TASK))
        self.counts.searches += 1
        fresh = np.zeros(np.count_nonzero(is_new), SLOT)
        fresh["header"], fresh["function"] = headers[is_new], functions[is_new]
        fresh["runtime"], fresh["task"] = self._runtime[functions[is_new]], _NO_TASK
        self._find_ids(fresh)
        fresh["span"] = self._span[fresh["function"]]
        fresh["seen"] = before or self._searched
        slots = np.concatenate([slots[slots["missed"] < _FORGOTTEN_AFTER], fresh])
        # Those that take the long way are parts of their own, not some of each part: most of what it costs is once.
        self._slots = slots[np.lexsort((slots["header"], slots["is_many"]))]
        if parts is None and self.counts.searches == 1:
            parts = -(-len(self._slots) // _FIRST_PART)
        self._cut(parts or self._parts)

    def _cut(self, parts: int) -> None:
        few = int(np.count_nonzero(~self._slots["is_many"]))
        shares = [(0, few), (few, len(self._slots))]
        bounds = [0]
        for start, end in shares:
            wanted = max(1, round(parts * (end - start) / max(1, len(self._slots))))
            count = min(wanted, max(1, (end - start) // _FEWEST)) if end > start else 0
            bounds += [start + (end - start) * one // count for one in range(1, count + 1)]
        self._bounds = bounds
        self._parts = max(1, len(bounds) - 1)
        self._followed.clear()
        self._order = [part for part in self._order if part < self._parts]

    def _find_ids(self, slots: Array) -> None:
        """How far from their headers tasks of these polls have the runtime's id: their vtables say."""
        for function in np.unique(slots["function"]).tolist():
            path = self._binary.functions[function].task_id
            if path is None or self._distance[function] >= 0:
                continue
            header = slots["header"][np.flatnonzero(slots["function"] == function)[:1]]
            image = Image(self._memory)
            vtable, _ = image.numbers_at(header + np.uint64(path.vtable), 8)
            distance, known = image.numbers_at(vtable + np.uint64(path.offset), 8)
            if known[0] and distance[0] < _MOST_OFFSET:
                self._distance[function] = distance[0]
                self._span[function] = max(self._span[function], int(distance[0]) + 8)

    def _polled(self, vtable: int) -> int | None:
        if self._image is None:
            self._image = Image(self._memory, self._areas)
        return self._future_vtables.function(self._image, vtable)

    # ------------------------------------------------------------ what they do

    def tick(self) -> Tick:
        """Look at the next part.  Raises NoSuchProcess, PermissionMissing."""
        if not self._order:
            self._order = self._random.permutation(self._parts).tolist()
            self._round += 1
        return self._tick(self._order.pop())

    def last_round(self) -> Iterator[Tick]:
        """End the round and look at all once more, without a pause: what samples stand for goes on until now."""
        while self._order:
            yield self._tick(self._order.pop())
        self._round += 1
        yield from map(self._tick, range(self._parts))

    def _tick(self, part: int) -> Tick:
        slots = self._slots[self._bounds[part] : self._bounds[part + 1]] if len(self._slots) else self._slots
        now = kernel_now()
        samples = self._look(slots, part, now)
        self.counts.ticks += 1
        self.counts.samples += len(samples)
        return Tick(now, self._round, samples, len(slots) / max(1, len(self._slots)))

    def _look(self, slots: Array, part: int, now: int) -> Array:
        """What these places have; says it in them, too."""
        headers, spans = slots["header"], slots["span"].astype(np.uint64)
        none = np.empty(0, np.uint64)
        followed, sizes = self._followed.get(part, (none, none))
        pieces = Pieces(self._memory, self._areas, np.concatenate([headers, followed]), np.concatenate([spans, sizes]))
        places, known = pieces.places_of(headers, spans)
        function, state = self._states(slots, pieces, places, known)
        is_task = function >= 0
        wanted = np.where(is_task, self._span[function], 0)
        grows = wanted > slots["span"]  # a task of another future has come to this place: it is read next time
        slots["span"][grows] = wanted[grows]
        is_task &= ~grows & (state != TaskState.COMPLETE)
        self.counts.unreadable += int(np.count_nonzero(~known | grows))
        self._identify(slots, pieces, places, function, is_task)
        rows = is_task.nonzero()[0]
        samples = np.zeros(len(rows), SAMPLE)
        samples["since"] = np.uint64(now) - slots["seen"][rows]
        samples["task"], samples["function"] = slots["task"][rows], function[rows]
        samples["state"], samples["stack"] = state[rows], -1
        slots["seen"] = now
        roots = self._root[samples["function"]]
        still = ((samples["state"] != TaskState.RUNNING) & (roots >= 0)).nonzero()[0]
        stacks = self._decoder.stacks(pieces, roots[still], places[rows[still]])
        self._followed[part] = self._decoder.followed
        samples["stack"][still] = stacks
        many = still[stacks == CONTAINED]
        if len(many):
            slots["is_many"][rows[many]] = True
            samples["stack"][many] = self._walked(headers[rows[many]], samples["function"][many])
        self.counts.bytes_read += pieces.bytes_read
        return samples

    def _states(
        self, slots: Array, pieces: Pieces, places: Places, known: Known
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        """(the poll of the task at each place, -1: there is none; TaskState)."""
        function = np.full(len(slots), -1, np.int64)
        state = np.zeros(len(slots), np.uint8)
        if not len(self._vtables):
            return function, state
        for number, header in enumerate(self._headers):
            rows = (known & (slots["runtime"] == number)).nonzero()[0]
            if not len(rows):
                continue
            at = places[rows]
            there, doing = states_of(header, pieces.numbers_at(at + header.state, 8), _owner(pieces, header, at))
            vtables = pieces.numbers_at(at + header.vtable, 8)
            near = np.minimum(np.searchsorted(self._vtables, vtables), len(self._vtables) - 1)
            polls = self._function_of_vtable[near]
            is_task = there & (self._vtables[near] == vtables) & (self._runtime[polls] == number)
            function[rows] = np.where(is_task, polls, -1)
            state[rows] = doing
        return function, state

    def _identify(
        self, slots: Array, pieces: Pieces, places: Places, function: npt.NDArray[np.int64], is_task: Known
    ) -> None:
        """Give numbers to the tasks that are new, in place."""
        ids = np.zeros(len(slots), np.uint64)
        distances = np.where(is_task, self._distance[function], -1)
        rows = (distances >= 0).nonzero()[0]
        ids[rows] = pieces.numbers_at(places[rows] + distances[rows], 8)
        is_other = (slots["task"] == _NO_TASK) | (slots["id"] != ids) | (slots["function"] != function)
        slots["task"][~is_task] = _NO_TASK
        new = (is_task & is_other).nonzero()[0]
        if not len(new):
            return
        slots["id"][new], slots["function"][new] = ids[new], function[new]
        slots["task"][new] = self._met + np.arange(len(new))
        self._met += len(new)
        tasks = np.zeros(len(new), SAMPLED_TASK)
        tasks["header"], tasks["id"], tasks["function"] = slots["header"][new], ids[new], function[new]
        self._tasks.append(tasks)

    def _walked(self, headers: Addresses, functions: npt.NDArray[np.uint32]) -> npt.NDArray[np.int32]:
        """The stacks of tasks with futures in containers, by the walk that snapshots take."""
        self.counts.walked += len(headers)
        layouts = [self._binary.functions[one].layout for one in functions.tolist()]
        image = Image(self._memory, self._areas)
        sizes = [0 if one is None else self._binary.layouts[one].size for one in layouts]
        image.load(headers, np.array(sizes, np.uint64))
        roots = []
        for layout in set(layouts):
            if layout is not None:
                rows = np.array([row for row, one in enumerate(layouts) if one == layout], np.intp)
                roots.append((layout, rows, headers[rows]))
        walked = Walk(self._binary, image, self._future_vtables).run(roots, len(headers))
        self.counts.bytes_read += image.bytes_read
        numbers = np.array([self._steps.stack_number(one) for one in walked.stacks], np.int32)
        return np.where(walked.stack >= 0, numbers[walked.stack] if len(numbers) else -1, -1).astype(np.int32)


def _owner(pieces: Pieces, header: Header, places: Places) -> Addresses:
    if header.owner is None:
        return np.zeros(len(places), np.uint64)
    return pieces.numbers_at(places + header.owner, 8)
