"""Which probes a plan has, for each choice of exits and names."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.probe.made import binary, function, task
from tracer.errors import NotTraceable
from tracer.model import (
    EndKind,
    EndPoint,
    ExitKind,
    ExitMode,
    ExitSite,
    FunctionKind,
    Group,
    HeaderTest,
    InstructionCost,
    Layout,
    LayoutKind,
    Plan,
    PollFunction,
    Site,
    Source,
    WakePoint,
    exits_apart,
)
from tracer.probe.plan import make_plan

FUTURE = function("app::fetch", 0x100, entry_cost=InstructionCost.EMULATED)
TOKIO = task("raw::poll", 0x200)
ASYNC_TASK = task("RawTask::run", 0x300, runtime="async-task")


def sites(plan: Plan, name: str) -> list[Site]:
    return [
        probe.site
        for probe in plan.probes
        for index in (probe.enters, probe.leaves)
        if index is not None and plan.functions[index].name == name
    ]


@pytest.mark.parametrize(
    ("mode", "future", "tokio", "async_task"),
    [
        (ExitMode.DEFAULT, Site.EXIT, Site.RETURN, Site.EXIT),
        (ExitMode.AUTO, Site.EXIT, Site.RETURN, Site.EXIT),
        (ExitMode.RET, Site.EXIT, Site.EXIT, Site.EXIT),
        (ExitMode.TASK, None, Site.RETURN, Site.EXIT),
    ],
)
def test_exits_by_mode(mode: ExitMode, future: Site | None, tokio: Site, async_task: Site) -> None:
    plan = make_plan([binary(FUTURE, TOKIO, ASYNC_TASK)], exit_mode=mode)
    assert sites(plan, "app::fetch") == [Site.ENTRY] + [future] * (future is not None)
    assert sites(plan, "raw::poll") == [Site.ENTRY, tokio]
    assert sites(plan, "RawTask::run") == [Site.ENTRY, async_task]


RETURNED = ExitSite(0x650, ExitKind.RETURNED, InstructionCost.EMULATED, after=2)


@pytest.mark.parametrize("mode", list(ExitMode))
def test_exits_are_seen_in_the_callers_where_that_is_cheaper(mode: ExitMode) -> None:
    called = replace(FUTURE, returned=(RETURNED, replace(RETURNED, offset=0x670, after=5)))
    plan = make_plan([binary(called, can_unwind=False)], exit_mode=mode)
    found = [(probe.site, probe.offset, probe.cost, probe.after) for probe in plan.probes if probe.leaves == 0]
    assert found == {
        ExitMode.DEFAULT: [
            (Site.RETURNED, 0x650, InstructionCost.EMULATED, 2),
            (Site.RETURNED, 0x670, InstructionCost.EMULATED, 5),
        ],
        ExitMode.RET: [(Site.EXIT, 0x11F, InstructionCost.STEPPED, 0)],
        ExitMode.TASK: [],
        ExitMode.URETPROBE: [(Site.RETURN, 0x100, InstructionCost.EMULATED, 0)],
    }.get(mode, found)
    if mode is ExitMode.AUTO:
        assert {site for site, *_ in found} == {Site.RETURNED}
        assert exits_apart(plan) == {0: frozenset(probe.id for probe in plan.probes if probe.leaves == 0)}


@pytest.mark.parametrize("mode", list(ExitMode))
def test_entries_are_seen_at_calls_where_that_is_cheaper(mode: ExitMode) -> None:
    called = replace(FUTURE, called=(0x640, 0x660), returned=(RETURNED,))
    plan = make_plan([binary(called, can_unwind=False)], exit_mode=mode)
    found = [(probe.site, probe.offset, probe.cost) for probe in plan.probes if probe.enters == 0]
    if mode in (ExitMode.RET, ExitMode.URETPROBE):
        assert found == [(Site.ENTRY, 0x100, InstructionCost.EMULATED)]
    else:
        assert found == [
            (Site.CALL, 0x640, InstructionCost.EMULATED),
            (Site.CALL, 0x660, InstructionCost.EMULATED),
        ]


@pytest.mark.parametrize("offset", [0x650, 0x100, 0x11F, 0x200])
def test_no_entry_is_seen_where_something_else_may_be_probed(offset: int) -> None:
    """Least of all where a return is seen: it comes before the call."""
    called = replace(FUTURE, called=(0x640, offset), returned=(RETURNED,))
    plan = make_plan([binary(called, TOKIO)], exit_mode=ExitMode.DEFAULT)
    assert sites(plan, FUTURE.name) == [Site.ENTRY, Site.RETURNED]


def test_no_exit_is_seen_where_something_else_may_be_probed() -> None:
    """Of what is chosen or not: a place has one probe."""
    called = replace(FUTURE, returned=(RETURNED,))
    leaves_there = function("leaves", 0x640, exits=(ExitSite(0x650, ExitKind.TAIL),))
    begins_there = function("begins", 0x650)
    for other in (leaves_there, begins_there):
        plan = make_plan([binary(called, other)], exit_mode=ExitMode.DEFAULT, exclude=[re.compile(other.name)])
        assert sites(plan, FUTURE.name) == [Site.ENTRY, Site.EXIT]
    elsewhere = make_plan([binary(called), binary(begins_there)], exit_mode=ExitMode.DEFAULT)
    assert sites(elsewhere, FUTURE.name) == [Site.ENTRY, Site.RETURNED]


def test_exits_that_can_go_without_their_entry() -> None:
    """Those of futures; not where one instruction is the entry, too, of this function or of one inside it."""
    inner = function("inner", 0x810, size=0x10, exits=(ExitSite(0x81E, ExitKind.RET),))
    outer = function("outer", 0x800, exits=(ExitSite(0x810, ExitKind.TAIL), ExitSite(0x81F, ExitKind.RET)))
    alone = function("alone", 0x400, exits=(ExitSite(0x400, ExitKind.TAIL),))
    in_place = function("in_place", 0x500, kind=FunctionKind.IN_PLACE)
    two = function("two", 0x600, exits=(ExitSite(0x610, ExitKind.RET), ExitSite(0x61F, ExitKind.RET)))
    plan = make_plan([binary(FUTURE, outer, inner, TOKIO, alone, in_place, two)], exit_mode=ExitMode.AUTO)
    found = {plan.functions[number].name: exits for number, exits in exits_apart(plan).items()}
    assert found.keys() == {FUTURE.name, "two"}
    assert sorted(plan.probes[one].offset for one in found["two"]) == [0x610, 0x61F]


def test_where_nothing_unwinds_return_probes_are_safe() -> None:
    abort = binary(FUTURE, TOKIO, ASYNC_TASK, can_unwind=False)
    plan = make_plan([abort], exit_mode=ExitMode.URETPROBE)
    for name in ("app::fetch", "raw::poll", "RawTask::run"):
        assert sites(plan, name) == [Site.ENTRY, Site.RETURN]
    assert sites(make_plan([abort], exit_mode=ExitMode.DEFAULT), "RawTask::run") == [Site.ENTRY, Site.RETURN]


def test_return_probes_on_a_binary_that_unwinds_are_refused() -> None:
    with pytest.raises(NotTraceable, match="abort when it panics"):
        make_plan([binary(FUTURE, can_unwind=False), binary(FUTURE)], exit_mode=ExitMode.URETPROBE)


def test_ids_are_positions_and_places_are_unique() -> None:
    plan = make_plan([binary(FUTURE, TOKIO), binary(FUTURE, TOKIO)], exit_mode=ExitMode.DEFAULT)
    assert [probe.id for probe in plan.probes] == list(range(8))
    assert len({(probe.binary, probe.offset, probe.site) for probe in plan.probes}) == 8
    assert plan.function_binary == (0, 0, 1, 1)
    assert {probe.group for probe in plan.probes if probe.enters in (0, 2)} == {Group.FUTURES}
    assert {probe.group for probe in plan.probes if probe.enters in (1, 3)} == {Group.TASKS}


def test_a_function_that_is_only_a_return_has_one_probe_with_both_roles() -> None:
    alone = function("app::ready", 0x400, exits=(ExitSite(0x400, ExitKind.RET),))
    thunk = function("app::thunk", 0x500, exits=(ExitSite(0x500, ExitKind.TAIL, InstructionCost.EMULATED),))
    plan = make_plan([binary(alone, thunk)], exit_mode=ExitMode.DEFAULT)
    assert [(p.offset, p.site, p.enters, p.leaves, p.is_tail, p.cost) for p in plan.probes] == [
        (0x400, Site.ENTRY, 0, 0, False, InstructionCost.STEPPED),
        (0x500, Site.ENTRY, 1, 1, True, InstructionCost.EMULATED),
    ]


def test_an_exit_of_one_function_can_be_the_entry_of_another() -> None:
    outer = function("outer", 0x600, exits=(ExitSite(0x610, ExitKind.RET),))
    inner = function("inner", 0x610, exits=(ExitSite(0x610, ExitKind.RET),))
    plan = make_plan([binary(outer, inner)], exit_mode=ExitMode.RET)
    assert [(p.enters, p.leaves) for p in plan.probes] == [(0, None), (1, 1)]


def test_names_choose_futures_and_leave_task_polls() -> None:
    aliased = function("app::merged", 0x700, names=("app::merged", "db::query"))
    hand_written = function("Sleep::poll", 0x800, kind=FunctionKind.FUTURE)
    everything = binary(FUTURE, aliased, hand_written, TOKIO)

    def left(**options: Any) -> list[str]:
        plan = make_plan([everything], exit_mode=ExitMode.DEFAULT, **options)
        return [f.name for f in plan.functions]

    assert left(include=[re.compile("db::")]) == ["app::merged", "raw::poll"]
    assert left(exclude=[re.compile("db::")]) == ["app::fetch", "Sleep::poll", "raw::poll"]
    assert left(exclude=[re.compile("^raw::")]) == ["app::fetch", "app::merged", "Sleep::poll"]
    assert left(generated_only=True) == ["app::fetch", "app::merged", "raw::poll"]
    assert left(include=[re.compile("app")], exclude=[re.compile("merged")]) == ["app::fetch", "raw::poll"]
    assert make_plan([everything], exit_mode=ExitMode.DEFAULT, include=[re.compile("db::")]).refusals == ()


def test_a_function_without_an_exit_is_refused_where_exits_are_needed() -> None:
    endless = function("app::forever", 0x900, exits=())
    plan = make_plan([binary(endless, FUTURE)], exit_mode=ExitMode.DEFAULT)
    assert [(r.name, r.reason) for r in plan.refusals] == [("app::forever", "no exit instruction was found")]
    assert len(make_plan([binary(endless)], exit_mode=ExitMode.TASK).probes) == 1


@pytest.mark.parametrize(
    ("functions", "options", "fix"),
    [
        ((), {}, "debug = 2"),
        ((FUTURE,), {"exclude": [re.compile("fetch")]}, "rat-ebpf list program"),
        ((function("app::forever", 0x900, exits=()),), {}, "rat-ebpf list program"),
    ],
)
def test_nothing_left_names_the_next_command(
    functions: tuple[PollFunction, ...], options: dict[str, Any], fix: str
) -> None:
    with pytest.raises(NotTraceable) as caught:
        make_plan([binary(*functions)], exit_mode=ExitMode.DEFAULT, **options)
    assert fix in caught.value.fix


def test_of_a_future_without_a_poll_function_it_is_said() -> None:
    inlined = Layout("app::query", LayoutKind.COROUTINE, Source.DWARF, 64)
    with pytest.raises(NotTraceable) as caught:
        make_plan(
            [replace(binary(FUTURE), layouts=(inlined,))], exit_mode=ExitMode.DEFAULT, include=[re.compile("query")]
        )
    assert caught.value.why.startswith("app::query has no poll function")


COMPLETE = EndPoint(0x9000, 0x900, "complete", EndKind.COMPLETE)
DROP = EndPoint(0x9010, 0x910, "drop of app::fetch", EndKind.DROPPED, (FUTURE.address,))


WAKE = WakePoint(0x9020, 0x920, "wake_by_val", HeaderTest(0, 6, 0), cost=InstructionCost.EMULATED)


def test_wakes_of_tasks_that_are_traced_are_probed() -> None:
    made = replace(binary(FUTURE, TOKIO), wakes=(WAKE,))
    for mode in (ExitMode.DEFAULT, ExitMode.RET, ExitMode.TASK):
        plan = make_plan([made], exit_mode=mode)
        (probe,) = [probe for probe in plan.probes if probe.wakes is not None]
        assert (probe.site, probe.group, probe.offset) == (Site.WAKE, Group.WAKES, WAKE.offset)
        assert (probe.cost, plan.wakes[probe.wakes or 0].point) == (WAKE.cost, WAKE)
    assert not make_plan([replace(made, functions=(FUTURE,))], exit_mode=ExitMode.DEFAULT).wakes
    at_an_entry = replace(made, wakes=(replace(WAKE, offset=TOKIO.offset),))
    assert not make_plan([at_an_entry], exit_mode=ExitMode.DEFAULT).wakes


def ends(plan: Plan) -> list[tuple[str, Group, tuple[int, ...]]]:
    found = [(plan.ends[probe.ends], probe) for probe in plan.probes if probe.ends is not None]
    assert all(probe.site is Site.END and probe.offset == end.point.offset for end, probe in found)
    return [(end.point.name, probe.group, end.functions) for end, probe in found]


def test_ends_of_what_is_traced_are_probed() -> None:
    made = replace(binary(FUTURE, TOKIO), ends=(COMPLETE, DROP))
    both = [("complete", Group.TASKS, ()), ("drop of app::fetch", Group.FUTURES, (0,))]
    assert ends(make_plan([made], exit_mode=ExitMode.DEFAULT)) == both
    assert ends(make_plan([made], exit_mode=ExitMode.TASK)) == both[:1]
    assert ends(make_plan([made], exit_mode=ExitMode.DEFAULT, exclude=[re.compile("fetch")])) == both[:1]
    assert ends(make_plan([replace(made, functions=(FUTURE,))], exit_mode=ExitMode.DEFAULT)) == both[1:]
