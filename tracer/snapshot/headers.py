"""Where the tasks are: writable memory has a pointer to a task's vtable wherever there is a task, and where one was.

A pointer alone proves nothing: memory that was given back keeps it, and so does a copy on a stack.  A task
that is there has a state word that makes sense: references that are counted, and few.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracer.snapshot.image import Image, Known
from tracer.stacks import TaskFlag, TaskState
from tracer.target.memory import Addresses, Memory, private_parts

_CHUNK = 1 << 22
_WAITING, _READY, _RUNNING, _COMPLETE = map(
    int, (TaskState.WAITING, TaskState.READY, TaskState.RUNNING, TaskState.COMPLETE)
)
_MOST_REFERENCES = 1 << 20
"""What a word has that the allocator wrote where a task was, read as a count, is a pointer's worth."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the reader needs to know of a runtime's header of a task.

    vtable, state, owner: offsets in the header, bytes; owner None: it has none.  poll_slot: of the poll in the vtable.
    The others are bits of the state word (8 bytes); reference: the lowest of the count of references.  kept: how many
    references to a task that waits its runtime keeps, of which none wakes it; handle_counts: the handle that `joined`
    tells of is one more.
    """

    vtable: int
    poll_slot: int
    state: int
    owner: int | None
    running: int
    complete: int
    ready: int
    aborted: int
    joined: int
    reference: int
    kept: int
    handle_counts: bool


HEADERS = {
    # tokio 1.25 to 1.54, runtime/task/{core,state}.rs
    "tokio": Header(
        16, 0, 0, 24, running=1, complete=2, ready=4, aborted=32, joined=8, reference=64, kept=1, handle_counts=True
    ),
    # async-task 4.0 to 4.7, {header,state,raw}.rs
    "async-task": Header(
        0, 40, 8, None, running=2, complete=4, ready=1, aborted=8, joined=16, reference=256, kept=0, handle_counts=False
    ),
}


def find_headers(
    memory: Memory, vtables: dict[int, int], runtime_of: dict[int, str]
) -> tuple[Addresses, npt.NDArray[np.uint32], int]:
    """(addresses, function, bytes read) of what looks like a task's header, ascending.

    vtables: by address the index of the poll.  runtime_of: by that index the runtime.
    Raises NoSuchProcess, PermissionMissing.
    """
    wanted = np.array(sorted(vtables), np.uint64)
    functions = np.array([vtables[int(one)] for one in wanted], np.uint32)
    shift = np.array([HEADERS[runtime_of[int(one)]].vtable for one in functions], np.uint64)
    places: list[Addresses] = []
    which: list[npt.NDArray[np.intp]] = []
    read = 0
    for start, end in private_parts(memory) if vtables else ():
        for begin in range(start, end, _CHUNK):
            size = min(_CHUNK, end - begin)
            content, is_whole = memory.fill(np.array([begin], np.uint64), np.array([size], np.uint64))
            read += size
            if not is_whole[0]:
                continue
            words = content.view("<u8")
            near = np.flatnonzero((words >= wanted[0]) & (words <= wanted[-1]))
            at = np.searchsorted(wanted, words[near])
            hit = wanted[at] == words[near]
            places.append(near[hit].astype(np.uint64) * np.uint64(8) + np.uint64(begin))
            which.append(at[hit])
    if not places:
        return np.empty(0, np.uint64), np.empty(0, np.uint32), read
    found, index = np.concatenate(places), np.concatenate(which)
    headers = found - shift[index]
    # Runtimes allocate their tasks; what one was made of may be left on the stack of whoever made it.
    is_left = np.zeros(len(headers), np.bool_)
    for mapping in memory.mappings():
        if mapping.path == "[stack]":
            is_left |= (headers >= mapping.start) & (headers < mapping.end)
    order = np.flatnonzero(~is_left)[np.argsort(headers[~is_left], kind="stable")]
    return headers[order], functions[index][order], read


@dataclass(frozen=True, slots=True)
class States:
    """is_task: whether there is a task at all.  state: TaskState.  flags: TaskFlag.  word: as read."""

    is_task: Known
    state: npt.NDArray[np.uint8]
    flags: npt.NDArray[np.uint8]
    word: Addresses


def read_states(image: Image, header: Header, addresses: Addresses) -> States:
    """What the headers at these addresses say.  Raises NoSuchProcess, PermissionMissing."""
    word, known = image.numbers_at(addresses + np.uint64(header.state), 8)
    owner, has_owner = word, known
    if header.owner is not None:
        owner, has_owner = image.numbers_at(addresses + np.uint64(header.owner), 8)
    is_task, state = states_of(header, word, owner)
    flags = np.zeros(len(word), np.uint8)
    flags[_has(word, header.aborted)] |= np.uint8(TaskFlag.ABORTED)
    flags[_has(word, header.joined)] |= np.uint8(TaskFlag.JOINED)
    return States(is_task & known & has_owner, state, flags, word)


def states_of(header: Header, word: Addresses, owner: Addresses) -> tuple[Known, npt.NDArray[np.uint8]]:
    """(whether there is a task at all, TaskState) by state words.  owner: what is at Header.owner, if there is such."""
    references = word // np.uint64(header.reference)
    is_task = (references < _MOST_REFERENCES) & ((references > 0) | _has(word, header.joined))
    is_task &= ~(_has(word, header.running) & _has(word, header.complete))
    if header.owner is not None:
        # What is put together on a stack, to be moved to the heap, has no owner yet.
        is_task &= (owner != 0) & (references > 0)
    state = np.full(len(word), _WAITING, np.uint8)
    state[_has(word, header.ready)] = _READY
    state[_has(word, header.running)] = _RUNNING
    state[_has(word, header.complete)] = _COMPLETE
    if header.owner is None:  # async-task drops the future of a closed task in its last run
        state[_has(word, header.aborted) & ~_has(word, header.running | header.ready)] = _COMPLETE
    return is_task, state


def _has(word: Addresses, bits: int) -> Known:
    has: Known = (word & np.uint64(bits)) != 0
    return has
