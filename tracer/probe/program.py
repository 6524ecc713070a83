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
    Group,
    Plan,
    Process,
    Site,
    Thread,
)
from tracer.probe.bpf_program import BpfProgram
from tracer.probe.kernel import ATTACH_UPROBE_MULTI, cpus
from tracer.probe.records import GROUPS, PROBE, REMEMBERS, address_of, probe_records
from tracer.probe.scheduling import TRACEPOINTS, Tracepoints
from tracer.probe.silent import SILENT_HITS, SilentHits, Unseen, blocks_for
from tracer.probe.variant import SOURCE, Variant
from tracer.probe.walk import Walks, make_walks

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
THREAD = np.dtype([("tgid", "<u4"), ("comm", "S16")])

_NEAR_FRAMES, _FAR_FRAMES = 4_096, 16_384
"""Threads whose functions under way are remembered, and functions of theirs beyond that: 8 MiB of kernel memory."""
_THREADS = 16_384
_TASKS = 131_072
"""Tasks whose ids are known to be told; one that is not among them is told again: 10 MiB of kernel memory."""

_SPARE_PROBES = 16


@dataclass(frozen=True, slots=True)
class Counters:
    """Per CPU, as of one moment: sequence numbers given out, and events without room."""

    sent: npt.NDArray[np.uint64]
    lost: npt.NDArray[np.uint64]


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
            "silent_hits": blocks_for(probes),
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
        # BCC counts the CPUs for the latter by /sys, which a container need not have.
        entries["events"] = ring_pages * mmap.PAGESIZE if variant.is_ring else cpus("possible")[-1] + 1
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
        self._epoch = dict.fromkeys(GROUPS, 0)
        self._link_is_on = self.bpf.map("link_is_on", 4, 4)
        self._cpus = self.bpf.map("cpus", 4, CPU_STATE.itemsize * (cpus("possible")[-1] + 1))
        silent = self.bpf.map("silent_hits", 4, SILENT_HITS.itemsize * (cpus("possible")[-1] + 1))
        self._silent = SilentHits(silent, len(plan.probes))
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
        self._remembers = (self._records["roles"] & REMEMBERS) != 0

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
        self._threads_seen = 0
        self._silent.forget()

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
            remembers, self._records["roles"] | REMEMBERS, self._records["roles"] & ~np.uint8(REMEMBERS)
        )
        for number in changed:
            self._probes.update(struct.pack("<I", number), self._records[number].tobytes())

    def switch_link(self, link: int, is_on: bool) -> None:
        """Send what comes by this link (below MAX_LINKS), or do not.  0 is always on."""
        if link:
            self._link_is_on.update(struct.pack("<I", link), struct.pack("<I", is_on))

    def _set_epoch(self, group: Group, epoch: int) -> None:
        self._epochs.update(struct.pack("<I", GROUPS.index(group)), struct.pack("<I", epoch))

    def counters(self) -> Counters:
        states = self._cpu_states()
        return Counters(states["sent"].copy(), states["lost"].copy())

    def silent_hits(self) -> Unseen:
        """Since the last call; none yet while they are few."""
        return self._silent.new(int(self._cpu_states()["silent"].sum()))

    def new_threads(self) -> list[Thread]:
        """Threads whose first hit came since the last call."""
        seen = int(self._cpu_states()["threads"].sum())
        if seen == self._threads_seen:
            return []
        self._threads_seen = seen
        keys, values = self._threads.items()
        tids, records = np.frombuffer(keys, "<u4").tolist(), np.frombuffer(values, THREAD)
        new = [(tid, records[place]) for place, tid in enumerate(tids) if tid not in self._known]
        self._known.update(tid for tid, _ in new)
        return [Thread(tid, int(one["tgid"]), bytes(one["comm"]).decode(errors="replace")) for tid, one in new]

    def _cpu_states(self) -> Array:
        value = self._cpus.lookup(b"\0\0\0\0")
        if value is None:
            raise AttachFailed("The kernel's counters cannot be read.")
        return np.frombuffer(value, CPU_STATE)

    def close(self) -> None:
        self.bpf.close()
