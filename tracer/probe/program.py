"""bpf/poll.c loaded for one plan: its maps filled, its counters read.

The record layouts are those of bpf/events.h.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tracer.errors import AttachFailed, NotTraceable, PermissionMissing
from tracer.model import (
    Array,
    EndKind,
    FunctionKind,
    Group,
    Plan,
    PollFunction,
    Probe,
    Process,
    Register,
    Site,
    SpawnStep,
    Thread,
    WakeOrigin,
)
from tracer.probe.bpf_program import BpfProgram
from tracer.probe.kernel import ATTACH_UPROBE_MULTI, cpus
from tracer.probe.scheduling import TRACEPOINTS, Tracepoints
from tracer.probe.variant import SOURCE, Variant
from tracer.probe.walk import Walks, make_walks

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
CPU_STATE = np.dtype(
    [
        ("lost", "<u8"),
        ("sent", "<u8"),
        ("threads", "<u8"),
        ("silent", "<u8"),
        ("last_tid", "<u4"),
        ("_pad", "<u4"),
    ]
)
SILENT_HITS = np.dtype([("count", "<u4", 512)])
THREAD = np.dtype([("tgid", "<u4"), ("comm", "S16")])

_ENTERS, _LEAVES, _TAIL, _REMEMBER, _RESULT, _RECALL, _TASK_ID, _ENDS = 1, 2, 4, 8, 16, 32, 64, 128
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
_GROUPS = (Group.TASKS, Group.FUTURES, Group.WAKES, Group.SCHEDULING)

_NEAR_FRAMES, _FAR_FRAMES = 4_096, 16_384
"""Threads whose functions under way are remembered, and functions of theirs beyond that: 8 MiB of kernel memory."""
_THREADS = 16_384
_TASKS = 131_072
"""Tasks whose ids are known to be told; one that is not among them is told again: 10 MiB of kernel memory."""

_SPARE_PROBES = 16

_SILENT_BLOCK: int = SILENT_HITS["count"].shape[0]
_KINDS_OF_SILENCE = 2
_FEW_SILENT = 256
"""So few hits that sent nothing are not worth a look at whose they are: 0.1 ms of the target's time, or some more."""


@dataclass(frozen=True, slots=True)
class Counters:
    """Per CPU, as of one moment: sequence numbers given out, and events without room."""

    sent: npt.NDArray[np.uint64]
    lost: npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Unseen:
    """What took the target's time and sent no event: hits, by probe, and the time in which stacks were taken, ns.

    passed: what the probe is for did not happen there, or an event to come tells of it.  leaving: it was being
    attached or detached.
    """

    passed: npt.NDArray[np.int64]
    leaving: npt.NDArray[np.int64]
    stacks: int = 0

    @staticmethod
    def none(probes: int) -> Unseen:
        return Unseen(np.zeros(probes, np.int64), np.zeros(probes, np.int64))


class PollProgram:
    """ring_pages: size of the ring buffer in pages, when the variant has one.

    tracepoints: what runs where threads are scheduled; None: that is not planned, or, as no_scheduling says, not to
    be had here.
    Raises what BpfProgram raises.
    """

    def __init__(self, plan: Plan, variant: Variant, *, ring_pages: int, cache: Path) -> None:
        self.tracepoints: Tracepoints | None = None
        self.no_scheduling = variant.no_scheduling
        # The last ids are free for the calibration's own probes.
        self._spare_id = len(plan.probes)
        walks = make_walks(plan.functions, plan.layouts)
        probes = self._spare_id + _SPARE_PROBES
        entries = {
            "probes": probes,
            "places": probes,
            "silent_hits": _silent_blocks(probes),
            "near_frames": _NEAR_FRAMES,
            "far_frames": _FAR_FRAMES,
            "threads": _THREADS,
            "spawn_calls": _THREADS,
            "driver_calls": _THREADS,
            "pollings": _THREADS,
            "own_ids": _THREADS,
            "task_ids": _TASKS,
            "walk_nodes": len(walks.nodes),
            "walk_edges": max(len(walks.edges), 1),
        }
        if variant.is_ring:
            entries["events"] = ring_pages * mmap.PAGESIZE
        by_place = variant.by_place
        self.bpf = BpfProgram(SOURCE, variant.defines, cache, entries)
        try:
            attach_type = 0 if by_place else ATTACH_UPROBE_MULTI
            self.at_instruction = self.bpf.load("at_instruction", attach_type)
            self.at_return = self.bpf.load("at_return", attach_type)
            if plan.scheduling and "SCHEDULING" in variant.defines:
                self._load_tracepoints()
            self._prepare(plan, walks, by_place)
        except BaseException:
            self.bpf.close()
            raise

    def _load_tracepoints(self) -> None:
        try:
            programs = {name: self.bpf.load_raw_tracepoint(function) for name, function in TRACEPOINTS.items()}
            tracepoints = Tracepoints(programs)
            tracepoints.detach(tracepoints.attach())  # while it can still be done without
        except (AttachFailed, NotTraceable, PermissionMissing) as error:
            self.no_scheduling = f"{error.what} {error.why}".strip()
        except OSError as error:
            self.no_scheduling = f"the kernel refused its tracepoints: {error}"
        else:
            self.tracepoints = tracepoints

    def _prepare(self, plan: Plan, walks: Walks, by_place: bool) -> None:
        self._processes = self.bpf.map("processes", 4, 4)
        self._epochs = self.bpf.map("epochs", 4, 4)
        self._epoch = dict.fromkeys(_GROUPS, 0)
        self._link_is_on = self.bpf.map("link_is_on", 4, 4)
        self._cpus = self.bpf.map("cpus", 4, CPU_STATE.itemsize * (cpus("possible")[-1] + 1))
        self._silent = self.bpf.map("silent_hits", 4, SILENT_HITS.itemsize * (cpus("possible")[-1] + 1))
        self._silent_blocks = _silent_blocks(len(plan.probes))
        self._silent_looked = 0
        self._silent_seen = self._silent_counts()
        self._threads = self.bpf.map("threads", 4, THREAD.itemsize)
        self._known: set[int] = set()
        self._threads_seen = 0
        self._places = self.bpf.map("places", 16, 4) if by_place else None
        self._probes = self.bpf.map("probes", 4, PROBE.itemsize)
        for name, table in (("walk_nodes", walks.nodes), ("walk_edges", walks.edges)):
            entries = self.bpf.map(name, 4, table.itemsize)
            for index, entry in enumerate(table):
                entries.update(struct.pack("<I", index), entry.tobytes())
        self._records = self._describe(plan, walks.roots)
        self._remembers = (self._records["roles"] & _REMEMBER) != 0

    def _describe(self, plan: Plan, roots: Sequence[int]) -> Array:
        records = probe_records(plan, roots, by_place=self._places is not None)
        for probe, record in zip(plan.probes, records, strict=True):
            self._probes.update(struct.pack("<I", probe.id), record.tobytes())
        return records

    def add_spare(self, plan: Plan) -> Plan:
        """Let a small plan of our own in, beside the real one and instead of another such; returns
        it with the ids it got."""
        probes = tuple(replace(probe, id=self._spare_id + probe.id) for probe in plan.probes)
        spare = replace(plan, probes=probes)
        self._describe(spare, (0,) * len(spare.functions))
        return spare

    def start_counting(self) -> None:
        """Forget what was counted so far; threads seen are not new any more.  Nothing may be hit meanwhile."""
        self.new_threads()
        self._cpus.update(b"\0\0\0\0", bytes(CPU_STATE.itemsize * (cpus("possible")[-1] + 1)))
        self._threads_seen = self._silent_looked = 0
        self._silent_seen = self._silent_counts()

    def trace(self, process: Process, plan: Plan) -> None:
        """Let the hits of this process through."""
        if self._places is not None:
            for probe in plan.probes:
                if probe.binary == process.binary and probe.site is not Site.RETURN:
                    place = struct.pack("<QII", process.load_bias + address_of(plan, probe), process.pid, 0)
                    self._places.update(place, struct.pack("<I", probe.id))
        self._processes.update(struct.pack("<I", process.pid), struct.pack("<I", 1))

    def begin_epoch(self, group: Group) -> None:
        """Send this group's hits from here on.  Functions under way at an earlier end are forgotten."""
        self._epoch[group] += 1
        self._set_epoch(group, self._epoch[group])

    def epoch_of(self, group: Group) -> int:
        """The number of its latest epoch; 0: it had none."""
        return self._epoch[group]

    def end_epoch(self, group: Group) -> None:
        """Send no hit of this group from here on."""
        self._set_epoch(group, 0)

    def silence(self, probes: Sequence[int]) -> None:
        """Send no hit of these probes from here on.  What begins is not remembered for an exit that is among them."""
        self._records["is_off"][probes] = 1
        self._remember(self._of_their_functions(probes))

    def hear(self, probes: Sequence[int]) -> None:
        """Send them again.  Calls of their functions that began before are forgotten."""
        self._records["is_off"][probes] = 0
        changed = self._of_their_functions(probes)
        self._records["turn"][changed] += 1  # an entry and its exit must agree
        self._remember(changed)

    def _of_their_functions(self, probes: Sequence[int]) -> list[int]:
        """These, and all others that enter or leave the same functions."""
        records = self._records
        functions = np.union1d(records["enters"][probes], records["leaves"][probes])
        functions = functions[functions != 0]
        others = np.isin(records["enters"], functions) | np.isin(records["leaves"], functions)
        others[probes] = True
        found: list[int] = np.flatnonzero(others).tolist()
        return found

    def _remember(self, changed: Sequence[int]) -> None:
        """Tell the kernel side these probes, of which entries remember only for exits that are heard."""
        heard = np.unique(self._records["leaves"][self._records["is_off"] == 0])
        remembers = self._remembers & np.isin(self._records["enters"], heard)
        self._records["roles"] = np.where(
            remembers, self._records["roles"] | _REMEMBER, self._records["roles"] & ~np.uint8(_REMEMBER)
        )
        for number in changed:
            self._probes.update(struct.pack("<I", number), self._records[number].tobytes())

    def switch_link(self, link: int, is_on: bool) -> None:
        """Send what comes by this link (below MAX_LINKS), or do not.  0 is always on."""
        if link:
            self._link_is_on.update(struct.pack("<I", link), struct.pack("<I", is_on))

    def _set_epoch(self, group: Group, epoch: int) -> None:
        self._epochs.update(struct.pack("<I", _GROUPS.index(group)), struct.pack("<I", epoch))

    def counters(self) -> Counters:
        states = self._cpu_states()
        return Counters(states["sent"].copy(), states["lost"].copy())

    def silent_hits(self) -> Unseen:
        """Since the last call; none yet while they are few."""
        total = int(self._cpu_states()["silent"].sum())
        if total - self._silent_looked < _FEW_SILENT:
            return Unseen.none(len(self._records))
        self._silent_looked = total
        counts = self._silent_counts()
        new = (counts - self._silent_seen).sum(axis=0, dtype=np.int64).reshape(-1, _KINDS_OF_SILENCE)
        self._silent_seen = counts
        return Unseen(*new[: len(self._records)].T)

    def _silent_counts(self) -> npt.NDArray[np.uint32]:
        """By CPU, of each probe one of each kind; they begin anew when they are full."""
        blocks = []
        for number in range(self._silent_blocks):
            value = self._silent.lookup(struct.pack("<I", number))
            if value is None:
                raise AttachFailed("The kernel's counters cannot be read.")
            blocks.append(np.frombuffer(value, SILENT_HITS)["count"])
        return np.concatenate(blocks, axis=1)

    def new_threads(self) -> list[Thread]:
        """Threads whose first hit came since the last call."""
        seen = int(self._cpu_states()["threads"].sum())
        if seen == self._threads_seen:
            return []
        self._threads_seen = seen
        found: list[Thread] = []
        for key in self._threads:
            tid = int.from_bytes(key, "little")
            if tid in self._known:
                continue
            value = self._threads.lookup(key)
            if value is None:
                continue
            self._known.add(tid)
            record = np.frombuffer(value, THREAD)[0]
            found.append(Thread(tid, int(record["tgid"]), bytes(record["comm"]).decode(errors="replace")))
        return found

    def _cpu_states(self) -> Array:
        value = self._cpus.lookup(b"\0\0\0\0")
        if value is None:
            raise AttachFailed("The kernel's counters cannot be read.")
        return np.frombuffer(value, CPU_STATE)

    def close(self) -> None:
        self.bpf.close()


def _silent_blocks(probes: int) -> int:
    """With room for so many; at least one."""
    return _KINDS_OF_SILENCE * probes // _SILENT_BLOCK + 1


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
        record["group"] = _GROUPS.index(probe.group)
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
                record["roles"] |= _REMEMBER
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
