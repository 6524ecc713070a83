"""Which tokio tasks their runtime still has: memory that was given back and used again can look like a task.

Each runtime keeps its tasks in lists, by pointers in the tasks themselves: a task that is there is what its neighbour
points back to, or the only one of a list, whose head and tail it is then.  tokio 1.25 to 1.54, runtime/task/core.rs,
runtime/task/list.rs and util/linked_list.rs: Vtable {..., trailer_offset@56, ...}; Trailer {owned: Pointers {prev,
next}, ...}; LinkedList {head, tail}.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracer.snapshot.image import Image, Known
from tracer.target.memory import Addresses, Memory, private_parts

TRAILER_OFFSET = 56
"""Where in the vtable the distance from the header to the trailer is."""

_PLACES = (0, 8, 16, 24, 32, 40)
"""Where in the trailer `owned` can be: rustc orders the fields as it likes."""

_CHUNK = 1 << 22


@dataclass(frozen=True, slots=True)
class _Links:
    """mutual: a neighbour points back.  alone: there is none."""

    mutual: Known
    alone: Known


class OwnedLists:
    """Of one process."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._place: int | None = None

    def has(self, image: Image, headers: Addresses, trailers: Addresses) -> Known:
        """Whether each of these tasks is in a list.  headers: ascending; of all that may be tasks.

        Raises NoSuchProcess, PermissionMissing.
        """
        places = _PLACES if self._place is None else (self._place,)
        links = {place: _links(image, headers, trailers + np.uint64(place)) for place in places}
        place = max(places, key=lambda place: (int(links[place].mutual.sum()), int(links[place].alone.sum())))
        if links[place].mutual.sum() > 1:
            self._place = place
        found = links[place].mutual
        alone = np.flatnonzero(links[place].alone)
        found[alone] = self._are_heads(headers[alone])
        return found

    def _are_heads(self, headers: Addresses) -> Known:
        """Whether each is both head and tail of a list somewhere in memory."""
        found = np.zeros(len(headers), np.bool_)
        if not len(headers):
            return found
        for words in self._words():
            near = np.flatnonzero((words[:-1] >= headers[0]) & (words[:-1] <= headers[-1]))
            near = near[words[near] == words[near + 1]]
            at = np.searchsorted(headers, words[near])
            hit = headers[np.minimum(at, len(headers) - 1)] == words[near]
            found[at[hit]] = True
        return found

    def are_referenced(self, headers: Addresses, references: Addresses) -> Known:
        """Whether memory has, at the least, so many pointers to each of these headers, ascending: each waker, handle
        and place in a queue is one.

        Raises NoSuchProcess, PermissionMissing.
        """
        found = np.zeros(len(headers), np.uint64)
        if not len(headers):
            return found >= references
        for words in self._words():
            near = words[(words >= headers[0]) & (words <= headers[-1])]
            at = np.searchsorted(headers, near)
            found += np.bincount(at[headers[at] == near], minlength=len(headers)).astype(np.uint64)
        return found >= references

    def _words(self) -> Iterable[Addresses]:
        for start, end in private_parts(self._memory):
            for begin in range(start, end, _CHUNK):
                size = min(_CHUNK + 8, end - begin)  # a pair can lie across two pieces
                content, is_whole = self._memory.fill(np.array([begin], np.uint64), np.array([size], np.uint64))
                if is_whole[0]:
                    yield content.view("<u8")


def _links(image: Image, headers: Addresses, places: Addresses) -> _Links:
    before, knows_before = image.numbers_at(places, 8)
    after, knows_after = image.numbers_at(places + np.uint64(8), 8)
    mutual = _points_back(headers, after, before) | _points_back(headers, before, after)
    return _Links(mutual & knows_before & knows_after, (before == 0) & (after == 0) & knows_before & knows_after)


def _points_back(headers: Addresses, towards: Addresses, back: Addresses) -> npt.NDArray[np.bool_]:
    if not len(headers):
        return np.zeros(0, np.bool_)
    at = np.minimum(np.searchsorted(headers, towards), len(headers) - 1)
    points_back: Known = (headers[at] == towards) & (back[at] == headers)
    return points_back
