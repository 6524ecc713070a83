"""A snapshot: find the tasks, read where each waits, and read it again to know that it was so.

The process runs on while it is read.  What is told of a task was read twice with the same result, its state word
included; a task for which that fails each time is running, or said to be unreadable.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from tracer.model import Array, Binary, FunctionKind
from tracer.snapshot.blocks import blocked
from tracer.snapshot.channels import ChannelWatch
from tracer.snapshot.headers import HEADERS, read_states
from tracer.snapshot.image import Image, Known, numbers
from tracer.snapshot.lasting import lasting
from tracer.snapshot.link_reading import LinksFound
from tracer.snapshot.links import read_channels, read_links
from tracer.snapshot.owned import OwnedLists
from tracer.snapshot.present import Places, are_among, ids_of, polls_of
from tracer.snapshot.proof import unchanged
from tracer.snapshot.sampler import Sampler
from tracer.snapshot.threads import ThreadPointers, current_ids
from tracer.snapshot.vtables import FutureVtables, has_other_layout, task_vtables
from tracer.snapshot.wakers import without_wakers
from tracer.snapshot.walk import Reads, Walk, Walked
from tracer.stacks import SNAPSHOT_TASK, LinkFlag, Snapshot, Stack, TaskFlag, TaskLinks, TaskState
from tracer.target.clock import kernel_now
from tracer.target.memory import Addresses, Memory

_ATTEMPTS = 4
_HEADER_SIZE = 128
"""Bytes that are read of a task whose layout is not known; no runtime's header is longer."""

_AT_ONCE = np.uint64(1 << 26)
"""Bytes of tasks that are read together; what they have pointers to comes besides."""

_ROUNDS = 8
"""How often the tasks that are there are listed, at most."""

_LONGEST_LISTING = 500_000_000
"""ns after which they are not listed again: of very many that come and go, some always have."""

_LONGEST_SEARCH = 100_000_000
"""Searches of all memory that took so long together, in ns, are the last."""

Rows = npt.NDArray[np.intp]
Functions = npt.NDArray[np.uint32]


class SnapshotReader:
    """Reads one process again and again.

    bias: run-time address minus link-time address.  constants: (start, end) of the parts of its memory that
    hold the executable's data.  Raises NoSuchProcess, PermissionMissing.
    """

    def __init__(self, binary: Binary, bias: int, memory: Memory, constants: Iterable[tuple[int, int]]) -> None:
        self._binary = binary
        self._memory = memory
        self._task_vtables = task_vtables(binary, bias, memory, constants)
        self._has_other_layout = partial(has_other_layout, binary, bias, memory)
        self._future_vtables = FutureVtables(binary, bias)
        self._owned_lists = OwnedLists(memory)
        self._thread_pointers = ThreadPointers(memory)
        has_header = [one.kind is FunctionKind.TASK and one.runtime in HEADERS for one in binary.functions]
        self._runtime = np.where(has_header, [str(one.runtime) for one in binary.functions], "")
        layouts = [function.layout for function in binary.functions]
        self._sizes = np.array(
            [_HEADER_SIZE if one is None else binary.layouts[one].size for one in layouts], np.uint64
        )

    @property
    def has_other_layout(self) -> bool:
        """Whether tokio's tasks are surely not laid out as they are known here, so that none can be found."""
        tokio = [at for at, function in self._task_vtables.items() if self._runtime[function] == "tokio"]
        return self._has_other_layout(tokio)

    def present(self) -> tuple[Addresses, Functions]:
        """The headers, ascending, of the tasks that are there, and the poll of each (index into Binary.functions).

        Raises NoSuchProcess, PermissionMissing.
        """
        places = self._places()
        places.search()
        tasks = places.tasks(np.zeros(0, SNAPSHOT_TASK))
        tasks = tasks[tasks["state"] != TaskState.COMPLETE]
        return tasks["header"], tasks["function"]

    def sampler(self) -> Sampler:
        """What looks at the tasks of this process again and again."""
        return Sampler(self._binary, self._memory, self._task_vtables, self._future_vtables, self.present)

    def take(self) -> Snapshot:
        """All tasks and their stacks.  Raises NoSuchProcess, PermissionMissing.

        Tasks come and go while others are read: those that are there are listed again each time, what came is read, and
        what went is left out, until nothing has changed or it takes too long.
        """
        began = kernel_now()
        places, stacks = self._places(), StackTable()
        tasks, gone = np.zeros(0, SNAPSHOT_TASK), np.zeros(0, SNAPSHOT_TASK)
        bytes_read, searched, missed = 0, 0, 0
        for listings in range(_ROUNDS):
            if listings and kernel_now() - began > _LONGEST_LISTING:
                break
            if searched < _LONGEST_SEARCH:
                before = kernel_now()
                bytes_read += places.search()
                searched += kernel_now() - before
            there = places.tasks(tasks)
            is_there = are_among(tasks, there)
            missed += int(np.count_nonzero(~is_there)) + int(np.count_nonzero(~are_among(gone, there)))
            tasks = tasks[is_there]
            new = there[~are_among(there, tasks)]
            if not len(new) and is_there.all() and not len(gone):
                break
            listed = new.copy()
            bytes_read += sum(self._read(some, stacks) for some in self._in_parts(new))
            is_gone = new["state"] == TaskState.UNREADABLE
            missed += int(np.count_nonzero(~is_gone & (new["id"] != listed["id"])))
            gone = listed[is_gone]
            tasks = np.concatenate([tasks, new[~is_gone]])
            tasks = tasks[np.argsort(tasks["header"], kind="stable")]
        missed += len(gone)
        self._name_threads(tasks)
        duration = kernel_now() - began
        return Snapshot(began, duration, tasks, stacks.stacks, stacks.addresses, bytes_read, missed)

    def _in_parts(self, tasks: Array) -> list[Array]:
        """Of which each can be read at once.  An image has no more room, and what it has not is not known."""
        part = np.cumsum(self._sizes[tasks["function"]]) // _AT_ONCE
        return np.split(tasks, np.flatnonzero(part[1:] != part[:-1]) + 1) if len(tasks) else []

    def _read(self, tasks: Array, stacks: StackTable) -> int:
        """What these tasks do and where they wait, in place.  Yields how many bytes were read."""
        left, bytes_read = np.arange(len(tasks)), 0
        for _ in range(_ATTEMPTS):
            if len(left):
                left, image = self._attempt(tasks, left, stacks)
                bytes_read += image.bytes_read
        tasks["flags"][left] |= np.uint8(TaskFlag.SHIFTED)
        return bytes_read

    def thread_pointers(self) -> dict[int, int]:
        """By tid, of the threads where they are known.  Raises NoSuchProcess, PermissionMissing."""
        return self._thread_pointers.of(self._memory.threads())

    def polled(self) -> dict[int, int]:
        """By id of a task the thread that polls it now; nothing where that is not known to be told by memory.

        Raises NoSuchProcess, PermissionMissing.
        """
        if self._binary.current_task is None:
            return {}
        pointers = self._thread_pointers.of(self._memory.threads())
        return {task: tid for tid, task in current_ids(self._memory, pointers, self._binary.current_task).items()}

    def links(self, snapshot: Snapshot) -> TaskLinks:
        """What the tasks of a snapshot of this process wait for and hold; best right after it.

        Raises NoSuchProcess, PermissionMissing.
        """

        def read(part: Snapshot) -> LinksFound:
            return read_links(self._binary, self._future_vtables, self._memory, part)

        return lasting(read, snapshot, blocked(snapshot, read(snapshot)))

    def running_channels(self, snapshot: Snapshot) -> Array:
        """The ends of channels that the tasks of a snapshot of this process perhaps have that are being polled, dtype
        CHANNEL: until its next await a future's memory is as its last one left it, but for what was moved away since.

        Raises NoSuchProcess, PermissionMissing.
        """
        tasks, stacks = snapshot.tasks.copy(), StackTable()
        tasks["stack"] = -1
        which = np.flatnonzero(tasks["state"] == TaskState.RUNNING)
        image = Image(self._memory)
        walked = self._walk(image, tasks, which, np.ones(len(which), np.bool_))
        has = walked.stack >= 0
        tasks["stack"][which[has]], tasks["row"][which[has]] = stacks.add(walked, has)
        running = replace(snapshot, tasks=tasks, stacks=stacks.stacks, addresses=stacks.addresses)
        channels = read_channels(self._binary, self._future_vtables, self._memory, running)
        channels["flags"] &= ~np.uint8(LinkFlag.CERTAIN)
        return channels

    def watch_channels(self, snapshot: Snapshot) -> ChannelWatch:
        """What waits from now on in the channels that tasks of a snapshot of this process have; best right after it.

        Raises NoSuchProcess, PermissionMissing.
        """
        still = read_channels(self._binary, self._future_vtables, self._memory, snapshot)
        return ChannelWatch(self._memory, snapshot, np.concatenate([still, self.running_channels(snapshot)]))

    def without_wakers(self, snapshot: Snapshot) -> Rows:
        """Indexes into Snapshot.tasks, of this process: those that wait, and nothing can wake them.

        Raises NoSuchProcess, PermissionMissing.
        """
        return without_wakers(self._binary, self._memory, snapshot)

    def _places(self) -> Places:
        return Places(self._binary, self._memory, self._task_vtables, self._owned_lists)

    def _name_threads(self, tasks: Array) -> None:
        """Which threads poll the running tasks, in place."""
        running = np.flatnonzero((tasks["state"] == TaskState.RUNNING) & (tasks["id"] != 0))
        if self._binary.current_task is not None and len(running):
            by_id = self.polled()
            tasks["tid"][running] = [by_id.get(int(task), 0) for task in tasks["id"][running]]

    # ------------------------------------------------------------ one reading

    def _attempt(self, tasks: Array, which: Rows, stacks: StackTable) -> tuple[Rows, Image]:
        """Read these tasks, in place.  Yields those that changed meanwhile, and what was read."""
        image = Image(self._memory)
        headers, sizes = tasks["header"][which], self._sizes[tasks["function"][which]]
        image.load(headers, sizes)
        tasks["stack"][which] = -1
        reads = list(self._read_headers(image, tasks, which))
        is_still = np.isin(tasks["state"][which], (TaskState.WAITING, TaskState.READY))
        walked = self._walk(image, tasks, which, is_still)
        same = unchanged(image, headers, sizes, (*reads, *walked.reads))
        # What is complete, or is no task, does not become one again.
        settled = is_still & same | np.isin(tasks["state"][which], (TaskState.COMPLETE, TaskState.UNREADABLE))
        has = settled & (walked.stack >= 0)
        tasks["stack"][which[has]], tasks["row"][which[has]] = stacks.add(walked, has)
        return which[~settled], image

    def _walk(self, image: Image, tasks: Array, which: Rows, chosen: Known) -> Walked:
        """Of these tasks the stacks of those that are chosen."""
        roots = []
        functions = tasks["function"][which]
        for function in np.unique(functions[chosen]).tolist():
            layout = self._binary.functions[function].layout
            if layout is not None:
                rows = np.flatnonzero(chosen & (functions == function))
                roots.append((layout, rows, tasks["header"][which[rows]]))
        return Walk(self._binary, image, self._future_vtables).run(roots, len(which))

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
            is_task = states.is_task & known & (polls_of(self._task_vtables, numbers(vtables)) == tasks["function"][at])
            tasks["state"][at[is_task]] = states.state[is_task]
            tasks["flags"][at] = states.flags
            tasks["id"][at] = ids_of(self._binary, image, headers, tasks["function"][at])
            mask = np.frombuffer((header.running | header.complete | header.aborted).to_bytes(8, "little"), np.uint8)
            yield Reads(rows, places, vtables)
            yield Reads(rows, headers + np.uint64(header.state), states.word.view(np.uint8).reshape(-1, 8), mask)


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
