"""What user space and the BPF programs exchange has the same layout on both sides."""

from __future__ import annotations

import ctypes
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.probe.made import binary, function, task
from tracer.model import (
    EVENT,
    Array,
    EventFlag,
    ExitKind,
    ExitMode,
    ExitSite,
    Group,
    HeaderTest,
    InstructionCost,
    Plan,
    Probe,
    Register,
    ResultEncoding,
    Site,
    SpawnPoint,
    SpawnStep,
    TaskIdPath,
    WakePoint,
)
from tracer.probe import perf
from tracer.probe.instructions import _reason, wrong_instructions
from tracer.probe.plan import make_plan
from tracer.probe.program import CPU_STATE, THREAD
from tracer.probe.records import PROBE, probe_records
from tracer.probe.silent import SILENT_HITS
from tracer.probe.sources import bpf_folder
from tracer.probe.stacks import POLLING, STACK_COUNTS, STACK_HEAD
from tracer.probe.walk import WALK_NODE

HEADER = (bpf_folder() / "events.h").read_text(encoding="utf-8")
TYPES: dict[str, Any] = {
    "u64": ctypes.c_uint64,
    "u32": ctypes.c_uint32,
    "u16": ctypes.c_uint16,
    "u8": ctypes.c_uint8,
    "char": ctypes.c_char,
    "pt_regs": ctypes.c_uint64 * 21,
}


def c_structure(name: str) -> type[ctypes.Structure]:
    body = re.search(rf"struct {name} \{{(.*?)\n\}};", HEADER, re.DOTALL)
    assert body is not None
    text = re.sub(r"/\*.*?\*/", "", body[1], flags=re.DOTALL)
    fields = []
    for kind, field, length in re.findall(r"(\w+) (\w+)(?:\[(\d+)\])?;", text):
        fields.append((field, TYPES[kind] * int(length) if length else TYPES[kind]))
    return type(name, (ctypes.Structure,), {"_fields_": fields})


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("event", EVENT),
        ("probe", PROBE),
        ("cpu_state", CPU_STATE),
        ("silent_hits", SILENT_HITS),
        ("thread", THREAD),
        ("walk_node", WALK_NODE),
        ("polling", POLLING),
        ("stack_head", STACK_HEAD),
        ("stack_counts", STACK_COUNTS),
    ],
)
def test_layouts_agree(name: str, record: np.dtype[np.void]) -> None:
    structure = c_structure(name)
    assert ctypes.sizeof(structure) == record.itemsize
    assert record.fields is not None
    assert [(f, getattr(structure, f).offset, getattr(structure, f).size) for f, *_ in structure._fields_] == [
        (field, offset, kind.itemsize) for field, (kind, offset, *_) in record.fields.items()
    ]


def test_flags_agree() -> None:
    defined = dict(re.findall(r"EVENT_(\w+) = (\d+)", HEADER))
    assert {name: int(value) for name, value in defined.items()} == {
        name: flag.value for name, flag in EventFlag.__members__.items()
    }


ENTERS, LEAVES, TAIL, REMEMBER, RESULT, RECALL, TASK_ID = 1, 2, 4, 8, 16, 32, 64


def test_what_the_kernel_side_is_told() -> None:
    encoding = ResultEncoding(mask=0xFF, pending=1)
    future = function("app::fetch", 0x100, state_offset=0x20, result=encoding)
    plan = make_plan([binary(future, task("raw::poll", 0x200))], exit_mode=ExitMode.DEFAULT)
    keys = [(probe.site, probe.group) for probe in plan.probes]
    records = dict(zip(keys, probe_records(plan, by_place=False), strict=True))
    entry = records[Site.ENTRY, Group.FUTURES]
    assert (entry["roles"], entry["self"], entry["entry_state"], entry["enters"]) == (ENTERS | REMEMBER, 1, 0x20, 1)
    leave = records[Site.EXIT, Group.FUTURES]
    assert leave["roles"] == LEAVES | RESULT | RECALL
    assert (leave["exit_state"], leave["result_mask"], leave["result_pending"]) == (0x20, 0xFF, 1)
    poll = records[Site.ENTRY, Group.TASKS]
    assert plan.probes[poll["return_probe"] - 1].site is Site.RETURN
    assert (poll["roles"], poll["entry_state"]) == (ENTERS, 0xFFFFFFFF)
    assert records[Site.RETURN, Group.TASKS]["roles"] == LEAVES


def test_stacks_are_taken_in_polls_of_tasks_only() -> None:
    job = replace(task("raw::poll", 0x300), is_job=True)
    plan = make_plan([binary(function("app::fetch", 0x100), task("raw::poll", 0x200), job)], exit_mode=ExitMode.DEFAULT)
    records = probe_records(plan, by_place=False)
    marked = {(plan.probes[index].enters, plan.probes[index].leaves) for index in np.flatnonzero(records["polls_task"])}
    assert marked == {(1, None), (None, 1)}


def test_what_is_remembered_only_where_links_have_no_cookie() -> None:
    plan = make_plan([binary(task("raw::poll", 0x200))], exit_mode=ExitMode.DEFAULT)
    assert probe_records(plan, by_place=True)["roles"].tolist() == [ENTERS | REMEMBER, LEAVES | RECALL]


def test_nothing_is_remembered_for_no_exit() -> None:
    future = function("app::fetch", 0x100, state_offset=0x20)
    only_entries = probe_records(make_plan([binary(future)], exit_mode=ExitMode.TASK), by_place=False)
    assert only_entries["roles"].tolist() == [ENTERS]


def test_a_tail_jump_is_told() -> None:
    thunk = function("app::thunk", 0x500, exits=(ExitSite(0x510, ExitKind.TAIL),), state_offset=0)
    records = probe_records(make_plan([binary(thunk)], exit_mode=ExitMode.DEFAULT), by_place=False)
    assert records["roles"].tolist() == [ENTERS | REMEMBER, LEAVES | TAIL | RECALL]


def test_how_far_after_the_call_a_return_is_seen() -> None:
    site = ExitSite(0x650, ExitKind.RETURNED, InstructionCost.EMULATED, after=7)
    called = function("app::fetch", 0x100, state_offset=0x20, returned=(site,))
    plan = make_plan([binary(called)], exit_mode=ExitMode.DEFAULT)
    records = probe_records(plan, by_place=False)
    assert records["roles"].tolist() == [ENTERS | REMEMBER, LEAVES | RECALL]
    assert records["after_call"].tolist() == [0, 8]


def test_what_is_entered_by_a_call() -> None:
    called = function("app::fetch", 0x100, state_offset=0x20, called=(0x640,))
    plan = make_plan([binary(called)], exit_mode=ExitMode.DEFAULT)
    records = {plan.probes[index].site: one for index, one in enumerate(probe_records(plan, by_place=False))}
    assert {site: int(one["is_call"]) for site, one in records.items()} == {Site.CALL: 1, Site.EXIT: 0}
    assert records[Site.CALL]["roles"] == ENTERS | REMEMBER


def sample(number: int) -> bytes:
    event = np.zeros(1, EVENT)
    event["time"] = number
    return struct.pack("<IHHI", 9, 2, 56, 44) + event.tobytes() + b"\xaa" * 4


def lost(count: int) -> bytes:
    return struct.pack("<IHHQQ", 2, 0, 24, 7, count)


@pytest.mark.parametrize(
    ("records", "times", "dropped"),
    [
        ([], [], 0),
        ([sample(1), sample(2), sample(3)], [1, 2, 3], 0),
        ([lost(5), sample(1), sample(2), lost(7), lost(1), sample(3)], [1, 2, 3], 13),
        ([sample(1), lost(4)], [1], 4),
        ([struct.pack("<IHHQ", 5, 0, 16, 0), sample(1)], [1], 0),
    ],
)
def test_perf_records(records: list[bytes], times: list[int], dropped: int) -> None:
    events, count = perf.decode(np.frombuffer(b"".join(records), np.uint8))
    assert (events["time"].tolist(), count) == (times, dropped)


@pytest.mark.parametrize(
    ("code", "site", "is_tail", "is_fine"),
    [
        ("554889", Site.ENTRY, False, True),
        ("f04801", Site.ENTRY, False, False),
        ("2e6690", Site.ENTRY, False, False),
        ("cc4889", Site.ENTRY, False, False),
        ("c3cccc", Site.EXIT, False, True),
        ("f3c390", Site.EXIT, False, True),
        ("c20800", Site.EXIT, False, True),
        ("905dc3", Site.EXIT, False, False),
        ("e90000", Site.EXIT, True, True),
        ("eb1090", Site.EXIT, True, True),
        ("ffe090", Site.EXIT, True, True),
        ("41ffe4", Site.EXIT, True, True),
        ("ff2500", Site.EXIT, True, True),
        ("ffd090", Site.EXIT, True, False),
        ("c3cccc", Site.EXIT, True, False),
        ("c3", Site.EXIT, False, False),
        ("c3cccc", Site.RETURN, False, True),
        ("e80000", Site.CALL, False, True),
        ("ff1500", Site.CALL, False, False),
        ("740285", Site.RETURNED, False, True),
        ("0f8400", Site.RETURNED, False, True),
        ("e80000", Site.RETURNED, False, True),
        ("415485", Site.RETURNED, False, True),
        ("85c074", Site.RETURNED, False, False),
        ("0f1f00", Site.RETURNED, False, False),
        ("4885c0", Site.RETURNED, False, False),
    ],
)
def test_bytes_that_may_be_probed(code: str, site: Site, is_tail: bool, is_fine: bool) -> None:
    entered, left = (0, None) if site in (Site.ENTRY, Site.CALL) else (None, 0)
    probe = Probe(0, 0, 0, site, Group.FUTURES, entered, left, is_tail, InstructionCost.STEPPED)
    assert (_reason(probe, bytes.fromhex(code)) is None) is is_fine


@pytest.mark.parametrize(("code", "is_fine"), [("90e800000000", True), ("ff1500000000", True), ("ff25e8000000", False)])
def test_a_return_is_seen_only_after_a_call(tmp_path: Path, code: str, is_fine: bool) -> None:
    executable = tmp_path / "program"
    executable.write_bytes(bytes.fromhex(code + "85c0 7402") + bytes(16))
    probe = Probe(0, 0, 8, Site.RETURNED, Group.FUTURES, None, 0, cost=InstructionCost.EMULATED, after=2)
    assert (wrong_instructions(executable, [probe]) == {}) is is_fine
    assert wrong_instructions(executable, [replace(probe, after=9)]) != {}


def test_the_way_to_a_tasks_id() -> None:
    """Only where a task poll begins."""
    poll = replace(task("raw::poll", 0x200), task_id=TaskIdPath(16, 72))
    plan = make_plan([binary(poll, task("run", 0x300, "async-task"))], exit_mode=ExitMode.RET)
    told = [(int(one["roles"]) & TASK_ID, int(one["id_vtable"]), int(one["id_offset"])) for one in records_of(plan)]
    assert [one for one in told if one[0]] == [(TASK_ID, 16, 72)]
    assert {one[1:] for one in told if not one[0]} == {(0, 0)}


def test_which_byte_of_whose_header_a_wake_reads() -> None:
    test = HeaderTest(8, 13, 0)
    wakes = (WakePoint(0x9000, 0x900, "wake", test), WakePoint(0x9010, 0x910, "abort", test, is_indirect=True))
    plan = make_plan([replace(binary(task("raw::poll", 0x200)), wakes=wakes)], exit_mode=ExitMode.RET)
    told = [(int(one["wakes"]), int(one["entry_state"]), int(one["roles"])) for one in records_of(plan)[-2:]]
    assert told == [(1, 8, 0), (2, 8, 0)]
    assert not records_of(plan)["wakes"][:-2].any()


def records_of(plan: Plan) -> Array:
    return probe_records(plan, by_place=False)


def test_spawns_are_probed_where_tasks_are_traced() -> None:
    call = SpawnPoint(0x10300, 0x300, "spawn", SpawnStep.CALLED, Register.RCX, cost=InstructionCost.EMULATED)
    made = SpawnPoint(0x10400, 0x400, "bind", SpawnStep.MADE, Register.RAX, is_return=True)
    taken = SpawnPoint(0x10200, 0x200, "merged with a poll", SpawnStep.MADE, Register.RDI)
    spawning = replace(binary(function("app::fetch", 0x100), task("raw::poll", 0x200)), spawns=(taken, call, made))
    plan = make_plan([spawning], exit_mode=ExitMode.DEFAULT)
    assert [one.point for one in plan.spawns] == [call, made]
    records = probe_records(plan, by_place=False)
    probes = [probe for probe in plan.probes if probe.spawns is not None]
    assert [probe.site for probe in probes] == [Site.SPAWN, Site.SPAWNED]
    assert {probe.group for probe in probes} == {Group.TASKS}
    told = [
        tuple(int(records[probe.id][name]) for name in ("spawns", "spawn_step", "self", "roles")) for probe in probes
    ]
    assert told == [(1, 1, 4, 0), (2, 2, 5, 0)]
    assert _reason(probes[1], b"\xc3\x90\x90") is None
    assert "return" in str(_reason(probes[1], b"\x55\x90\x90"))

    alone = replace(binary(function("app::fetch", 0x100)), spawns=(call, made))
    assert make_plan([alone], exit_mode=ExitMode.DEFAULT).spawns == ()
