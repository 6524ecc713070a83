"""Reader of what the targets say about their own polls: their log file and their line of totals.

The format is written by tests/targets/truth: one line of JSON, then `records` records of RECORD.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt

RECORD = np.dtype(
    [
        ("begin", "<u8"),  # ns of CLOCK_MONOTONIC
        ("end", "<u8"),
        ("address", "<u8"),  # of self; 0: unknown
        ("tid", "<u4"),
        ("place", "<u4"),  # index into Log.places
        ("instance", "<u4"),
        ("outcome", "<u4"),  # Outcome
    ]
)

Records = npt.NDArray[np.void]
"""Of dtype RECORD."""


class Outcome(IntEnum):
    UNKNOWN = 0
    PENDING = 1
    READY = 2


class Kind(StrEnum):
    """What the records of a place claim; `Kind` in tests/targets/truth/src/lib.rs says it in full."""

    POLL = "poll"  # one for each poll of the chain's last function, from its first statement to its last
    RESUME = "resume"  # one for each poll of the chain's last function, over a part of it
    PART = "part"  # a part of some poll of the chain's last function; polls without a record exist


@dataclass(frozen=True, slots=True)
class Place:
    """Where intervals were measured: inside one poll of each entry of `chain`, outermost first."""

    kind: Kind
    chain: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Log:
    """A target's own record of its polls.  begin, end: of the measured part.  records: of dtype RECORD."""

    begin: int
    end: int
    dropped: int
    places: tuple[Place, ...]
    records: Records

    def polls_of(self, function: str) -> Records:
        """The records that stand for each poll of `function` that was measured, one each."""
        return self._where(lambda place: place.kind is not Kind.PART and place.chain[-1] == function)

    def within(self, function: str) -> Records:
        """The records that lie inside a poll of `function`, whichever function below measured them."""
        return self._where(lambda place: function in place.chain)

    def _where(self, wanted: Callable[[Place], bool]) -> Records:
        indices = [index for index, place in enumerate(self.places) if wanted(place)]
        return self.records[np.isin(self.records["place"], indices)]


@dataclass(frozen=True, slots=True)
class Totals:
    """The line that a target prints at its end.

    polls: for each function whose number of polls is known by construction, that number; "task" is the number of
    task polls of the runtime for the tasks that the target spawned.  Names are as in Place.chain.
    """

    begin: int
    end: int
    records: int
    dropped: int
    checksum: int
    polls: dict[str, int]


def read_log(path: Path) -> Log:
    """Reads a log.  Raises ValueError when it is of another version or its length is not what its header says."""
    with path.open("rb") as file:
        header = json.loads(file.readline())
        records = np.frombuffer(file.read(), dtype=RECORD)
    if header["version"] != 1 or len(records) != header["records"]:
        raise ValueError(f"{path.name}: version {header['version']}, {len(records)} of {header['records']} records")
    places = tuple(Place(Kind(place["kind"]), tuple(place["chain"])) for place in header["places"])
    return Log(header["begin"], header["end"], header["dropped"], places, records)


def enclosing(
    records: Records, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], tids: npt.NDArray[np.uint32]
) -> npt.NDArray[np.int64]:
    """For each record the index of the poll that encloses it on its thread, or -1.

    starts, ends (ns), tids: the polls of one function, in any order; polls of one thread must not overlap (no
    recursion), which is what makes "exactly one" out of "one".  Raises ValueError when they do.
    """
    order = np.lexsort((starts, tids))
    found = np.full(len(records), -1, np.int64)
    for tid in np.unique(records["tid"]):
        polls = order[tids[order] == tid]
        if np.any(ends[polls][:-1] > starts[polls][1:]):
            raise ValueError(f"polls of thread {tid} overlap")
        mine = np.flatnonzero(records["tid"] == tid)
        before = np.searchsorted(starts[polls], records["begin"][mine].astype(np.int64), side="right") - 1
        hit = before >= 0
        candidates = polls[before[hit]]
        inside = ends[candidates] >= records["end"][mine[hit]].astype(np.int64)
        found[mine[hit][inside]] = candidates[inside]
    return found
