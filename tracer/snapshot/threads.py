"""Which thread polls which task: tokio's threads keep the id of the task that they poll.

Each thread's own variables lie below its thread pointer, at which there is the pointer itself, and the thread's
number a little further on.  glibc 2.3.4 to 2.41, sysdeps/x86_64/nptl/tls.h and nptl/descr.h: tcbhead_t {tcb, dtv, self,
...}, struct pthread {..., tid@720}; musl 1.1.24 to 1.2.5, src/internal/pthread_impl.h: struct pthread {self, dtv, prev,
next, sysinfo, canary, tid@48}.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tracer.target.memory import Addresses, Memory, private_parts

_CHUNK = 1 << 22
_SELF_AGAIN = 2  # words; glibc only
_TID_OF_GLIBC, _TID_OF_MUSL = 720, 48


class ThreadPointers:
    """Of the threads of one process, by tid; looked for again when there are new threads."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._known: dict[int, int] = {}
        self._missed: frozenset[int] = frozenset()

    def of(self, tids: Iterable[int]) -> dict[int, int]:
        """The thread pointers of those of these threads where they are known.

        Raises NoSuchProcess, PermissionMissing.
        """
        wanted = frozenset(tids)
        self._known = {tid: place for tid, place in self._known.items() if tid in wanted}
        new = wanted - self._known.keys()
        if new - self._missed:
            self._known |= self._find(new)
            self._missed = wanted - self._known.keys()
        return dict(self._known)

    def _find(self, tids: frozenset[int]) -> dict[int, int]:
        found: dict[int, set[int]] = {}
        for start, words in self._words():
            places = np.uint64(start) + np.arange(len(words), dtype=np.uint64) * np.uint64(8)
            at = np.flatnonzero(words == places)
            for place in at.tolist():
                is_glibc = place + _SELF_AGAIN < len(words) and words[place + _SELF_AGAIN] == places[place]
                for offset in (_TID_OF_GLIBC,) if is_glibc else (_TID_OF_MUSL,):
                    tid = self._tid(int(places[place]) + offset)
                    if tid in tids:
                        found.setdefault(tid, set()).add(int(places[place]))
        return {tid: places.pop() for tid, places in found.items() if len(places) == 1}

    def _tid(self, address: int) -> int:
        content, is_whole = self._memory.fill(np.array([address], np.uint64), np.array([4], np.uint64))
        return int(content.view("<u4")[0]) if is_whole[0] else 0

    def _words(self) -> Iterable[tuple[int, Addresses]]:
        for start, end in private_parts(self._memory):
            for begin in range(start, end, _CHUNK):
                size = min(_CHUNK, end - begin)
                content, is_whole = self._memory.fill(np.array([begin], np.uint64), np.array([size], np.uint64))
                if is_whole[0]:
                    yield begin, content.view("<u8")


def current_ids(memory: Memory, pointers: dict[int, int], place: int) -> dict[int, int]:
    """By tid the id of the task that the thread polls, of those that poll one.  place: as Binary.current_task.

    Raises NoSuchProcess, PermissionMissing.
    """
    tids = list(pointers)
    if not tids:
        return {}
    starts = np.array([pointers[tid] + place for tid in tids], np.uint64)
    content, is_whole = memory.fill(starts, np.full(len(tids), 8, np.uint64))
    ids = content.view("<u8").tolist()
    return {tid: one for tid, one, known in zip(tids, ids, is_whole, strict=True) if known and one}
