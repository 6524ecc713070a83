"""A snapshot: find the tasks, read where each waits, and read it again to know that it was so.

The process runs on while it is read.  What is told of a task was read twice with the same result, its state word
included; a task for which that fails each time is running, or said to be unreadable.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracer.model import Array, Binary, FunctionKind
from tracer.snapshot.blocks import blocked
from tracer.snapshot.headers import HEADERS, find_headers, read_states
from tracer.snapshot.image import Image, Known, numbers
from tracer.snapshot.lasting import lasting
from tracer.snapshot.links import LinksFound, read_links
from tracer.snapshot.owned import TRAILER_OFFSET, OwnedLists
from tracer.snapshot.proof import unchanged
from tracer.snapshot.sampler import Sampler
from tracer.snapshot.threads import ThreadPointers, current_ids
from tracer.snapshot.vtables import FutureVtables, task_vtables
from tracer.snapshot.wakers import without_wakers
from tracer.snapshot.walk import Reads, Walk, Walked
from tracer.stacks import SNAPSHOT_TASK, Snapshot, Stack, TaskFlag, TaskLinks, TaskState
from tracer.target.clock import kernel_now
from tracer.target.memory import Addresses, Memory

_ATTEMPTS = 4
_HEADER_SIZE = 128
"""Bytes that are read of a task whose layout is not known; no runtime's header is longer."""

_MOST_OFFSET = 1 << 20
"""A task's id lies behind its future: bytes, for all that is plausible."""

Rows = npt.NDArray[np.intp]
Functions = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Found:
    """The tasks' headers, ascending, and the poll of each (index into Binary.functions)."""

    headers: Addresses
    functions: Functions
    bytes_read: int


class SnapshotReader:
    """Reads one process again and again.

    bias: run-time address minus link-time address.  constants: (start, end) of the parts of its memory that
    hold the executable's data.  Raises NoSuchProcess, PermissionMissing.
    """

    def __init__(self, binary: Binary, bias: int, memory: Memory, constants: Iterable[tuple[int, int]]) -> None:
        self._binary = binary
        self._memory = memory
        self._task_vtables = task_vtables(binary, bias, memory, constants)
        self._future_vtables = FutureVtables(binary, bias)
        self._owned_lists = OwnedLists(memory)
        self._thread_pointers = ThreadPointers(memory)
        self._runtimes = {
            index: function.runtime
            for index, function in enumerate(binary.functions)
            if function.kind is FunctionKind.TASK and function.runtime in HEADERS
        }
        self._runtime = np.array([self._runtimes.get(index, "") for index in range(len(binary.functions))])
        layouts = [function.layout for function in binary.functions]
        self._sizes = np.array(
            [_HEADER_SIZE if one is None else binary.layouts[one].size for one in layouts], np.uint64
        )

    def find(self) -> Found:
        """Look for the tasks in the whole memory.  Raises NoSuchProcess, PermissionMissing."""
        return Found(*find_headers(self._memory, self._task_vtables, self._runtimes))

    def present(self) -> tuple[Addresses, Functions]:
        """The headers, ascending, of the tasks that are there, and the poll of each (index into Binary.functions).

        Raises NoSuchProcess, PermissionMissing.
        """
        found = self.find()
        tasks = np.zeros(len(found.headers), SNAPSHOT_TASK)
        tasks["header"], tasks["function"] = found.headers, found.functions
        is_owned = self._are_owned(tasks)
        return found.headers[is_owned], found.functions[is_owned]

    def sampler(self) -> Sampler:
        """What looks at the tasks of this process again and again."""
        return Sampler(self._binary, self._memory, self._task_vtables, self._future_vtables, self.present)

    def take(self) -> Snapshot:
        """All tasks and their stacks.  Raises NoSuchProcess, PermissionMissing."""
        began = kernel_now()
        found = self.find()
        tasks = np.zeros(len(found.headers), SNAPSHOT_TASK)
        tasks["header"], tasks["function"] = found.headers, found.functions
        stacks = StackTable()
        is_owned = self._are_owned(tasks)
        left, read = np.arange(len(tasks)), found.bytes_read
        for _ in range(_ATTEMPTS):
            if len(left):
                left, image = self._attempt(tasks, left, stacks)
                read += image.bytes_read
        tasks["flags"][left] |= np.uint8(TaskFlag.SHIFTED)
        is_over = (tasks["state"] == TaskState.COMPLETE) & (self._runtime[tasks["function"]] == "tokio")
        tasks = tasks[(tasks["state"] != TaskState.UNREADABLE) & (is_owned | is_over)]
        self._name_threads(tasks)
        duration = kernel_now() - began
        return Snapshot(began, duration, tasks, stacks.stacks, stacks.addresses, read)

    def links(self, snapshot: Snapshot) -> TaskLinks:
        """What the tasks of a snapshot of this process wait for and hold; best right after it.

        Raises NoSuchProcess, PermissionMissing.
        """

        def read(part: Snapshot) -> LinksFound:
            return read_links(self._binary, self._future_vtables, self._memory, part)

        began = kernel_now() if snapshot.time else 0
        return lasting(read, snapshot, blocked(snapshot, read(snapshot), began))

    def without_wakers(self, snapshot: Snapshot) -> Rows:
        """Indexes into Snapshot.tasks, of this process: those that wait, and nothing can wake them.

        Raises NoSuchProcess, PermissionMissing.
        """
        return without_wakers(self._binary, self._memory, snapshot)

    def _are_owned(self, tasks: Array) -> Known:
        """Whether their runtime has them; of async-task's, which are not in lists, whether anything points to them."""
        is_owned = np.ones(len(tasks), np.bool_)
        others = np.flatnonzero(self._runtime[tasks["function"]] != "tokio")
        is_owned[others] = self._owned_lists.are_referenced(tasks["header"][others])
        rows = np.flatnonzero(self._runtime[tasks["function"]] == "tokio")
        headers = tasks["header"][rows]
        listed = np.zeros(len(rows), np.bool_)
        for _ in range(_ATTEMPTS):  # the lists change all the time
            if listed.all():
                break
            image = Image(self._memory)
            image.load(headers, self._sizes[tasks["function"][rows]])
            vtables, _ = image.numbers_at(headers + np.uint64(HEADERS["tokio"].vtable), 8)
            offsets, known = image.numbers_at(vtables + np.uint64(TRAILER_OFFSET), 8)
            known &= offsets < _MOST_OFFSET
            listed |= known & self._owned_lists.has(image, headers, headers + np.where(known, offsets, np.uint64(0)))
        if listed.any():  # else this tokio keeps its tasks in another way
            is_owned[rows] = listed
        return is_owned

    def _name_threads(self, tasks: Array) -> None:
        """Which threads poll the running tasks, in place."""
        running = np.flatnonzero((tasks["state"] == TaskState.RUNNING) & (tasks["id"] != 0))
        if self._binary.current_task is None or not len(running):
            return
        pointers = self._thread_pointers.of(self._memory.threads())
        polled = current_ids(self._memory, pointers, self._binary.current_task)
        by_id = {task: tid for tid, task in polled.items()}
        tasks["tid"][running] = [by_id.get(int(task), 0) for task in tasks["id"][running]]

    # ------------------------------------------------------------ one reading

    def _attempt(self, tasks: Array, which: Rows, stacks: StackTable) -> tuple[Rows, Image]:
        """Read these tasks, in place.  Yields those that changed meanwhile, and what was read."""
        image = Image(self._memory)
        walk = Walk(self._binary, image, self._future_vtables)
        headers, sizes = tasks["header"][which], self._sizes[tasks["function"][which]]
        image.load(headers, sizes)
        tasks["stack"][which] = -1
        reads = list(self._read_headers(image, tasks, which))
        is_still = np.isin(tasks["state"][which], (TaskState.WAITING, TaskState.READY))
        roots = []
        for function in np.unique(tasks["function"][which][is_still]).tolist():
            layout = self._binary.functions[function].layout
            if layout is not None:
                rows = np.flatnonzero(is_still & (tasks["function"][which] == function))
                roots.append((layout, rows, headers[rows]))
        walked = walk.run(roots, len(which))
        same = unchanged(image, headers, sizes, (*reads, *walked.reads))
        # What is complete, or is no task, does not become one again.
        settled = is_still & same | np.isin(tasks["state"][which], (TaskState.COMPLETE, TaskState.UNREADABLE))
        has = settled & (walked.stack >= 0)
        tasks["stack"][which[has]], tasks["row"][which[has]] = stacks.add(walked, has)
        return which[~settled], image

    def _read_headers(self, image: Image, tasks: Array, which: Rows) -> Iterator[Reads]:
        """States, flags and ids, in place."""
        tasks["state"][which] = TaskState.UNREADABLE
        for runtime, header in HEADERS.items():
            rows = np.flatnonzero(self._runtime[tasks["function"][which]] == runtime)
            if not len(rows):
                continue
            at, headers = which[rows], tasks["header"][which[rows]]
            places = headers + np.uint64(header.vtable)
            vtables, known = image.bytes_at(places, 8)
            states = read_states(image, header, headers)
            is_task = states.is_task & known & self._is_vtable(numbers(vtables), tasks["function"][at])
            tasks["state"][at[is_task]] = states.state[is_task]
            tasks["flags"][at] = states.flags
            tasks["id"][at] = self._ids(image, headers, tasks["function"][at])
            mask = np.frombuffer((header.running | header.complete | header.aborted).to_bytes(8, "little"), np.uint8)
            yield Reads(rows, places, vtables)
            yield Reads(rows, headers + np.uint64(header.state), states.word.view(np.uint8).reshape(-1, 8), mask)

    def _is_vtable(self, vtables: Addresses, functions: Functions) -> Known:
        unique, inverse = np.unique(vtables, return_inverse=True)
        polls = np.array([self._task_vtables.get(int(one), -1) for one in unique], np.int64)
        is_one: Known = polls[inverse] == functions
        return is_one

    def _ids(self, image: Image, headers: Addresses, functions: Functions) -> Addresses:
        """The runtime's own ids; 0 where it has none, or they cannot be read."""
        ids = np.zeros(len(headers), np.uint64)
        for function in np.unique(functions).tolist():
            path = self._binary.functions[function].task_id
            if path is None:
                continue
            rows = np.flatnonzero(functions == function)
            vtables, _ = image.numbers_at(headers[rows] + np.uint64(path.vtable), 8)
            offsets, known = image.numbers_at(vtables + np.uint64(path.offset), 8)
            known &= offsets < _MOST_OFFSET
            ids[rows[known]], _ = image.numbers_at(headers[rows[known]] + offsets[known], 8)
        return ids


class StackTable:
    """The stacks of several walks, each once."""

    def __init__(self) -> None:
        self._index: dict[Stack, int] = {}
        self._addresses: list[list[Addresses]] = []

    @property
    def stacks(self) -> tuple[Stack, ...]:
        """In the order of their numbers."""
        return tuple(self._index)

    @property
    def addresses(self) -> tuple[npt.NDArray[np.uint64], ...]:
        """Of each stack, shape (its tasks, its frames)."""
        return tuple(np.concatenate(several) for several in self._addresses)

    def add(self, walked: Walked, which: Known) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint32]]:
        """The numbers of the stacks, and the rows in their addresses, of these roots of a walk."""
        stack, row = walked.stack[which], walked.row[which]
        numbers_, rows = np.empty_like(stack), np.empty_like(row)
        for old in np.unique(stack).tolist():
            members = np.flatnonzero(stack == old)
            number = self._index.setdefault(walked.stacks[old], len(self._index))
            if number == len(self._addresses):
                self._addresses.append([])
            rows[members] = sum(map(len, self._addresses[number])) + np.arange(len(members))
            self._addresses[number].append(walked.addresses[old][row[members]])
            numbers_[members] = number
        return numbers_, rows
