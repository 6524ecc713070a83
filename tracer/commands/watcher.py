"""What looks at a ring while the recorder writes it, in a process of its own: it finds what triggers wait for and
writes the traces.

It has nothing of the recorder's (no probe, no BPF program, no buffer): that it is slow, or dies, costs the target and
the recording nothing.  Traces are written, and findings looked for, by further processes, one at a time each, so that
it goes on reading; it says so when it cannot keep up all the same, and how many events it has left out.

It is told by lines on its standard input (`now`; `until NS`: what came before is in the ring, or in the recorder's
hands; `end`; the end of all: the recorder is gone), and tells by lines of
JSON on its standard output: {"written", …}, {"again", …} or {"note": words}.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from tracer import assemble
from tracer.capture import Item, Restart, RingFollower, RingReader, join, spare_of
from tracer.commands.convert import write_trace
from tracer.commands.finding_watch import FindingWatch
from tracer.commands.held import HeldSegments
from tracer.commands.jobs import Job, look_after, start_job
from tracer.commands.ring_stacks import RingStacks
from tracer.commands.watch_options import SETTLED, WatchOptions
from tracer.errors import RatError
from tracer.model import CaptureEnd, Hit, ProcessEnd, Recording, Trigger, TriggerKind
from tracer.output.triggers import Fired, TriggerWatch
from tracer.target.clock import kernel_now

NICENESS = 15
"""Beside a target that wants all processors it gets a thirtieth of one."""

TICK = 0.25
"""Seconds between two looks at the ring."""

TELL = 1_000_000_000
"""ns between two times that is told how often a trigger fired while it was still."""

MOST_DUE = 4
"""Traces that wait to be written: what they need is kept until then, even where the ring has deleted it."""

MOST_TRACES = 100
"""Written by one recording."""

NOW = Trigger("SIGUSR1", TriggerKind.SIGNAL)
EXIT = Trigger("exit", TriggerKind.EXIT)


@dataclass(slots=True)
class _Due:
    """A trace to be written.  begin, end: what it has, ns.  held: where that is; is_whole: all of it has come."""

    hit: Hit
    name: str
    begin: int
    end: int
    held: HeldSegments
    is_whole: bool = False


class Watcher:
    """Of one ring."""

    def __init__(self, options: WatchOptions) -> None:
        self._options = options
        self._folder = Path(options.ring)
        self._follower = RingFollower(self._folder)
        self._triggers = (*options.triggers, NOW, EXIT)
        self._assembles = any(one.kind not in (TriggerKind.FINDING, TriggerKind.SIGNAL) for one in options.triggers)
        self._state: assemble.State | None = None
        self._watch: TriggerWatch | None = None
        self._stacks = RingStacks(self._folder)
        self._due: list[_Due] = []
        self._told = frozenset(options.told or ())
        self._writing: Job | None = None
        self._findings = FindingWatch(self._folder, options)
        self._ended: set[int] = set()
        self._count = self._bytes = 0
        self._line = b""
        self._told_until = 0
        self._is_over = False
        self._is_told_to_end = False
        self._said: set[str] = set()
        self._unread = 0
        self._unread_told = 0
        self._again_told = [0] * len(self._triggers)
        self._tell_at = 0

    def run(self) -> None:
        """Until the recording has ended and all is written, or the recorder is gone."""
        while self._listen():
            self._read()
            self._look_under_way()
            self._look_for_findings()
            self._write_next()
            if self._writing is not None:
                look_after(self._writing)
            self._tell_again()
            if self._is_told_to_end and not (self._due or self._writing is not None or self._findings.is_busy):
                self._say_unread()
                return

    # ---- what is told

    def _listen(self) -> bool:
        """Wait a little for what the recorder says.  False: it is gone."""
        if not select.select([0], [], [], 0.02 if self._is_told_to_end else TICK)[0]:
            return True
        said = os.read(0, 1 << 16)
        if not said and not self._is_told_to_end:
            return False
        *lines, self._line = (self._line + said).split(b"\n")
        for line in lines:
            word, _, time_ = line.partition(b" ")
            if word == b"now":
                now = kernel_now()
                self._fire(Hit(NOW.text, NOW.kind, "it was asked for by a signal", now, 0), str(NOW.kind), now)
            elif word == b"end":
                self._is_told_to_end = True
            elif word == b"until":
                self._told_until = int(time_)
        return True

    def _read(self) -> None:
        # Further behind, what a hit there would have to show is being deleted; of a ring that is over nothing is.
        behind = 1 << 62 if self._is_told_to_end else spare_of(self._options.last) - self._options.after
        for item in self._follower.more(behind):
            self._take(item)
        if self._follower.recording is not None:
            self._stacks.read(self._follower.recording)
        self._say_unread()

    def _take(self, item: Item | Restart) -> None:
        recording = self._follower.recording
        assert recording is not None
        if isinstance(item, Restart):
            if self._assembles:
                if self._watch is not None or self._options.told is None:  # else one before this one read it
                    self._unread += item.unread
                self._state = assemble.begin(replace(recording, start=item.time))
            if self._watch is None:
                self._watch = TriggerWatch(recording.plan, self._triggers, self._options.last, recording.hit_costs)
        elif isinstance(item, CaptureEnd):
            self._is_over = True
        else:
            if isinstance(item, ProcessEnd):
                self._note_end(item, recording)
            if isinstance(item, list) and self._watch is not None:
                self._watch.threads(item)
            if self._state is not None and self._watch is not None:
                self._state, spans = assemble.step(self._state, item)
                for fired in self._watch.spans(spans):
                    self._fired(fired)

    def _note_end(self, end: ProcessEnd, recording: Recording) -> None:
        """The last one's is written by the recorder, which ends then."""
        self._ended.add(end.pid)
        if self._options.triggers and {process.pid for process in recording.processes} - self._ended:
            name = next((one.name for one in recording.processes if one.pid == end.pid), "")
            words = f"process {name} ({end.pid}): {end.reason}"
            self._fire(Hit(EXIT.text, EXIT.kind, words, end.time, 0), str(EXIT.kind), end.time)

    def _look_under_way(self) -> None:
        if self._state is None or self._watch is None or self._is_over or not len(self._state.frames):
            return
        # So far is known what goes on: threads that block send nothing, and neither does a recorder that is held up.
        now = max(self._follower.latest, self._told_until - SETTLED)
        for fired in self._watch.under_way(self._state.frames, now, self._state.may_lack_until):
            self._fired(fired)

    # ---- what fires

    def _fired(self, fired: Fired) -> None:
        hit = fired.hit
        self._fire(hit, str(hit.kind), hit.time + hit.duration)

    def _fire(self, hit: Hit, name: str, end: int) -> None:
        held = HeldSegments(self._folder)
        held.hold()
        self._add(_Due(hit, name, hit.time - self._options.last, end + self._options.after, held))

    def _add(self, due: _Due) -> None:
        if (due.hit.trigger, due.hit.time) in self._told:
            due.held.close()
            return
        if len(self._due) < MOST_DUE:
            self._due.append(due)
            return
        due.held.close()
        self._leave_out(due, "traces are not written as fast as triggers fire: some are left out, and counted")

    def _leave_out(self, due: _Due, why: str) -> None:
        note = {} if why in self._said else {"note": why}
        self._said.add(why)
        tell(hit=due.hit.trigger, time=due.hit.time, **note)

    def _write_next(self) -> None:
        for due in self._due:
            if not due.is_whole:
                due.is_whole = self._is_over or self._told_until >= due.end + SETTLED
                due.held.hold()
        if self._writing is not None or not self._due or self._follower.recording is None:
            return
        if not self._due[0].is_whole:
            return
        due = self._due.pop(0)
        if self._count >= MOST_TRACES or self._bytes >= self._options.max_size:
            due.held.close()
            self._leave_out(due, f"no more traces are written: at most {MOST_TRACES}, of --max-size together")
            return
        self._count += 1
        output = self._options.free_name(due.hit.time, due.name)

        def write() -> dict[str, Any]:
            return self._write(due, output)

        self._writing = start_job(write, lambda told: self._wrote(due, told))
        due.held.close()  # the job has its own

    def _write(self, due: _Due, output: Path) -> dict[str, Any]:
        hit = due.hit
        told: dict[str, Any] = {"hit": hit.trigger, "time": hit.time, "kind": str(hit.kind), "title": hit.title}
        try:
            with RingReader(
                due.held.paths,
                since=due.begin,
                until=due.end,
                hit=hit,
                stacks=self._stacks.told(),
                is_over=True,
            ) as reader:
                if reader.recording.start > hit.time:
                    return {
                        "note": f"{hit.trigger}: {hit.title}, but what led up to it was deleted already",
                        **told,
                    }
                if self._options.trace.format == "capture":
                    join(reader, output)
                else:
                    write_trace(reader, output, self._options.trace, lambda share: None)
        except RatError as error:
            words = ": ".join(part.rstrip(".") for part in (error.what, error.why) if part)
            return {"note": f"{hit.trigger}: {hit.title}, but {words}", **told}
        return {"written": str(output), "bytes": output.stat().st_size, **told}

    def _wrote(self, due: _Due, told: dict[str, Any] | None) -> None:
        self._writing = None
        if told is None:
            why = "a trace could not be written: the process that did so was ended, perhaps for want of memory"
            tell(note=why, hit=due.hit.trigger, time=due.hit.time)
            return
        self._bytes += told.get("bytes", 0)
        tell(**told)

    def _look_for_findings(self) -> None:
        if self._follower.recording is None:
            return
        for hit, rule, held in self._findings.look(is_over=self._is_over):
            # It may be as old as all that it was judged by: that is what its trace has to have.
            until = self._findings.until
            self._add(_Due(hit, rule, until - self._options.last, until, held, is_whole=True))
        if self._findings.trouble is not None:
            tell(note=self._findings.trouble)

    # ---- what was left out

    def _tell_again(self) -> None:
        """What fired while its trigger was still; and forget threads that are over."""
        now = kernel_now()
        if self._watch is None or (now < self._tell_at and not self._is_told_to_end):
            return
        self._tell_at = now + TELL
        for number, (count, told) in enumerate(zip(self._watch.suppressed, self._again_told, strict=True)):
            if count != told:
                tell(again=self._triggers[number].text, count=count - told)
                self._again_told[number] = count
        alive = self._alive()
        if alive:
            self._watch.forget(alive)

    def _alive(self) -> frozenset[int]:
        """The threads that there are now, by tid; none: that is not known."""
        recording, found = self._follower.recording, frozenset[int]()
        for process in recording.processes if recording is not None else ():
            with contextlib.suppress(OSError):
                found |= {int(name) for name in os.listdir(f"/proc/{process.pid}/task")}
        return found

    def _say_unread(self) -> None:
        now = kernel_now()
        if self._unread and (now - self._unread_told > self._options.last or self._is_told_to_end):
            tell(note=f"the triggers could not keep up: {self._unread:,} events were recorded and not looked at")
            self._unread, self._unread_told = 0, now


def tell(**words: Any) -> None:
    """One line to the recorder; where that is gone, to nobody."""
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(words).encode() + b"\n")


def import_early() -> None:
    """Import what is needed later: while this waits for something for days, the package may be replaced."""
    for name in ("commands.assembling", "output.chrome", "output.flight", "output.perfetto", "output.summary_document"):
        import_module(f"tracer.{name}")


def main(options: str) -> None:
    """The process' own main function.  options: as WatchOptions.as_json makes them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # a terminal, or a service manager, sends them to all; we are told
    os.nice(NICENESS)
    import_early()
    Watcher(WatchOptions.from_json(options)).run()
