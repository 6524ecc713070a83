"""Tasks that wait and of which there is no waker: nothing can ever make them go on.

A task's memory counts what refers to it: its runtime, its handle, and each waker.  A future that returned Pending and
has not kept its waker leaves none.
"""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt

from tracer.model import Array, Binary
from tracer.snapshot.headers import HEADERS, Header, read_states
from tracer.snapshot.image import Image, Known
from tracer.stacks import Snapshot, TaskState
from tracer.target.memory import Addresses, Memory

_EXECUTOR = "async_executor::"
"""async-executor 1.4 to 1.14 keeps a waker of each task that it spawned, to drop it when the executor is; it puts a
future of its own around the task's, which the type of the task shows."""
_PAUSE = 0.01


def without_wakers(binary: Binary, memory: Memory, snapshot: Snapshot) -> npt.NDArray[np.intp]:
    """Indexes into Snapshot.tasks.  They are looked at twice: an address can become another task's meanwhile.

    Raises NoSuchProcess, PermissionMissing.
    """
    found = np.flatnonzero(snapshot.tasks["state"] == TaskState.WAITING)
    before: Addresses | None = None
    for pause in (0.0, _PAUSE):
        if len(found):
            time.sleep(pause)
        word, has_none = _read(binary, memory, snapshot.tasks[found])
        has_none &= word == (before if before is not None else word)
        found, before = found[has_none], word[has_none]
    return found


def _read(binary: Binary, memory: Memory, tasks: Array) -> tuple[Addresses, Known]:
    """The state words, and whether they are those of tasks that wait without a waker."""
    words = np.zeros(len(tasks), np.uint64)
    has_none = np.zeros(len(tasks), np.bool_)
    image = Image(memory)
    functions = binary.functions
    which = [functions[one] for one in tasks["function"].tolist()]
    runtime = np.array([one.runtime or "" for one in which])
    types = [binary.layouts[one.layout].name if one.layout is not None else None for one in which]
    is_kept = np.array([one is not None and _EXECUTOR in one for one in types], np.bool_)
    for name, header in HEADERS.items():
        is_known = np.array([header.handle_counts or one is not None for one in types], np.bool_)
        rows = np.flatnonzero((runtime == name) & is_known)
        if len(rows):
            states = read_states(image, header, tasks["header"][rows])
            words[rows] = states.word
            has_none[rows] = states.is_task & (states.state == TaskState.WAITING)
            has_none[rows] &= _references(header, states.word) == header.kept + is_kept[rows]
    return words, has_none


def _references(header: Header, word: Addresses) -> npt.NDArray[np.int64]:
    """Those of the runtime and of wakers."""
    count = (word // np.uint64(header.reference)).astype(np.int64)
    if header.handle_counts:
        count -= (word & np.uint64(header.joined)) != 0
    return count
