"""What fires a trigger, and how often."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.captures import function, plan_of
from tracer.model import (
    POLL,
    TASK,
    WAIT,
    Array,
    FunctionKind,
    Group,
    PollFlag,
    Probe,
    Site,
    Spans,
    Thread,
    Trigger,
    TriggerKind,
    WaitFlag,
)
from tracer.output.triggers import Fired, TriggerWatch, unable_words

TASK_POLL, SERVE, READ, NO_EXIT = 0, 1, 2, 3
PLAN = plan_of(
    [function("task a::serve", FunctionKind.TASK), function("a::serve"), function("a::read"), function("a::none")],
    [Probe(number, 0, 0x100 + number, Site.EXIT, Group.TASKS, None, number) for number in (TASK_POLL, SERVE, READ)],
)
LIMIT, PAUSE = 100, 1_000


def rows(dtype: np.dtype[np.void], *given: dict[str, Any]) -> Array:
    made = np.zeros(len(given), dtype)
    for row, one in zip(made, given, strict=True):
        for name, value in one.items():
            row[name] = value
    return made


def poll(
    start: int, end: int, index: int = SERVE, *, task: int = 1, depth: int = 1, tid: int = 7, flags: int = 0
) -> Any:
    return {"start": start, "end": end, "function": index, "task": task, "depth": depth, "tid": tid, "flags": flags}


def spans(polls: tuple[Any, ...] = (), waits: tuple[Any, ...] = (), begun: tuple[Any, ...] = ()) -> Spans:
    return Spans(rows(POLL, *polls), rows(WAIT, *waits), rows(TASK, *begun))


def watch(kind: TriggerKind, pattern: str | None = None) -> TriggerWatch:
    return TriggerWatch(PLAN, [Trigger(f"{kind} > 100ns", kind, LIMIT, pattern)], PAUSE)


def fired(one: TriggerWatch, *given: Spans) -> list[tuple[int, int, str | None]]:
    found: list[Fired] = [each for some in given for each in one.spans(some)]
    assert all(each.trigger == 0 for each in found)
    return [(each.hit.time, each.hit.duration, each.hit.function) for each in found]


def test_the_innermost_poll_that_is_longer() -> None:
    nest = (poll(20, 60, READ, depth=2), poll(10, 150), poll(0, 160, TASK_POLL, depth=0, task=0))
    one = watch(TriggerKind.POLL)
    assert fired(one, spans(nest)) == [(10, 140, "a::serve")]
    assert one.suppressed == [0]  # all of them are one matter


def test_what_is_still_is_counted_by_nests() -> None:
    one = watch(TriggerKind.POLL)
    assert len(fired(one, spans((poll(0, 150),)))) == 1
    inner, around = poll(210, 320), poll(200, 330, TASK_POLL, depth=0, task=0)
    assert fired(one, spans((inner, around, poll(340, 450), poll(200, 450, tid=8)))) == []
    assert one.suppressed == [3]
    # The one around it ends later, in another block, and again inside one that goes on.
    assert fired(one, spans((poll(500, 610),)), spans((poll(490, 620, TASK_POLL, depth=0, task=0),))) == []
    assert one.suppressed == [4]


def test_one_that_was_counted_fires_when_it_goes_on_for_longer_than_the_pause() -> None:
    one = watch(TriggerKind.POLL)
    assert len(fired(one, spans((poll(0, 150),)))) == 1
    assert fired(one, spans((poll(210, 320),))) == []
    assert one.suppressed == [1]
    assert fired(one, spans((poll(200, 2_000, TASK_POLL, depth=0, task=0),))) == [(200, 1_800, "task a::serve")]
    assert one.suppressed == [0]


def test_an_end_that_is_not_known() -> None:
    """It is the recording's; of a panic, or where no probe sees it, it is when the poll was last seen."""
    one = watch(TriggerKind.POLL)
    assert fired(one, spans((poll(0, 500, flags=PollFlag.END_UNKNOWN),))) == []
    for flag in (PollFlag.UNWOUND, PollFlag.INFERRED_END):
        (hit,) = (each.hit for each in watch(TriggerKind.POLL).spans(spans((poll(0, 500, flags=flag),))))
        assert "for at least 500 ns" in hit.title


def test_none_that_is_as_long() -> None:
    assert fired(watch(TriggerKind.POLL), spans((poll(0, 100),))) == []


def test_a_pause_and_then_again() -> None:
    one = watch(TriggerKind.POLL)
    several = [spans((poll(start, start + 101),)) for start in (0, 200, 900, 1_050, 1_200)]
    assert fired(one, *several) == [(0, 101, "a::serve"), (1_050, 101, "a::serve")]
    assert one.suppressed == [3]


def test_the_second_one_of_a_block() -> None:
    both = spans((poll(0, 101), poll(1_001, 1_102)))
    one = watch(TriggerKind.POLL)
    assert fired(one, both) == [(0, 101, "a::serve")]
    later = watch(TriggerKind.POLL)
    later.quiet(0, 500)
    assert fired(later, spans((poll(0, 101), poll(1_401, 1_502)))) == [(1_401, 101, "a::serve")]


def test_a_pattern() -> None:
    given = spans((poll(0, 150, READ), poll(0, 160)))
    assert fired(watch(TriggerKind.POLL, "serve$"), given) == [(0, 160, "a::serve")]


def test_what_polls_tasks_is_no_long_poll() -> None:
    """A LocalSet, or a root that drives others, polls as long as they have work."""
    one = watch(TriggerKind.POLL)
    given = spans((poll(10, 50, TASK_POLL, task=0, depth=1), poll(0, 900, READ, task=0, depth=0)))
    assert fired(one, given) == []
    other = spans((poll(0, 950, READ, task=0, depth=0, tid=8),))
    assert fired(one, other) == [(0, 950, "a::read")]


def test_what_the_probes_took_does_not_count() -> None:
    """An exit costs 20 ns here."""
    one = TriggerWatch(PLAN, [Trigger("poll > 100ns", TriggerKind.POLL, LIMIT)], PAUSE, (20.0,) * len(PLAN.probes))
    inside = tuple(poll(10 + 20 * number, 20 + 20 * number, READ, depth=2) for number in range(5))
    assert not fired(one, spans((*inside, poll(0, 200))))
    frames = rows(POLL, poll(300, 0))
    assert not list(one.under_way(frames, 390, 0))
    assert not fired(
        one, spans(tuple(poll(310 + 20 * number, 320 + 20 * number, READ, depth=2) for number in range(5)))
    )
    assert not list(one.under_way(frames, 500, 0))
    (each,) = one.under_way(frames, 600, 0)
    assert each.hit.time == 300
    assert fired(watch(TriggerKind.POLL), spans((*inside, poll(0, 200)))) == [(0, 200, "a::serve")]


def test_the_words() -> None:
    one = watch(TriggerKind.POLL)
    one.threads([Thread(7, 5, "worker")])
    (hit,) = (each.hit for each in one.spans(spans((poll(0, 2_000, flags=PollFlag.START_UNKNOWN),))))
    assert hit.title == "a::serve was polled for at least 2.00 µs on thread worker (7)"
    assert (hit.trigger, hit.kind, hit.limit, hit.tid) == ("poll > 100ns", "poll", LIMIT, 7)


def test_a_poll_that_goes_on() -> None:
    one = watch(TriggerKind.POLL)
    frames = rows(POLL, poll(0, 0, TASK_POLL, depth=0, task=0), poll(30, 0), poll(150, 0, READ, depth=2))
    assert not list(one.under_way(frames, 50, 0))
    (each,) = one.under_way(frames, 160, 0)
    assert (each.hit.time, each.hit.duration, each.hit.function) == (30, 130, "a::serve")
    assert not list(one.under_way(frames, 170, 0))
    assert not list(one.under_way(frames[:2], 160 + 2 * PAUSE, 0))  # once, for as long as it takes
    assert fired(one, spans((poll(30, 3_000), poll(0, 3_010, TASK_POLL, depth=0, task=0)))) == []  # these are the same
    assert one.suppressed == [0]
    (each,) = one.under_way(rows(POLL, poll(0, 0, TASK_POLL, depth=0, task=0), poll(3_100, 0)), 3_300, 0)
    assert each.hit.time == 3_100


def test_what_may_have_ended_does_not_go_on() -> None:
    """Its end may have been lost, or no probe tells it."""
    one = watch(TriggerKind.POLL)
    frames = rows(POLL, poll(30, 0), poll(40, 0, NO_EXIT, depth=2))
    assert not list(one.under_way(frames, 500, 35))
    (each,) = one.under_way(frames, 500, 30)
    assert each.hit.function == "a::serve"


def test_threads_that_are_over_are_forgotten() -> None:
    one = watch(TriggerKind.POLL)
    one.threads([Thread(7, 5, "worker"), Thread(8, 5, "old")])
    assert len(fired(one, spans((poll(0, 150, tid=8),)))) == 1
    one.forget(frozenset({7}))
    assert fired(one, spans((poll(0, 1_300, tid=8),))) == [(0, 1_300, "a::serve")]  # another thread of that number
    (each,) = one.spans(spans((poll(2_300, 2_500),)))
    assert each.hit.title.endswith("on thread worker (7)")


def wait(start: int, end: int, index: int = TASK_POLL, *, woken: int = 0, flags: int = 0) -> Any:
    return {"start": start, "end": end, "function": index, "woken": woken, "flags": flags, "tid": 7}


def test_waits_of_tasks_that_are_certain() -> None:
    unsure = [wait(0, 500, flags=flag) for flag in (WaitFlag.AMBIGUOUS, WaitFlag.END_UNKNOWN, WaitFlag.REPLACED)]
    given = spans(waits=(*unsure, wait(0, 500, SERVE), wait(300, 500)))
    assert fired(watch(TriggerKind.WAIT), given) == [(300, 200, "task a::serve")]


def test_a_wait_by_name() -> None:
    given = spans(waits=(wait(0, 500, READ), wait(0, 500)))
    assert fired(watch(TriggerKind.WAIT, "read"), given) == [(0, 500, "a::read")]


def test_ready_from_the_wake_on() -> None:
    given = spans(waits=(wait(0, 500), wait(0, 500, woken=450), wait(200, 500, woken=150), wait(0, 500, woken=399)))
    assert fired(watch(TriggerKind.READY), given) == [(200, 300, "task a::serve")]


def test_ready_from_the_spawn_on() -> None:
    task = {"spawned": 300, "first": 500, "function": TASK_POLL, "tid": 7}
    given = spans(begun=({**task, "spawned": 0}, {**task, "spawned": 450}, task))
    assert fired(watch(TriggerKind.READY), given) == [(300, 200, "task a::serve")]


def test_which_can_never_fire() -> None:
    def words(kind: TriggerKind, pattern: str | None) -> str | None:
        return unable_words(PLAN, Trigger("x", kind, LIMIT, pattern))

    assert words(TriggerKind.POLL, None) is None
    assert words(TriggerKind.POLL, "serve|none") is None
    assert words(TriggerKind.WAIT, "none") is None
    assert words(TriggerKind.WAIT, "nobody") == "no function that is probed has a name with a match"
    unseen = words(TriggerKind.POLL, "none")
    assert unseen == "how long a::none is polled is not known: with --exits default its exits are not probed"
