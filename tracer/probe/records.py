"""What the kernel side must know of each probe, as bpf/events.h lays it out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tracer.model import (
    Array,
    EndKind,
    FunctionKind,
    Group,
    Plan,
    PollFunction,
    Probe,
    Register,
    Site,
    SpawnStep,
    WakeOrigin,
)

PROBE = np.dtype(
    [
        ("result_mask", "<u8"),
        ("result_pending", "<u8"),
        ("entry_state", "<u4"),
        ("exit_state", "<u4"),
        ("enters", "<u4"),
        ("leaves", "<u4"),
        ("return_probe", "<u4"),
        ("id_vtable", "<u2"),
        ("id_offset", "<u2"),
        ("id_distance", "<u4"),
        ("walk", "<u4"),
        ("roles", "u1"),
        ("self", "u1"),
        ("group", "u1"),
        ("of_header", "u1"),
        ("spawns", "<u2"),
        ("spawn_step", "u1"),
        ("wakes", "u1"),
        ("polls_task", "u1"),
        ("is_off", "u1"),
        ("turn", "<u2"),
        ("after_call", "u1"),
        ("is_call", "u1"),
        ("_pad", "u1", 2),
    ]
)

_ENTERS, _LEAVES, _TAIL, REMEMBERS, _RESULT, _RECALL, _TASK_ID, _ENDS = 1, 2, 4, 8, 16, 32, 64, 128
_NO_OFFSET = 0xFFFFFFFF
_CALLER = 6
"""Of where a panic is caught: not a register, but how far away the call is."""
_REGISTERS = {None: 0, Register.RDI: 1, Register.RSI: 2, Register.RDX: 3, Register.RCX: 4, Register.RAX: 5}
_STEPS = {SpawnStep.CALLED: 1, SpawnStep.MADE: 2, SpawnStep.QUEUED: 2}
_TELLS_CALLER = 4
_MOST_SPAWNS = 0xFFFF
"""A record has no room for a higher number: such a call's place is not told."""
_WAKES = {(False, None): 1, (True, None): 2, (False, Register.RAX): 3}
"""By WakePoint.is_indirect and state."""
_BEGINS = {WakeOrigin.TIMER: 4, WakeOrigin.IO: 5}
"""By what the wakes come from that are made below."""
GROUPS = (Group.TASKS, Group.FUTURES, Group.WAKES, Group.SCHEDULING)


def address_of(plan: Plan, probe: Probe) -> int:
    """The link-time address of a probe: it lies in the segment of the function it belongs to."""
    if probe.ends is not None:
        return plan.ends[probe.ends].point.address
    if probe.spawns is not None:
        return plan.spawns[probe.spawns].point.address
    if probe.wakes is not None:
        return plan.wakes[probe.wakes].point.address
    index = probe.enters if probe.enters is not None else probe.leaves
    assert index is not None, "a probe has a role"
    function = plan.functions[index]
    return function.address + probe.offset - function.offset


def probe_records(plan: Plan, roots: Sequence[int] = (), *, by_place: bool) -> Array:
    """What the kernel side must know of each probe: dtype PROBE, in the order of plan.probes.

    roots: by function, where its walk begins, 0: nowhere; none at all: nobody walks.

    A frame is remembered, which costs 0.2 us, only where its exit needs it: to read the state
    there, or (by_place) to know what returns.
    """
    records = np.zeros(len(plan.probes), PROBE)
    records["entry_state"] = records["exit_state"] = _NO_OFFSET
    left = {probe.leaves for probe in plan.probes}
    returns = {probe.leaves: probe.id for probe in plan.probes if probe.site is Site.RETURN}
    for probe, record in zip(plan.probes, records, strict=True):
        record["group"] = GROUPS.index(probe.group)
        if probe.enters is not None:
            entered = plan.functions[probe.enters]
            record["roles"] |= _ENTERS
            record["enters"] = probe.enters + 1
            record["polls_task"] = _polls_task(entered)
            record["is_call"] = probe.site is Site.CALL
            record["self"] = _REGISTERS[entered.self_register]
            record["entry_state"] = _state_offset(entered)
            record["walk"] = roots[probe.enters] if roots else 0
            if entered.aborted is not None:
                record["entry_state"], record["of_header"] = entered.aborted.offset, True
            if entered.task_id is not None and entered.self_register is not None:
                record["roles"] |= _TASK_ID
                record["id_vtable"], record["id_offset"] = entered.task_id.vtable, entered.task_id.offset
            record["return_probe"] = returns.get(probe.enters, -1) + 1
            is_needed = entered.state_offset is not None or (by_place and record["return_probe"])
            if is_needed and probe.enters in left and probe.leaves != probe.enters:
                record["roles"] |= REMEMBERS
        if probe.ends is not None:
            point = plan.ends[probe.ends].point
            record["roles"] |= _ENDS
            record["self"] = _CALLER if point.kind is EndKind.CAUGHT else _REGISTERS[Register.RDI]
            test = point.only_if or point.done or point.undone
            if test is not None:
                record["entry_state"] = test.offset
            elif point.state_offset is not None:
                record["entry_state"] = point.state_offset
        if probe.spawns is not None:
            spawn = plan.spawns[probe.spawns].point
            record["self"] = _REGISTERS[spawn.register]
            record["spawn_step"] = _STEPS[spawn.step] | (_TELLS_CALLER if spawn.tells_caller else 0)
            record["spawns"] = probe.spawns + 1 if probe.spawns < _MOST_SPAWNS else 0
        if probe.wakes is not None:
            wake = plan.wakes[probe.wakes].point
            record["wakes"] = _BEGINS[wake.begins] if wake.begins else _WAKES[wake.is_indirect, wake.state]
            record["entry_state"] = wake.effective.offset
        if probe.leaves is not None:
            function = plan.functions[probe.leaves]
            record["roles"] |= _LEAVES
            if function.state_offset is not None or (by_place and probe.site is Site.RETURN):
                record["roles"] |= _RECALL
            record["leaves"] = probe.leaves + 1
            record["polls_task"] = _polls_task(function)
            record["exit_state"] = _state_offset(function)
            if probe.is_tail:
                record["roles"] |= _TAIL
            if probe.site is Site.RETURNED:
                record["after_call"] = probe.after + 1
            if function.result is not None:
                record["roles"] |= _RESULT
                record["result_mask"] = function.result.mask
                record["result_pending"] = function.result.pending
    return records


def _state_offset(function: PollFunction) -> int:
    return _NO_OFFSET if function.state_offset is None else function.state_offset


def _polls_task(function: PollFunction) -> bool:
    """Whether to take stacks in it: a blocking job may block."""
    return function.kind is FunctionKind.TASK and not function.is_job
