"""The recording itself: attach, carry events to the capture, hold the overhead, stop well."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from tracer import __version__, model
from tracer.capture import RAW_STACKS, CaptureWriter, RawStackWriter, RingWriter
from tracer.commands.closing import say_kept
from tracer.commands.flight import Flight
from tracer.commands.from_before import PollsBefore
from tracer.commands.halts import HaltWatch
from tracer.commands.last_seen import LastSeen
from tracer.commands.memory_readings import TargetMemory
from tracer.commands.signals import StopSignal, stop_signal
from tracer.commands.stacks import StackTaker
from tracer.commands.survey import Survey
from tracer.errors import NoRoom, NoSuchProcess, NotTraceable, OutOfMemory, RatError
from tracer.model import (
    Array,
    CaptureEnd,
    Plan,
    PlanChange,
    ProcessEnd,
    Recording,
    StackSamples,
)
from tracer.probe.expectation import expectation
from tracer.probe.guard import Guard, calibrate
from tracer.probe.session import Batch, ProbeSession
from tracer.probe.variant import Variant
from tracer.target.clock import kernel_now
from tracer.target.process import TargetProcess, kernel_release, read_clocks
from tracer.target.quota import cpu_quota
from tracer.terminal import show_progress

if TYPE_CHECKING:
    from tracer.target.launch import Launched

TICK = 0.02
"""Seconds between two looks at the buffers: at 1 M events/s 20,000 events, 800 KB of the 32 MB they hold."""

LOOK_AROUND = 0.1
"""Seconds between two looks at the targets, their threads and their CPU time."""

SHORT_READING = 100_000_000
"""ns, in which nobody need look at the buffers."""

Writer = CaptureWriter | RingWriter

_MOST_READS, _SOON = 20, 0.001
"""How often, and after how many seconds, it is asked for events that a preempted program has yet to send."""


@dataclass(frozen=True, slots=True)
class RecordOptions:
    """duration: seconds or None (until told to stop).  max_overhead: share of the target's CPU.  max_size: bytes.

    last: ns: only so much is kept, of the latest time, and it goes on when max_size is reached; None: all is kept.
    flight: what looks at that while it is recorded.
    variant: of this kernel, where it is known.
    asked: what the user asked for, to be shown in the trace.  on_calibrated: told, before the probes are there, what
    they are expected to cost, in words.  on_attached: told the plan once the probes are there.
    """

    duration: float | None
    max_overhead: float
    transport: str
    max_size: int
    asked: dict[str, str]
    last: int | None = None
    flight: Flight | None = None
    variant: Variant | None = None
    shows_progress: bool = False
    on_attached: Callable[[Plan], None] = lambda plan: None
    on_calibrated: Callable[[str], None] = lambda words: None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a recording ended, in words, and what was received and lost (events).  is_alone: all targets had ended."""

    reason: str
    received: int
    lost: int
    is_alone: bool


class Recorder:
    """One recording of some processes into one capture: a file, or a ring."""

    def __init__(self, survey: Survey, targets: Sequence[TargetProcess], capture: Path, options: RecordOptions) -> None:
        self._survey = survey
        self._running = {target.pid: target for target in targets}
        self._capture = capture
        self._options = options
        self._cpu_of: dict[int, int] = {}
        self._memory = TargetMemory(survey.processes, self._running)
        self._last_seen = LastSeen(self._running, kernel_now())
        self._stacks: StackTaker | None = None
        self._raw_stacks: RawStackWriter | None = None
        self._trouble: str | None = None

    def run(self, launched: Launched | None = None) -> Outcome:
        """Record until the duration is over, a signal comes, the targets are gone or the capture is full.

        launched: a program that waits to be released once the probes are attached.
        Raises RatError; the probes are detached and what was recorded is kept whatever happens.
        """
        survey, options = self._survey, self._options
        with (
            stop_signal(hears_wishes=options.last is not None) as stop,
            ProbeSession(
                survey.plan,
                survey.processes,
                executables=survey.executables,
                transport=options.transport,
                variant=options.variant,
            ) as session,
        ):
            costs = calibrate(session)
            quota = cpu_quota([process.pid for process in survey.processes])
            options.on_calibrated(expectation(survey.plan, costs, options.max_overhead, quota))
            if launched is None:  # else there is no such program yet
                self._open_memory()
            before = list(self._memory.read(survey.plan, is_last=False))  # while no event waits to be read
            polls_before = PollsBefore(before, survey.processes, self._running, self._memory.readers)
            _wait_for_our_turn()
            free, cpu_when_free = kernel_now(), self._cpu_time()
            began = session.attach()
            session.expect_polls(polls_before.stack_ends)
            if sum(one.duration for one in before) < SHORT_READING:  # what happened meanwhile was not seen
                before = list(self._memory.read(survey.plan, is_last=False))
            plan = replace(
                survey.plan,
                refusals=survey.plan.refusals + session.refusals,
                scheduling=survey.plan.scheduling and session.no_scheduling is None,
                no_scheduling=session.no_scheduling,
            )
            recording = Recording(
                version=__version__,
                clock=read_clocks(),
                start=began,
                processes=survey.processes,
                plan=plan,
                transport=session.transport,
                kernel=kernel_release(),
                max_overhead=options.max_overhead,
                options=options.asked,
                flight=model.Flight(options.last, began) if options.last is not None else None,
                cpu_quota=quota,
                hit_costs=tuple(max(0.0, costs.of(probe, plan)) for probe in plan.probes),
            )
            cpu_at_start = self._cpu_time()
            # The first batch has all that came since the first probe; a program that is launched waits until then.
            since = (free, cpu_when_free) if launched is None else (kernel_now(), cpu_at_start)
            self._guard = Guard(plan, costs, options.max_overhead, *since, min(quota or 1.0, 1.0))
            self._halts = HaltWatch(survey.processes, kernel_now())
            stacks = self._stacks = StackTaker(session, plan, survey.processes, self._running)
            with self._writer(recording) as writer, _kept(writer):
                options.on_attached(plan)
                self._begin_flight(writer, stacks, recording)
                for reading in before:
                    writer.memory_reading(reading)
                if launched is not None:
                    launched.release()
                    self._reopen(launched.pid)
                else:
                    self._tell_threads(writer)
                self._memory.watch_channels()
                _import_for_the_end()
                reason = self._carry(session, writer, stop, is_new=launched is not None)
                if launched is not None and (status := launched.poll()) is not None:
                    reason = f"the program ended with exit status {status}"
                stopped = session.set_active(frozenset())  # nothing is seen while the links are being closed
                self._halts.end(stopped, writer, self._running)
                if launched is not None:
                    self._open_memory()
                after = list(self._memory.read(plan, is_last=True))
                for reading in after:
                    writer.memory_reading(reading)
                self._memory.close()
                blocked = StackSamples(stacks.take_last(polls_before.blocked(after, began)))
                last = session.detach()
                writer.stack_samples(blocked)
                self._take(session, writer, last)
                writer.stacks(stacks.told())
                stacks.close()
                shares = self._guard.overhead, self._guard.of_processor
                end = CaptureEnd(stopped, reason, session.received, session.lost, *shares)
                writer.end(end)
                if options.flight is not None:
                    options.flight.ended(end)
                # Polls that go on all the time send nothing.
                if not writer.hit_count and not end.lost and not polls_before.last_until(after):
                    from tracer.commands.silence import judge_silence

                    first = survey.processes[0]
                    judge_silence(
                        first,
                        self._running.get(first.pid),
                        plan,
                        (before, after),
                        options.asked,
                        is_short=options.duration is None,
                        elapsed=stopped - began,
                        used=self._cpu_time() - cpu_at_start,
                    )
        return Outcome(reason, end.received, end.lost + writer.dropped, not self._running)

    def _writer(self, recording: Recording) -> Writer:
        last, most = self._options.last, self._options.max_size
        if last is None:
            return CaptureWriter(self._capture, recording, most)
        alive = self._live_threads
        return RingWriter(self._capture, recording, last=last, max_size=most, alive=alive, now=kernel_now)

    def _begin_flight(self, writer: Writer, stacks: StackTaker, recording: Recording) -> None:
        if isinstance(writer, RingWriter):
            self._raw_stacks = RawStackWriter(writer.beside(RAW_STACKS), stacks.period)
            if self._options.flight is not None and self._options.flight.options.triggers:
                self._options.flight.records(recording)
                self._options.flight.begin()

    def _look_at_flight(self, writer: Writer, stop: StopSignal) -> None:
        flight = self._options.flight
        if flight is None or not isinstance(writer, RingWriter):
            return
        if stop.wants_trace:
            stop.wants_trace = False
            flight.write_now()
        flight.look()
        if writer.trouble is not None and writer.trouble != self._trouble:
            flight.say(f"{writer.trouble} Less than was asked for is kept")
        self._trouble = writer.trouble

    def _live_threads(self) -> frozenset[int] | None:
        """By tid; None: that is not known, for a process has ended."""
        try:
            return frozenset(tid for target in self._running.values() for tid in target.thread_ids())
        except NoSuchProcess:
            return None

    def _carry(self, session: ProbeSession, writer: Writer, stop: StopSignal, *, is_new: bool) -> str:
        """The loop; returns why it ended.  is_new: the program has just been started."""
        began = time.monotonic()
        next_look = began
        while True:
            batch = session.read()
            self._take(session, writer, batch)
            try:
                self._hold_overhead(session, writer, batch)
            except NoRoom:
                return "a memory limit leaves no room for the probes to come back"
            now = time.monotonic()
            if now >= next_look:
                if is_new and next_look > began:  # by now it has its own name; what sent events was told with those
                    self._tell_threads(writer)
                    is_new = False
                next_look = now + LOOK_AROUND
                self._watch_targets(session, writer)
                self._look_at_flight(writer, stop)
                self._show_progress(session, writer, now - began)
            if stop.name is not None:
                return f"stopped by {'Ctrl-C' if stop.name == 'SIGINT' else stop.name}"
            if not self._running:
                return "the process ended" if len(self._survey.processes) == 1 else "all processes ended"
            if writer.full:
                return writer.full
            if self._options.duration is not None and now - began >= self._options.duration:
                return f"recorded for {self._options.duration:g} s"
            time.sleep(TICK)

    def _open_memory(self) -> None:
        left_out = self._memory.open(self._survey.plan)
        if left_out is not None:
            self._options.asked["memory"] = left_out

    def _take(self, session: ProbeSession, writer: Writer, batch: Batch) -> None:
        threads = session.threads()
        writer.threads(threads)  # before the events that they sent: the process of those is not known else
        self._last_seen.threads(threads)
        self._last_seen.events(batch.events)
        for loss in batch.losses:  # before the events that come after it
            writer.loss(loss)
        if self._stacks is not None:
            writer.stack_samples(StackSamples(self._stacks.take()))  # before the events in whose time they were taken
            new = self._stacks.new()
            if self._raw_stacks is not None:
                self._raw_stacks.add(new)
        writer.events(batch.events)

    def _hold_overhead(self, session: ProbeSession, writer: Writer, batch: Batch) -> None:
        """Let the guard look at a batch; attach and detach what it says, and note the change."""
        lost = sum(loss.count for loss in batch.losses)
        step = self._guard.observe(kernel_now(), batch.events, lost, session.unseen(), self._cpu_time())
        if step is None:
            return
        changed = session.set_active(step.active, step.unprobed, step.entries_only)
        # In the capture the change stands behind all events of what leaves, and before all of what comes: the exit of
        # a task would else seem to unwind the futures that were open inside it.
        later: list[Array] = []
        for _ in range(_MOST_READS):
            batch = session.read()
            is_before = batch.events["time"] <= changed
            self._take(session, writer, Batch(batch.events[is_before], batch.losses))
            later.append(batch.events[~is_before])
            if session.complete_until >= changed:
                break
            time.sleep(_SOON)
        change = PlanChange(changed, step.active, step.reason, step.unprobed, step.entries_only)
        writer.plan_change(change)
        if self._options.flight is not None:
            self._options.flight.change(change)
        for events in later:
            self._take(session, writer, Batch(events, []))

    def _watch_targets(self, session: ProbeSession, writer: Writer) -> None:
        for pid, target in list(self._running.items()):
            now = kernel_now()
            if target.runs_same_image():
                self._last_seen.looked(pid, now)
                self._halts.look(pid, now, writer)
                self._memory.look(pid, now)
                continue
            # What it sent since the last look: behind its end nobody could tell whose it is.
            self._take(session, writer, session.read())
            reason = "it executed another program" if target.is_alive() else "it ended"
            writer.process_end(ProcessEnd(self._last_seen.of(pid), pid, reason))
            del self._running[pid]

    def _cpu_time(self) -> int:
        """CPU time of all targets so far, in ns; of those that ended, what was last read."""
        for pid, target in self._running.items():
            with contextlib.suppress(NoSuchProcess):
                self._cpu_of[pid] = target.cpu_time_ns()
        return sum(self._cpu_of.values())

    def _reopen(self, pid: int) -> None:
        """The launched program has replaced the waiting child: it is another image with another name."""
        with contextlib.suppress(NoSuchProcess, NotTraceable):  # it has ended already, which the first look notes
            target = self._running[pid] = TargetProcess.open(pid)
            self._last_seen.looked(pid, kernel_now())
            if self._stacks is not None:
                self._stacks.replace(target)

    def _tell_threads(self, writer: Writer) -> None:
        for target in self._running.values():
            with contextlib.suppress(NoSuchProcess):  # its end is noted at the first look
                writer.threads(target.threads())

    def _kept_words(self) -> str:
        last = self._options.last
        return f", the last {last / 1e9:g} s" if last is not None else ""

    def _show_progress(self, session: ProbeSession, writer: Writer, elapsed: float) -> None:
        if not self._options.shows_progress:
            return
        rate = session.received / max(elapsed, 0.1)
        show_progress(
            f"recording {elapsed:5.1f} s · {rate:,.0f} events/s · {session.lost:,} lost · "
            f"{writer.size / 1e6:,.1f} MB{self._kept_words()} · Ctrl-C to stop"
        )


def _import_for_the_end() -> None:
    """What is needed when a recording ends: not before its first event, nor when the package may have been replaced."""
    for name in ("silence", "stuck"):
        import_module(f"tracer.commands.{name}")


def _wait_for_our_turn() -> None:
    """From here on no wake-up of ours takes a processor from a thread of the target, in the middle of a poll.

    The kernel lets a SCHED_BATCH thread wait until the one that runs has used up its slice: milliseconds, of the third
    of a second that the buffers hold.  Its share of the processor is the same.
    """
    if os.sched_getscheduler(0) == os.SCHED_OTHER:  # whoever chose another policy meant it
        with contextlib.suppress(OSError):  # a sandbox forbids it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


@contextlib.contextmanager
def _kept(writer: Writer) -> Iterator[None]:
    """A capture that holds hits of probes outlives an error, which then says so; an empty one does not."""
    try:
        yield
    except MemoryError as raised:
        writer.close()  # which counts what waited
        error = OutOfMemory(of_recording=writer.hit_count > 0)
        _close(writer, error)
        raise error from raised
    except BaseException as raised:
        _close(writer, raised)
        raise


def _close(writer: Writer, error: BaseException) -> None:
    writer.close()
    if not writer.hit_count:
        writer.discard()
    elif isinstance(error, RatError):
        say_kept(error, writer.path)
