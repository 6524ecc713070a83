"""Stacks as they come become samples: each different one once, and no more than there is time for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tracer.commands import named_stacks, stacks, task_polls
from tracer.commands.stacks import StackTaker
from tracer.model import ExitMode, Plan, Process, StackCensus, StackKind
from tracer.probe.session import ProbeSession
from tracer.probe.stacks import LEAST_BLOCKED, LEAST_POLLING, StackCounts, StackRecord
from tracer.target.process import TargetProcess
from tracer.target.unwinding import StackCopy, Unwound

PID = 7
PLAN = Plan((), (), (), (), (), ExitMode.DEFAULT)


def record(time: int, where: int, pid: int = PID, until: int | None = None, *, is_cut: bool = False) -> StackRecord:
    kind = StackKind.RUNNING if until is None else StackKind.BLOCKED
    return StackRecord(time, until, 70 + pid, pid, kind, StackCopy((where,), b"", 0), is_cut)


class Sampler:
    """Has records that came, and others of threads that block."""

    period = 10

    def __init__(self, came: list[StackRecord], still: list[StackRecord]) -> None:
        self._came, self._still = came, still

    def read(self) -> Iterator[StackRecord]:
        while self._came:
            yield self._came.pop(0)

    def blocked(self) -> Iterator[StackRecord]:
        yield from self._still

    def counts(self) -> StackCounts:
        return StackCounts(9, 1, 2, 3)


@pytest.fixture
def taker(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a StackTaker of records; each address is a function, those below 100 of a module."""

    class Module:
        name, path = "app", "/app"

    module = Module()

    class Modules:
        opened = (module,)
        root = "/"

        def __init__(self, target: object) -> None: ...

        def row(self, address: int) -> None: ...

        def at(self, address: int) -> tuple[object, int] | None:
            return (module, address) if address < 100 else None

    def unwound(copy: StackCopy, find: object, is_last: Callable[[int], bool] | None = None) -> Unwound:
        where = copy.registers[0] or 0
        return Unwound((where, where + 1), is_last is None or is_last(where))

    monkeypatch.setattr(stacks, "Modules", Modules)
    monkeypatch.setattr(stacks, "unwind", unwound)
    monkeypatch.setattr(task_polls, "unwind", unwound)

    def make(came: list[StackRecord], still: list[StackRecord] | None = None) -> StackTaker:
        session = SimpleNamespace(stacks=Sampler(came, still or []), no_stacks=None)
        target = SimpleNamespace(pid=PID, executable="/app")
        process = cast(Process, SimpleNamespace(pid=PID, binary=0))
        return StackTaker(cast(ProbeSession, session), PLAN, (process,), {PID: cast(TargetProcess, target)})

    return make


def test_a_stack_that_was_there_before_has_its_number(taker: Any) -> None:
    one = taker([record(1, 10), record(2, 20, until=5), record(3, 10)], [record(4, 20)])
    samples = one.take_last()
    assert samples["time"].tolist() == [1, 2, 3, 4]
    assert samples["until"].tolist() == [0, 5, 0, 0]
    assert samples["stack"].tolist() == [1, 2, 1, 2]
    assert samples["tid"].tolist() == [77] * 4
    assert len(one.take()) == 0


def test_what_cannot_be_told_is_counted(taker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named_stacks, "_named", lambda module, root, addresses, known: dict.fromkeys(addresses, ()))
    one = taker([record(1, 10, pid=8), record(2, 500), record(3, 10, is_cut=True), record(4, 99)])
    assert one.take()["time"].tolist() == [3, 4]
    told = one.told()
    assert len(told.stacks) == 2
    assert told.census == StackCensus(2, 1, 2, 3, 2, 1, LEAST_BLOCKED, LEAST_POLLING, 10)


def test_a_poll_that_nobody_saw_begin_is_known_by_its_code(taker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread without one on its stack has left it since; nothing is missing."""

    class Polls:
        @classmethod
        def of_plan(cls, *_: object) -> Polls:
            return cls()

        def has(self, module: object, address: int) -> bool:
            return address == 10

    monkeypatch.setattr(stacks, "TaskPolls", Polls)
    monkeypatch.setattr(named_stacks, "_named", lambda module, root, addresses, known: dict.fromkeys(addresses, ()))
    one = taker([replace(record(time, 10 * time), is_from_before=True) for time in (1, 2)])
    assert one.take()["time"].tolist() == [1]
    census = one.told().census
    assert (census.taken, census.skipped) == (1, 0)


def test_there_is_an_end_to_time_and_to_stacks(taker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacks, "MOST_STACKS", 1)
    one = taker([record(1, 10), record(2, 20), record(3, 10)])
    assert one.take()["time"].tolist() == [1, 3]
    monkeypatch.setattr(named_stacks, "_named", lambda module, root, addresses, known: dict.fromkeys(addresses, ()))
    monkeypatch.setattr(stacks, "MOST_TIME", 0)
    monkeypatch.setattr(stacks, "LEAST_AT_ONCE", 2)
    one = taker([record(time, 10) for time in range(5)])
    assert one.take()["time"].tolist() == [0, 1]
    assert one.told().census.skipped == 3


def test_a_kernel_that_takes_none_says_why() -> None:
    session = SimpleNamespace(stacks=None, no_stacks="it is too old")
    one = StackTaker(cast(ProbeSession, session), PLAN, (), {})
    assert len(one.take()) == len(one.take_last()) == 0
    assert one.told().census == StackCensus(refused="it is too old")
