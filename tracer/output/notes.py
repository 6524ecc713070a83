"""What a trace says of its own making: options, plan changes, losses, ends.  All on the track "rat-ebpf"."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from tracer.model import (
    CaptureEnd,
    Group,
    Halt,
    HaltKind,
    Loss,
    MemoryReading,
    PlanChange,
    ProcessEnd,
    Recording,
    Tally,
)
from tracer.output.carried import CHECK_KEY, SUMMARY, SUMMARY_KEY
from tracer.output.descriptors import Descriptors, Value
from tracer.output.halts import halt_words
from tracer.output.labels import duration_words, probed_words, short_name
from tracer.output.tables import some

_MAX_LOSSES = 10_000
"""Losses drawn one by one."""


_MAX_NAMES = 2_000
"""Functions named in one argument."""


class Notes:
    """Draws them as instants, and as slices where they last: what was probed, and in which time events were lost."""

    def __init__(self, descriptors: Descriptors, recording: Recording) -> None:
        self._descriptors = descriptors
        self._start = recording.start
        self.slices = 0
        self._losses = 0
        self._planned = recording.plan.groups
        self._probes = PlanChange(recording.start, self._planned or frozenset(Group), "")
        self._functions = recording.plan.functions
        self._pids = [process.pid for process in recording.processes]
        self._track = descriptors.track(
            "rat-ebpf", rank=-10, description="What was recorded, what is missing, and when the probes changed."
        )
        self._probed = descriptors.track(
            "probed", self._track, rank=0, description="Which probes were attached, and when."
        )
        self._loss_group = descriptors.track(
            "lost events", self._track, rank=1, description="Where events are missing: polls there may lack ends."
        )
        self._last_readings: list[MemoryReading] = []
        self._halt_tracks: dict[tuple[int, bool], int] = {}
        self._loss_tracks: dict[int, list[tuple[int, int]]] = {}
        self._begin(recording)

    def _begin(self, recording: Recording) -> None:
        plan = recording.plan
        args: dict[str, Value] = {
            "rat-ebpf": recording.version,
            "kernel": recording.kernel,
            "transport": recording.transport,
            "exits seen by": str(plan.exit_mode),
            "functions probed": len(plan.functions),
            "functions not probed": len(plan.unseen),
            "functions probed in part": len(plan.seen_in_part),
            "probes": len(plan.probes),
            "highest overhead allowed": f"{recording.max_overhead * 100:g} % of the target's CPU time",
        }
        args |= {f"process {one.pid}": " ".join(one.command) or one.executable for one in recording.processes}
        if plan.no_scheduling is not None:
            args["scheduling not recorded"] = plan.no_scheduling
        args |= {f"option {key}": value for key, value in recording.options.items()}
        if recording.flight is not None:
            flight = recording.flight
            args |= {"kept": f"the latest {flight.last / 1e9:g} s", "recording began (ns)": flight.began}
            args |= {"written because of": flight.hit.trigger} if flight.hit is not None else {}
        self._note(recording.start, "tracing began" if recording.flight is None else "what was kept begins", args)

    def _note(self, time: int, name: str, args: Mapping[str, Value]) -> None:
        self._descriptors.instant(time, self._track, name, args)
        self.slices += 1

    def plan_change(self, change: PlanChange) -> None:
        """Other probes from its time on."""
        self._probed_until(change.time)
        self._probes = change
        words = probed_words(change, self._planned)
        self._note(change.time, f"probed from here: {words}", {"reason": change.reason, **self._named()})

    def _named(self) -> dict[str, Value]:
        """The functions of which not all is probed."""
        named: dict[str, Value] = {}
        for key, numbers in (("not probed", self._probes.unprobed), ("entries only", self._probes.entries_only)):
            known = sorted(number for number in numbers if number < len(self._functions))
            names = [short_name(self._functions[number]) for number in known[:_MAX_NAMES]]
            more = [f"{len(known) - _MAX_NAMES:,} more"] if len(known) > _MAX_NAMES else []
            named |= {key: ", ".join([*names, *more])} if known else {}
        return named

    def _probed_until(self, time: int) -> None:
        end = max(time, self._probes.time)
        args: dict[str, Value] = {"groups": ", ".join(sorted(self._probes.active)) or "none", **self._named()}
        words = probed_words(self._probes, self._planned)
        self._descriptors.slice(self._probes.time, end, self._probed, words, args)
        self.slices += 1

    def loss(self, loss: Loss, latest: int) -> None:
        """Missing events: a slice over their time; an instant where an end of it is unknown, at worst at `latest`."""
        self._losses += 1
        if self._losses > _MAX_LOSSES:
            return
        args: dict[str, Value] = {"events": loss.count, "CPU": loss.cpu}
        known = [time for time in (loss.after, loss.before) if time is not None]
        name = f"{loss.count:,} events lost"
        if len(known) < 2:
            self._note(known[0] if known else latest, name, args | {"when": "not exactly known"})
            return
        start, end = min(known), max(known)
        self._descriptors.slice(start, end, self._loss_track(loss.cpu, start, end), name, args)
        self._note(start, name, args | {"within (ns)": end - start})
        self.slices += 1

    def _loss_track(self, cpu: int, start: int, end: int) -> int:
        """A track of that CPU on which nothing is drawn yet after `start`."""
        lanes = self._loss_tracks.setdefault(cpu, [])
        for index, (last, track) in enumerate(lanes):
            if last <= start:
                lanes[index] = end, track
                return track
        name = f"CPU {cpu}" if cpu >= 0 else "unknown CPU"
        name += f" ({len(lanes) + 1})" if lanes else ""
        track = self._descriptors.track(name, self._loss_group, rank=cpu)
        lanes.append((end, track))
        return track

    def undrawn_losses(self) -> int:
        """How many losses were too many to be drawn."""
        return max(0, self._losses - _MAX_LOSSES)

    def process_end(self, end: ProcessEnd) -> None:
        """A process is gone."""
        self._note(end.time, f"process {end.pid} ended", {"reason": end.reason})

    def memory_reading(self, reading: MemoryReading) -> None:
        """The tasks were read from a process' memory; the last time, when the trace's end is not known yet."""
        if reading.is_last:
            self._last_readings.append(reading)
        else:
            pid = {"pid": self._pids[reading.process]}
            self._note(max(reading.time, self._start), _reading_words(reading), pid)

    def halt(self, halt: Halt) -> None:
        """A slice: while it lasts nothing of the process runs; of a CPU limit: in which time it was beyond that."""
        key = halt.process, halt.kind is HaltKind.THROTTLED
        if key not in self._halt_tracks:
            of_whom = f" of process {self._pids[halt.process]}" if len(self._pids) > 1 else ""
            name = f"{'CPU limit' if key[1] else 'standing still'}{of_whom}"
            what = "When its process was kept from running: by a signal, a debugger, a freezer, or its CPU limit."
            self._halt_tracks[key] = self._descriptors.track(name, self._track, rank=2, description=what)
        args: dict[str, Value] = {"pid": self._pids[halt.process]}
        if key[1]:
            args |= {"limit (processors)": halt.quota, "periods": halt.periods, "of these beyond it": halt.throttled}
            args |= {"lost, added up over processors (ns)": halt.lost}
        start = max(halt.time, self._start)
        if halt.until > start:
            self._descriptors.slice(start, halt.until, self._halt_tracks[key], halt_words(halt.kind, halt.by), args)
            self.slices += 1

    def close(self, time: int, tally: Tally, end: CaptureEnd | None, remarks: tuple[str, ...]) -> None:
        """The last words, at the trace's end; remarks stand at its beginning, where they are seen."""
        self._probed_until(time)
        for reading in self._last_readings:
            args: dict[str, Value] = {"pid": self._pids[reading.process]}
            if reading.time > time:
                args["after the end by (ns)"] = reading.time - time
            self._note(min(max(reading.time, self._start), time), _reading_words(reading), args)
        for remark in remarks:
            self._note(self._start, remark, {})
        args = {
            "polls": tally.polls,
            "waits": tally.waits,
            "instances": tally.instances,
            "events": tally.events,
            "exits without an entry": tally.unmatched_exits,
            "unwound polls": tally.unwound,
            "under way at the start": tally.open_at_start,
            "under way at the end": tally.open_at_end,
        }
        if end is None:
            self._note(time, "the capture breaks off here", args)
            return
        args |= {"events received": end.received, "events lost": end.lost, "overhead": end.overhead}
        self._note(time, f"tracing ended: {end.reason}", args)

    def carry(self, time: int, summary: str) -> None:
        """The summary's document, for programs: `rat-ebpf report`, and queries of the trace."""
        check = zlib.crc32(summary.encode())
        self._note(time, SUMMARY, {"printed by": "rat-ebpf report FILE", CHECK_KEY: check, SUMMARY_KEY: summary})


def _reading_words(reading: MemoryReading) -> str:
    return f"memory read: {some(reading.tasks, 'task')} in {duration_words(reading.duration)}"
