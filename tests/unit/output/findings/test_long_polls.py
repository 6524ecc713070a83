"""Long polls: both sides of each threshold, and who is named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.output.findings.made import (
    ACCEPT,
    HANDLE,
    MS,
    QUERY,
    START,
    TASK,
    WORKERS,
    found,
    left,
    poll,
    recording,
    rules,
    spans,
    summary_of,
)
from tracer.model import (
    LOOK,
    Array,
    Finding,
    Frame,
    FunctionKind,
    PollFlag,
    Recording,
    Severity,
    SourceLocation,
    Stack,
    StackCensus,
    StackKind,
    Stacks,
)
from tracer.output.findings.long_polls import LONG_POLL, LongPolls
from tracer.output.probe_time import ProbeTime


def usual(count: int = 1000, length: float = 0.1) -> list[np.void]:
    """Short polls of tasks, on another thread."""
    return [poll(number, length, task=2, tid=WORKERS[1]) for number in range(count)]


def nest(start: float, length: float, task: int = 1) -> list[np.void]:
    """A poll of a task, and in it one of `query`, which took the time."""
    inner = poll(start + 0.01, length - 0.02, task, function=QUERY, depth=2, instance=task + 1000)
    around = poll(start, length, task, function=HANDLE, depth=1, instance=task + 500)
    return [inner, around, poll(start, length, task)]


@pytest.mark.parametrize(("length", "is_found"), [(9.0, False), (10.5, True)])
def test_ten_milliseconds_are_long(length: float, is_found: bool) -> None:
    polls = usual() + nest(100, length) + nest(300, length)
    assert rules(found(spans(polls))) == (["long-poll"] if is_found else [])


def with_costs(ns: float) -> Recording:
    """A hit of each of its probes takes so long."""
    made = recording()
    return replace(made, hit_costs=(ns,) * len(made.plan.probes))


def crowd(start: float, count: int) -> list[np.void]:
    """A poll of 40 ms, in which so many are polled; 20 ms of another one."""
    inner = [poll(start + 0.013 * number, 0.01, 1, function=QUERY, depth=2) for number in range(count)]
    return [*inner, *nest_of_handle(start, 40), *nest_of_handle(start + 100, 20)]


@pytest.mark.parametrize(("count", "is_found"), [(2_900, False), (1_000, True)])
def test_what_the_probes_took_is_not_held_against_it(count: int, is_found: bool) -> None:
    """10 µs in each poll that is inside."""
    told = spans(usual() + crowd(100, count))
    assert len(summary_of(told).findings) == 1
    findings = [one for one in summary_of(told, of=with_costs(10_000)).findings if one.rule == "long-poll"]
    if not is_found:
        assert not [one for one in findings if one.duration > 39 * MS]
        return
    (one,) = findings
    assert one.evidence["probes_ns"] == pytest.approx(10 * MS, rel=0.01)
    assert "for 40.0 ms, of which the probes took about 10.0 ms" in one.title


def unseen(row: np.void) -> np.void:
    """The same poll without an exit: it ended by then."""
    row["end"] = row["start"]
    row["flags"] |= int(PollFlag.INFERRED_END)
    return row


def test_what_may_have_taken_the_time_unseen_is_named_beside() -> None:
    inner, *around = nest(100, 40)
    (one,) = found(spans([*usual(), unseen(inner), *around, *nest_of_handle(300, 40)]))
    assert one.function == "echo::conn::handle"
    assert "handle (perhaps in db::query: its exit was not seen) kept thread worker-0" in one.title
    assert one.evidence["perhaps_in"] == "echo::db::query"


def test_what_cannot_have_taken_it_is_not() -> None:
    short = unseen(poll(100.02, 30, function=QUERY, depth=2, instance=1001))
    (one,) = found(spans([*usual(), short, *nest_of_handle(100, 40), *nest_of_handle(300, 20)]))
    assert "perhaps in" not in one.title
    assert "perhaps_in" not in one.evidence


def nest_of_handle(start: float, length: float) -> list[np.void]:
    return nest(start, length)[1:]


def test_who_took_the_time_is_named() -> None:
    (one,) = found(spans(usual() + nest(100, 20) + nest(300, 40)))
    assert (one.function, str(one.where)) == ("echo::db::query", "src/db.rs:77")
    assert (one.time, one.duration, one.tid, one.task) == (START + 300_010_000, 39_980_000, WORKERS[0], 1)
    assert one.evidence["polls"] == 2
    assert one.evidence["longest_ns"] == 39_980_000
    assert one.severity is Severity.WARNING
    assert one.advice == LONG_POLL.advice
    assert "db::query kept thread worker-0 (4243) for 40.0 ms, and once more" in one.title


def test_a_nest_is_known_across_steps() -> None:
    inner, around, outer = nest(100, 20)
    (one,) = found(spans([*usual(), inner]), spans([around, outer]), spans(nest(300, 20)))
    assert one.function == "echo::db::query"


@pytest.mark.parametrize(("length", "rule"), [(240, []), (260, ["long-poll"])])
def test_a_single_one_must_be_very_long(length: float, rule: list[str]) -> None:
    """The scheduler can take a thread's processor for as long as the others need it."""
    findings = found(spans(usual() + nest(100, length)))
    assert rules(findings) == rule
    assert all(one.severity is Severity.CRITICAL for one in findings)


@pytest.mark.parametrize(("short", "is_found"), [(2, True), (3, False)])
def test_most_of_a_functions_polls_are_long(short: int, is_found: bool) -> None:
    quick = [poll(900 + number, 0.1, function=QUERY, depth=1, instance=77) for number in range(short)]
    findings = found(spans([*usual(), *quick, *nest(100, 20), *nest(300, 20)]))
    assert bool(findings) is is_found


@pytest.mark.parametrize(("median", "is_found"), [(1.5, True), (5.0, False)])
def test_what_is_usual_in_this_run_is_not_long(median: float, is_found: bool) -> None:
    polls = [poll(10 * number, median, task=2, tid=WORKERS[1]) for number in range(500)]
    assert bool(found(spans(polls + nest(100, 20) + nest(300, 20)))) is is_found


def test_where_everything_is_long_that_is_found() -> None:
    assert rules(found(spans([*nest(100, 120), *nest(300, 120)]))) == ["long-poll"]


def test_a_length_that_is_only_a_bound_is_no_evidence() -> None:
    flags = int(PollFlag.RESULT | PollFlag.UNWOUND)
    assert not found(spans([*usual(), *(poll(at, 300, flags=flags) for at in (100, 500))]))


def test_threads_without_tasks_may_be_kept() -> None:
    """The thread of block_on runs no other task than that."""
    alone = [poll(at, 300, 0, WORKERS[2], HANDLE, 0, 99) for at in (100, 500)]
    assert not found(spans(usual() + alone))
    assert rules(found(spans([*usual(), *alone, poll(5, 0.1, task=3, tid=WORKERS[2])]))) == ["long-poll"]


def test_lost_events_do_not_silence_it() -> None:
    assert rules(found(spans(usual() + nest(100, 20) + nest(300, 20)), lost=5)) == ["long-poll"]


def test_memory_does_not_grow_with_the_polls() -> None:
    evidence = LongPolls([True] * 6, None, ProbeTime(recording().plan, ()))
    for number in range(100):
        made = spans([poll(100 * number + k, 20) for k in range(90)])
        evidence.add(made.polls, np.empty(0, LOOK), made.off_cpu)
    assert len(evidence.recent) == 4096


def scheduled(start: float, length: float, runnable: float, blocked: float) -> list[np.void]:
    """A nest whose threads are known to have waited for a CPU, and to have blocked, for so many ms."""
    rows = nest(start, length)
    for row in rows:
        row["flags"] |= int(PollFlag.SCHEDULED)
        row["runnable"], row["blocked"] = round(runnable * MS), round(blocked * MS)
    return rows


@pytest.mark.parametrize(("length", "runnable", "is_found"), [(300, 291, False), (300, 289, True), (12, 0, True)])
def test_waiting_for_a_cpu_is_not_the_polls_doing(length: float, runnable: float, is_found: bool) -> None:
    """Where that is known, one poll is enough."""
    findings = found(spans(usual() + scheduled(100, length, runnable, 0), off_cpu=[left(500)]))
    assert bool(findings) is is_found
    for one in findings:
        assert one.evidence["longest_ns"] == round((length - 0.02 - runnable) * MS)
        assert one.duration == round((length - 0.02) * MS)
        assert " used thread worker-0" in one.title


@pytest.mark.parametrize(
    ("length", "blocked", "looks", "is_found"),
    [
        (75, 0, 1, False),
        (75, 0, 3, True),
        (75, 0, 7, True),
        (75, 12, 0, True),
        (300, 0, 2, False),
        (14, 0, 1, False),
        (14, 0, 2, True),
    ],
)
def test_a_machine_that_stood_still_did_not_compute(length: int, blocked: int, looks: int, is_found: bool) -> None:
    """What seems to run all the time, and is hardly seen to run when looked at: the host had stopped the machine."""
    rows = np.zeros(looks, LOOK)
    rows["kind"], rows["tid"], rows["stack"] = StackKind.RUNNING, WORKERS[0], 1
    rows["function"], rows["start"], rows["task"] = TASK, START + 100 * MS, 1
    stacks = Stacks((Stack((Frame("echo::db::query", None, False, "echo"),), True),), StackCensus(period=10 * MS))
    part = replace(spans(usual() + scheduled(100, length, 0, blocked), off_cpu=[left(900)]), looks=rows)
    findings = summary_of(part, of=replace(recording(), stacks=stacks)).findings
    assert rules(findings) == (["long-poll"] if is_found else [])


@pytest.mark.parametrize(
    ("off", "is_found"),
    [
        ([left(500)], True),
        ([left(500, stolen=10)], True),
        ([left(500, stolen=25)], False),
        ([left(500, stolen=None)], False),
        ([left(500, 104, stolen=25)], False),
        ([left(500, 120.1, stolen=25)], True),  # no more than its share of the poll
        ([left(500, 120.1, stolen=None)], True),
        ([left(105, stolen=9), left(500, 106, stolen=9)], True),
        ([left(105, stolen=None), left(115, 106, stolen=None), left(500, 116, stolen=10)], False),
        ([left(99, stolen=50), left(500, 99.5)], True),
        ([left(500, stolen=50, tid=WORKERS[1]), left(500)], True),
        ([left(129)], False),  # how much of the rest was stolen is not known yet
        ([], False),
    ],
)
def test_what_the_host_took_is_not_the_polls_doing(off: list[np.void], is_found: bool) -> None:
    """One poll, that seems to have used its CPU for 30 ms."""
    part = spans(usual() + scheduled(100, 30, 0, 0), off_cpu=off)
    assert bool(found(part)) is is_found
    assert bool(found(spans([*part.polls]), spans(off_cpu=off))) is is_found


def test_one_that_blocked_is_long_whatever_the_host_took() -> None:
    assert found(spans(usual() + scheduled(100, 30, 0, 12), off_cpu=[left(500, stolen=30)]))


def test_blocking_is_told_from_computing() -> None:
    (one,) = found(spans(usual() + scheduled(100, 50, 10, 30)))
    assert " blocked thread worker-0 (4243) for 40.0 ms" in one.title
    assert (one.evidence["on_cpu_ns"], one.evidence["blocked_ns"]) == (9_980_000, 30_000_000)
    assert one.evidence["runnable_ns"] == 10_000_000
    (one,) = found(spans(usual() + scheduled(100, 50, 10, 15)))
    assert " used thread" in one.title


def looks_at(start: float, count: int, kind: StackKind, length: float = 0) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """So many at the poll of task 1 that begins then, in ms; length: of a blocking."""
    rows = np.zeros(count, LOOK)
    rows["kind"], rows["tid"], rows["stack"] = kind, WORKERS[0], 1
    rows["function"], rows["start"], rows["task"] = TASK, START + round(start * MS), 1
    rows["time"], rows["until"] = rows["start"], rows["start"] + round(length * MS)
    return rows


def seen(*polls: np.void, looks: np.ndarray[tuple[int], np.dtype[np.void]]) -> Finding:
    """The only finding of a run with these polls, at which somebody looked; a look at what runs stands for 10 ms."""
    stacks = Stacks((Stack((Frame("echo::db::query", None, False, "echo"),), True),), StackCensus(period=10 * MS))
    part = replace(spans([*usual(), *polls], off_cpu=[left(900)]), looks=looks)
    (one,) = summary_of(part, of=replace(recording(), stacks=stacks)).findings
    return one


@pytest.mark.parametrize(
    ("looks", "longest", "verb"),
    [
        (looks_at(300, 0, StackKind.RUNNING), 40, "used"),
        (looks_at(300, 5, StackKind.RUNNING), 40, "used"),  # a thread that gets no CPU all the time is seen to run, too
        (looks_at(300, 8, StackKind.RUNNING), 135, "kept"),
        (looks_at(300, 1, StackKind.BLOCKED, 110), 135, "blocked"),
        (looks_at(300, 1, StackKind.BLOCKED, 60), 135, "kept"),
    ],
)
def test_what_may_be_waiting_for_a_cpu_is_not_the_worst(looks: Array, longest: float, verb: str) -> None:
    """Of the second poll nobody knows how long it had a CPU, but for what was seen of it."""
    one = seen(*scheduled(100, 135, 94.98, 0), *nest(300, 135), looks=looks)
    assert one.evidence["longest_ns"] == round((longest - (0.02 if verb != "used" else 0)) * MS)
    assert f" {verb} thread worker-0" in one.title
    assert ("perhaps waiting for a CPU" in one.title) is (verb == "kept")
    assert one.severity is (Severity.CRITICAL if verb == "blocked" else Severity.WARNING)


@pytest.mark.parametrize(("length", "severity"), [(200, Severity.WARNING), (260, Severity.CRITICAL)])
def test_where_the_scheduler_is_not_watched(length: float, severity: Severity) -> None:
    (one,) = found(spans(usual() + nest(100, length) + nest(300, length)))
    assert one.severity is severity
    assert one.title.endswith("once more for long (perhaps waiting for a CPU)")


@pytest.mark.parametrize("is_inner_known", [False, True])
def test_like_is_compared_with_like(is_inner_known: bool) -> None:
    """Where the scheduler told of the inner poll or of the outer one only, both are what a clock says."""
    rows = [*scheduled(100, 60, 40, 0), *scheduled(300, 60, 40, 0)]
    for number, row in enumerate(rows):
        if (number % 3 == 0) is not is_inner_known:
            row["flags"] &= ~np.uint16(PollFlag.SCHEDULED)
            row["runnable"] = 0
    one, *others = found(spans(usual() + rows, off_cpu=[left(900)]))
    assert not others
    assert (one.function, one.evidence["polls"]) == ("echo::db::query", 2)


def test_the_place_is_where_it_did_what_is_told() -> None:
    """One poll blocks, though most looks came when it ran."""
    blocked, ran = (Frame("echo::db::query", SourceLocation("src/db.rs", line), False, "echo") for line in (80, 90))
    stacks = Stacks(tuple(Stack((one,), True) for one in (ran, blocked)), StackCensus(period=10 * MS))
    rows = np.concatenate([looks_at(300, 5, StackKind.RUNNING), looks_at(300, 1, StackKind.BLOCKED, 30)])
    rows["stack"][-1] = 2
    part = replace(spans(usual() + scheduled(300, 55, 0, 30), off_cpu=[left(900)]), looks=rows)
    (one,) = summary_of(part, of=replace(recording(), stacks=stacks)).findings
    assert " blocked thread worker-0" in one.title
    assert (str(one.where), one.evidence["blocked_in"]) == ("src/db.rs:80", "echo::db::query src/db.rs:80")


@pytest.mark.parametrize(("in_place", "is_found"), [(293, False), (288, True)])
def test_what_is_done_in_place_keeps_nobody(in_place: float, is_found: bool) -> None:
    """tokio hands the thread's tasks over for that time."""
    made = recording()
    functions = list(made.plan.functions)
    functions[ACCEPT] = replace(functions[ACCEPT], kind=FunctionKind.IN_PLACE)
    made = replace(made, plan=replace(made.plan, functions=tuple(functions)))
    call = poll(101, in_place, 1, function=ACCEPT, depth=3, instance=0)
    part = spans([*usual(), call, *scheduled(100, 300, 0, 0)], off_cpu=[left(500)])
    findings = summary_of(part, of=made).findings
    assert bool(findings) is is_found
    assert all(one.evidence["longest_ns"] == round((300 - 0.02 - in_place) * MS) for one in findings)


@pytest.mark.parametrize(("depth", "is_found"), [(1, False), (0, True)])
def test_a_future_that_polls_tasks_is_an_executor(depth: int, is_found: bool) -> None:
    """That of async-executor polls two hundred of them before it returns."""
    around = poll(100, 300, 0, WORKERS[2], HANDLE, 0, 99)
    inside = [poll(at if depth else at + 400, 0.1, 3, WORKERS[2], depth=depth) for at in range(101, 399)]
    assert bool(found(spans([*usual(), around, *inside]))) is is_found
