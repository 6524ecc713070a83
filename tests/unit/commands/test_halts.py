"""In which pieces a capture is told of what keeps a process from running."""

from __future__ import annotations

import pytest

from tests.captures import RECORDING
from tracer.commands import halts
from tracer.commands.halts import HaltWatch
from tracer.model import Halt, HaltKind, Standstill
from tracer.target.quota import Throttled

MS = 1_000_000
PID = RECORDING.processes[0].pid
STOPPED, AGAIN = (Standstill(HaltKind.STOPPED, "", (left,)) for left in "12")


class Watched:
    """What was told when each of these was seen in turn, every 100 ms; and of the CPU limit once a second."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[Halt] = []
        self._seen: list[Standstill | None] = []
        self._limit: list[Throttled | None] = []
        monkeypatch.setattr(halts, "StandstillWatch", lambda pid: self)
        monkeypatch.setattr(halts, "ThrottleWatch", lambda pid: self)

    def halt(self, halt: Halt) -> None:
        self.told.append(halt)

    def look(self) -> Standstill | None:
        return self._seen.pop(0)

    def since_last(self) -> Throttled | None:
        return self._limit.pop(0) if self._limit else None

    def watch(self, *seen: Standstill | None, limit: tuple[Throttled | None, ...] = (), is_there: bool = True) -> None:
        self._seen, self._limit = list(seen), list(limit)
        watch = HaltWatch(RECORDING.processes[:1], 0)
        for number in range(1, len(seen) - is_there):
            watch.look(PID, number * 100 * MS, self)
        watch.end((len(seen) - is_there) * 100 * MS, self, {PID} if is_there else ())

    def times(self) -> list[tuple[int, int]]:
        """In ms."""
        return [(one.time // MS, one.until // MS) for one in self.told]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


def test_nothing_is_told_of_one_that_runs(watched: Watched) -> None:
    watched.watch(*[None] * 30)
    assert not watched.told


def test_from_the_first_to_the_last_look_that_saw_it(watched: Watched) -> None:
    watched.watch(None, STOPPED, STOPPED, STOPPED, None, AGAIN, AGAIN, None)
    assert watched.times() == [(100, 300), (500, 600)]


def test_two_looks_may_see_two_different_ones(watched: Watched) -> None:
    watched.watch(None, STOPPED, AGAIN, None)
    assert not watched.told


def test_what_lasts_is_told_piece_by_piece_and_at_the_end(watched: Watched) -> None:
    watched.watch(*[STOPPED] * 25)
    assert watched.times() == [(0, 1000), (1000, 2000), (2000, 2400)]


def test_the_number_of_one_that_is_gone_may_be_another_ones(watched: Watched) -> None:
    watched.watch(*[STOPPED] * 4, is_there=False)
    assert watched.times() == [(0, 300)]


def test_a_limit_is_looked_at_once_a_second_and_at_the_end(watched: Watched) -> None:
    came = Throttled(0.5, 10, 4, 300)
    watched.watch(*[None] * 25, limit=(came, None, came))
    assert watched.times() == [(0, 1000), (2000, 2400)]
    assert watched.told[0] == Halt(0, 1000 * MS, 0, HaltKind.THROTTLED, "", 0.5, 10, 4, 300)
