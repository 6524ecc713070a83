"""Which tasks there are now: their places are searched for in all memory, and looked at again without another search.

What frees a task gives its place to the next one of that size, and what the place held stays until then: so the tasks
that came since the search are mostly met at places that are known.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tracer.model import Array, Binary
from tracer.snapshot.headers import HEADERS, find_headers, read_states
from tracer.snapshot.image import Areas, Image, Known
from tracer.snapshot.owned import TRAILER_OFFSET, OwnedLists
from tracer.stacks import SNAPSHOT_TASK, TaskState
from tracer.target.memory import Addresses, Memory

_ATTEMPTS = 4
_HEADER_SIZE = 48
"""Bytes of the longest header of a runtime."""

_MOST_OFFSET = 1 << 20
"""A task's id lies behind its future: bytes, for all that is plausible."""

Functions = npt.NDArray[np.uint32]


class Places:
    """Where tasks are or were, in one process."""

    def __init__(self, binary: Binary, memory: Memory, vtables: dict[int, int], lists: OwnedLists) -> None:
        """vtables: of tasks, by address the index of the poll."""
        self._binary = binary
        self._memory = memory
        self._vtables = vtables
        self._owned_lists = lists
        self._has_lists = False
        self._runtimes = {index: str(binary.functions[index].runtime) for index in vtables.values()}
        self._runtime = np.array([self._runtimes.get(index, "") for index in range(len(binary.functions))])
        self._areas: Areas
        self._headers: Addresses = np.empty(0, np.uint64)
        self._of_runtime = np.empty(0, self._runtime.dtype)

    def search(self) -> int:
        """Look for places in all memory.  Yields how many bytes were read.

        Raises NoSuchProcess, PermissionMissing.
        """
        self._areas = Areas(self._memory)
        headers, functions, bytes_read = find_headers(self._memory, self._vtables, self._runtimes)
        is_new = ~np.isin(headers, self._headers)
        headers = np.concatenate([self._headers, headers[is_new]])
        order = np.argsort(headers, kind="stable")
        self._headers = headers[order]
        self._of_runtime = np.concatenate([self._of_runtime, self._runtime[functions[is_new]]])[order]
        return bytes_read

    def tasks(self, known: Array) -> Array:
        """The tasks that are at these places now, by header, dtype SNAPSHOT_TASK: their polls, ids and states.

        known: what this gave before.  A task of those that still is one is there: what is freed has no references.
        Raises NoSuchProcess, PermissionMissing.
        """
        tasks = np.zeros(len(self._headers), SNAPSHOT_TASK)
        tasks["header"] = self._headers
        references = np.ones(len(tasks), np.uint64)
        image = Image(self._memory, self._areas)
        image.load(self._headers, _HEADER_SIZE)
        for runtime, header in HEADERS.items():
            rows = np.flatnonzero(self._of_runtime == runtime)
            vtables, is_read = image.numbers_at(self._headers[rows] + np.uint64(header.vtable), 8)
            functions = polls_of(self._vtables, vtables)
            states = read_states(image, header, self._headers[rows])
            is_task = is_read & states.is_task & (functions >= 0) & (self._runtime[functions] == runtime)
            tasks["state"][rows] = np.where(is_task, states.state, np.uint8(TaskState.UNREADABLE))
            tasks["function"][rows] = np.maximum(functions, 0)
            if runtime == "tokio":
                references[rows] = states.word // np.uint64(header.reference)
        is_task = tasks["state"] != TaskState.UNREADABLE
        tasks, references = tasks[is_task], references[is_task]
        tasks["id"] = ids_of(self._binary, image, tasks["header"], tasks["function"])
        found: Array = tasks[self._are_there(tasks, references, are_among(tasks, known))]
        return found

    def _are_there(self, tasks: Array, references: Addresses, is_known: Known) -> Known:
        """Whether their runtime has them.  Of what is in no list, as async-task's tasks, and tokio's that are complete
        and of which somebody keeps a handle, whether something has the references that they count.

        is_known: of which it is known that they are there.
        """
        is_tokio = self._runtime[tasks["function"]] == "tokio"
        is_complete = tasks["state"] == TaskState.COMPLETE
        # One that was in a list before can have been freed since, and what uses its memory now look like complete.
        is_owned: Known = is_known & ~(is_tokio & is_complete)
        is_listed = is_tokio & ~is_complete
        others = np.flatnonzero(~is_listed & ~is_owned)
        is_owned[others] = self._owned_lists.are_referenced(tasks["header"][others], references[others])
        rows = np.flatnonzero(is_listed)
        headers = tasks["header"][rows]
        listed = is_known[rows]
        for _ in range(_ATTEMPTS):  # the lists change all the time
            if listed.all():
                break
            image = Image(self._memory, self._areas)
            image.load(headers, _HEADER_SIZE)
            vtables, _ = image.numbers_at(headers + np.uint64(HEADERS["tokio"].vtable), 8)
            offsets, known = image.numbers_at(vtables + np.uint64(TRAILER_OFFSET), 8)
            known &= offsets < _MOST_OFFSET
            has = known & self._owned_lists.has(image, headers, headers + np.where(known, offsets, np.uint64(0)))
            self._has_lists |= bool(has.any())
            listed |= has
        # Else this tokio keeps its tasks in another way.
        is_owned[rows] = listed if self._has_lists else True
        return is_owned


def are_among(tasks: Array, others: Array) -> Known:
    """Whether each task is one of the others: at the same place, of the same poll and id.  others: by header."""
    if not len(others):
        return np.zeros(len(tasks), np.bool_)
    at = np.minimum(np.searchsorted(others["header"], tasks["header"]), len(others) - 1)
    is_among: Known = np.ones(len(tasks), np.bool_)
    for name in ("header", "function", "id"):
        is_among &= others[name][at] == tasks[name]
    return is_among


def polls_of(task_vtables: dict[int, int], vtables: Addresses) -> npt.NDArray[np.int64]:
    """The indexes of the polls that these vtables are of; -1: they are no task's."""
    unique, inverse = np.unique(vtables, return_inverse=True)
    polls: npt.NDArray[np.int64] = np.array([task_vtables.get(int(one), -1) for one in unique], np.int64)[inverse]
    return polls


def ids_of(binary: Binary, image: Image, headers: Addresses, functions: Functions) -> Addresses:
    """The runtime's own ids; 0 where it has none, or they cannot be read."""
    ids = np.zeros(len(headers), np.uint64)
    paths = [one.task_id for one in binary.functions]
    has_path = np.array([one is not None for one in paths], np.bool_)
    to_vtable = np.array([0 if one is None else one.vtable for one in paths], np.uint64)
    to_offset = np.array([0 if one is None else one.offset for one in paths], np.uint64)
    rows = np.flatnonzero(has_path[functions])
    vtables, _ = image.numbers_at(headers[rows] + to_vtable[functions[rows]], 8)
    offsets, known = image.numbers_at(vtables + to_offset[functions[rows]], 8)
    known &= offsets < _MOST_OFFSET
    ids[rows[known]], _ = image.numbers_at(headers[rows[known]] + offsets[known], 8)
    return ids
