"""Reader of what the targets say about the lives of single futures, one line of JSON each.

The format is written by tests/targets/truth (lives.rs).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Place:
    """A line of the source.  file: relative to the workspace of the targets."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Poll:
    """One poll, from just before to just after.  begin, end: ns of CLOCK_MONOTONIC.  address: of self.

    result: pending, ready or panicked.  place: the await at which it is pending; None where nobody said.
    """

    begin: int
    end: int
    tid: int
    address: int
    result: str
    place: Place | None


@dataclass(frozen=True, slots=True)
class Life:
    """One future, as it knows itself.

    function: the path of the async fn, or the type of a hand-written future, as Rust prints it.  is_apart: its poll
    is a function of its own whatever the optimiser does.  parents: the numbers of the watched futures that polled it
    (several where it is shared).  spawned, spawner: of a task's root, where and by which watched future it was spawned.
    outcome: ready, panicked, cancelled, alive (at the end of the process) or never polled.  ended: ns, 0 while alive.
    place: of one that was cancelled or is alive, the await at which it was last.
    """

    construct: str
    function: str
    number: int
    is_apart: bool
    parents: tuple[int, ...]
    spawner: int | None
    spawned: Place | None
    task_id: str | None
    outcome: str
    ended: int
    place: Place | None
    polls: tuple[Poll, ...]


def read_lives(path: Path) -> tuple[Life, ...]:
    """Reads the lives that a target wrote, in the order in which the futures were made."""
    return tuple(_life(json.loads(line)) for line in path.read_text().splitlines())


def _place(place: list[Any] | None) -> Place | None:
    return Place(*place) if place else None


def _poll(poll: list[Any]) -> Poll:
    begin, end, tid, address, result, place = poll
    return Poll(begin, end, tid, address, result, _place(place))


def _life(line: dict[str, Any]) -> Life:
    return Life(
        construct=line["construct"],
        function=line["function"],
        number=line["number"],
        is_apart=line["apart"],
        parents=tuple(line["parents"]),
        spawner=line["spawner"],
        spawned=_place(line["spawned"]),
        task_id=line["task_id"],
        outcome=line["outcome"],
        ended=line["ended"],
        place=_place(line["at"]),
        polls=tuple(map(_poll, line["polls"])),
    )
