"""The plan as arrays: what each probe tells, what each function is."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tracer.assemble.arrays import Flags, Indexes, Unsigned
from tracer.assemble.plan_ends import EndColumns, HeaderTests, end_columns, tests_of
from tracer.assemble.plan_sites import Sites, sites_of
from tracer.model import EndKind, FunctionKind, Group, Plan, PlannedEnd, PollFunction, SpawnStep

_ARGUMENTS = re.compile(r"(?<=[\w}])<[^<>]*>")

TASKS, FUTURES, WAKES, SCHEDULING = 0, 1, 2, 3
GROUP_INDEX = {Group.TASKS: TASKS, Group.FUTURES: FUTURES, Group.WAKES: WAKES, Group.SCHEDULING: SCHEDULING}


@dataclass(frozen=True, slots=True)
class Roles:
    """The plan as arrays.  Probe arrays have one row more than probes: that of a probe nobody knows.

    is_usable: it is of something; is_catch: of caught panics; is_mark: of what is no row of a stack.  enters, leaves:
    function index or -1; ends: index into Plan.ends or -1; makes: a task is made there, or (queues) handed to a pool.
    wakes: index into Plan.wakes or -1; effective: of these, the tests of headers of tasks whose wakes lead to polls.
    future: a number for each name (in one binary) of a future, of a task poll that of the future it runs.
    may_be_root: functions other than task polls that have the future of one.  key: what an address is told
    apart by besides itself: the function, but for all task polls the same one.  task_size: of
    task polls, the bytes of the task from its header on; 0: not known.  settled: see
    tracer.assemble.chains.  places: how many the plan has.  scheduling: as Plan has it.
    aborted: of each function, the test of a header that tells an aborted task.  completes: task polls of tasks whose
    end is seen whenever it comes; catches: of such whose panics are.
    """

    is_usable: Flags
    is_catch: Flags
    is_mark: Flags
    enters: npt.NDArray[np.int32]
    leaves: npt.NDArray[np.int32]
    is_tail: Flags
    is_task: Flags
    is_job: Flags
    has_exit: Flags
    function_group: npt.NDArray[np.intp]
    future: Indexes
    may_be_root: Flags
    key: npt.NDArray[np.uint32]
    ends: npt.NDArray[np.int32]
    makes: Flags
    queues: Flags
    sites: Sites
    wakes: npt.NDArray[np.int32]
    effective: HeaderTests
    end_of: EndColumns
    aborted: HeaderTests
    completes: Flags
    catches: Flags
    task_size: Unsigned
    leaves_out_tasks: bool
    settled: Unsigned  # shape (functions, 257)
    places: int
    scheduling: bool


def roles_of(plan: Plan, settled: Unsigned) -> Roles:
    """settled: see tracer.assemble.chains."""
    probes, functions = plan.probes, plan.functions
    has_exit = np.zeros(len(functions), np.bool_)
    is_task = np.array([f.kind is FunctionKind.TASK for f in functions], np.bool_)
    function_group = np.where(is_task, TASKS, FUTURES)
    for probe in probes:
        if probe.leaves is not None:
            has_exit[probe.leaves] = True
        if probe.enters is not None:
            function_group[probe.enters] = GROUP_INDEX[probe.group]
    future = _futures(plan)
    catching = [one.binary for one in plan.ends if _is_catch(one)]
    catching += [number for number, binary in enumerate(plan.binaries) if not binary.can_unwind]
    seen = [one.binary for one in plan.ends if one.point.kind is EndKind.COMPLETE]
    enters = np.array([-1 if p.enters is None else p.enters for p in probes] + [-1], np.int32)
    leaves = np.array([-1 if p.leaves is None else p.leaves for p in probes] + [-1], np.int32)
    ends = np.array([-1 if p.ends is None else p.ends for p in probes] + [-1], np.int32)
    wakes = np.array([-1 if p.wakes is None else p.wakes for p in probes] + [-1], np.int32)
    makes = np.array([p.spawns is not None and _makes(plan, p.spawns) for p in probes] + [False], np.bool_)
    is_catch = np.array([p.ends is not None and _is_catch(plan.ends[p.ends]) for p in probes] + [False], np.bool_)
    is_mark = ((ends >= 0) & ~is_catch) | makes | (wakes >= 0)
    return Roles(
        is_usable=(enters >= 0) | (leaves >= 0) | is_catch | is_mark,
        is_catch=is_catch,
        is_mark=is_mark,
        enters=enters,
        leaves=leaves,
        is_tail=np.array([p.is_tail for p in probes] + [False], np.bool_),
        is_task=is_task,
        is_job=np.array([f.is_job for f in functions], np.bool_),
        has_exit=has_exit,
        function_group=function_group,
        future=future,
        may_be_root=~is_task & np.isin(future, future[is_task]),
        key=np.where(is_task, np.argmax(is_task) if len(is_task) else 0, np.arange(len(functions))).astype(np.uint32),
        ends=ends,
        makes=makes,
        queues=np.array([p.spawns is not None and _queues(plan, p.spawns) for p in probes] + [False], np.bool_),
        sites=sites_of(plan),
        wakes=wakes,
        effective=tests_of([one.point.effective for one in plan.wakes], otherwise=(0, 1)),
        end_of=end_columns(plan, int(np.argmax(is_task)) if is_task.any() else 0),
        aborted=tests_of([function.aborted for function in functions], otherwise=(0, 1)),
        completes=is_task & np.isin(plan.function_binary, seen),
        catches=is_task & np.isin(plan.function_binary, catching),
        task_size=np.array([_task_size(plan, one) for one in functions], np.uint64),
        leaves_out_tasks=plan.leaves_out_tasks,
        settled=settled,
        places=len(plan.places),
        scheduling=plan.scheduling,
    )


def _is_catch(end: PlannedEnd) -> bool:
    return end.point.kind is EndKind.CAUGHT


def _task_size(plan: Plan, function: PollFunction) -> int:
    if function.kind is not FunctionKind.TASK or function.layout is None:
        return 0
    return plan.layouts[function.layout].size


def _makes(plan: Plan, spawn: int) -> bool:
    return plan.spawns[spawn].point.step is not SpawnStep.CALLED


def _queues(plan: Plan, spawn: int) -> bool:
    return plan.spawns[spawn].point.step is SpawnStep.QUEUED


def _futures(plan: Plan) -> Indexes:
    numbers: dict[tuple[int, str], int] = {}
    named = {
        (binary, one.name)
        for binary, one in zip(plan.function_binary, plan.functions, strict=True)
        if one.kind is not FunctionKind.TASK
    }
    found = []
    for binary, function in zip(plan.function_binary, plan.functions, strict=True):
        name = function.name.removeprefix("task ")
        if (binary, name) not in named:
            # Legacy symbols do not have a generic async fn's arguments, which its task's type has.
            name = _without_arguments(name)
        found.append(numbers.setdefault((binary, name), len(numbers)))
    return np.array(found, np.intp)


def _without_arguments(name: str) -> str:
    """`crate::serve<L, M>::{async block}` as `crate::serve::{async block}`."""
    name, count = name.replace("->", ""), 1
    while count:
        name, count = _ARGUMENTS.subn("", name)
    return name
