"""`rat-ebpf sample PID`: where the tasks of a live process spend their time, by looking at them many times a second.

Uses no probe: what it costs does not grow with what the process does.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tracer.commands.outputs import output_path
from tracer.commands.record import positive_seconds
from tracer.commands.signals import StopSignal, stop_signal
from tracer.errors import ExitCode, NoSuchProcess
from tracer.target.clock import kernel_now
from tracer.terminal import remark, say, say_json, show_progress

if TYPE_CHECKING:
    from tracer.assemble.shares import ShareSums
    from tracer.assemble.stretches import Stretches
    from tracer.commands.snapshots import TaskSource
    from tracer.output.sampled import SampledRun
    from tracer.snapshot.sampler import Sampler
    from tracer.stacks import Tick

_TICK_SHARE, _TICK_SHARE_OF_MANY = 0.10, 0.25
"""Of a core, that looking at 10,000 tasks may cost, and at 100,000: more of them are looked at less often."""

_MOST_TICK_SHARE = 0.25
"""The same, of a single look: after one that took long the next one waits."""

_SEARCH_SHARE = 0.04
"""The same, of searching for them."""

_FEWEST_SECONDS, _MOST_SECONDS = 1.0, 10.0
"""Between two searches."""

_PROGRESS = 0.5


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "sample", help="find where tasks spend their time, by samples, without probes", description=__doc__
    )
    parser.add_argument("pid", type=int, metavar="PID", help="the process")
    parser.add_argument(
        "-F", "--frequency", type=_frequency, default=99.0, metavar="HZ", help="looks a second (default 99)"
    )
    parser.add_argument(
        "-d", "--duration", type=positive_seconds, metavar="SECONDS", help="stop after this long (default: at Ctrl-C)"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="what to write (may be repeated): FILE.folded for folded stacks, FILE.pb.gz for pprof, else a Perfetto "
        "trace (default: rat-NAME-PID-DATE.pftrace here)",
    )
    parser.add_argument(
        "--symbols",
        type=Path,
        metavar="TWIN",
        help="the same source, Cargo.lock and profile built again with debug = 2, where the program has no debug "
        "information",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing but errors")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON (docs/sample.schema.json)")
    parser.set_defaults(run=run)


def _frequency(text: str) -> float:
    """argparse type: times a second."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.1 <= value <= 1000:
        raise argparse.ArgumentTypeError(f"{text} is not a frequency of 0.1 to 1000 times a second")
    return value


def run(options: argparse.Namespace) -> ExitCode:
    """Sample, write, summarise."""
    from tracer.commands.snapshots import live_tasks
    from tracer.output.halts import standstill_words
    from tracer.target.standstill import StandstillWatch

    source = live_tasks(options.pid, options.symbols)
    process = source.process
    outputs = [output_path(path, ".pftrace", process.name, process.pid) for path in options.output or [None]]
    watch = StandstillWatch(process.pid)
    before = watch.look()
    shown = Shown(source, is_quiet=options.quiet, moves=sys.stderr.isatty() and not options.quiet and not options.json)
    sampled = sample(source, options.frequency, options.duration, shown)
    after = watch.look()
    remarks: list[str] = [remark for path in outputs for remark in _write(sampled, path)]
    for when, there in (("began", before), ("ended", after)):
        if there is not None:
            remarks.append(f"when it {when}, {standstill_words(there, source.process.pid)}")
    _print(sampled, outputs, (*source.remarks, *remarks), options)
    return ExitCode.OK


def sample(
    source: TaskSource,
    frequency: float,
    duration: float | None,
    shown: Shown,
) -> SampledRun:
    """Look at the tasks `frequency` times a second until the time is over, the process ends, or Ctrl-C.

    Raises RatError when it has ended before anything was seen.
    """
    from tracer.assemble.shares import ShareSums
    from tracer.assemble.stretches import Stretches
    from tracer.output.sampled import Pace, SampledRun
    from tracer.target.process import read_clocks

    sampler, sums, stretches = source.reader.sampler(), ShareSums(), Stretches()
    clock = read_clocks()
    pace = _Pace(sampler, frequency)
    with stop_signal() as stop:
        began = kernel_now()
        pace.search()
        shown.begun(sampler)
        try:
            reason = _look(pace, sampler, sums, stretches, stop, began, duration, shown)
            for tick in sampler.last_round():
                sums.add(tick)
                stretches.add(tick)
        except NoSuchProcess:
            if not sampler.counts.ticks:
                raise
            is_alive = source.target is not None and source.target.is_alive()
            reason = "its main thread ended, and nobody tells its memory" if is_alive else "the process ended"
    ended = kernel_now()
    shown.ended()
    return SampledRun(
        process=source.process,
        binary=source.binary,
        clock=clock,
        began=began,
        ended=ended,
        reason=reason,
        counts=sampler.counts,
        pace=Pace(frequency, pace.ticks / max(1e-9, (ended - began) / 1e9), sampler.parts, pace.cpu_share()),
        shares=sums.result(),
        stacks=sampler.stacks,
        tasks=sampler.tasks,
        stretches=stretches.result(),
        not_drawn=stretches.left_out,
        is_cut=stretches.is_full,
    )


def _look(
    pace: _Pace,
    sampler: Sampler,
    sums: ShareSums,
    stretches: Stretches,
    stop: StopSignal,
    began: int,
    duration: float | None,
    shown: Shown,
) -> str:
    """Why it ended."""
    while True:
        pace.wait()
        elapsed = (kernel_now() - began) / 1e9
        if stop.name is not None:
            return f"stopped by {'Ctrl-C' if stop.name == 'SIGINT' else stop.name}"
        if duration is not None and elapsed >= duration:
            return f"sampled for {duration:g} s"
        tick = pace.tick()
        sums.add(tick)
        stretches.add(tick)
        shown.progress(sampler, elapsed)


class _Pace:
    """When to look, at how many tasks, and when to search for them: so that it all costs what it may."""

    def __init__(self, sampler: Sampler, frequency: float) -> None:
        self.ticks = 0
        self._sampler = sampler
        self._period = 1 / frequency
        self._next = time.monotonic()
        self._since = time.monotonic()
        self._cpu = time.process_time()
        self._ticks = self._tick_cost = 0.0
        self._worked = time.thread_time()
        self._searched = 0.0
        self._search_cost = 0.0

    def wait(self) -> None:
        """Until the next look is due; those that are late are left out."""
        cost = time.thread_time() - self._worked
        self._tick_cost += cost
        now = time.monotonic()
        self._next = max(self._next, now + cost / _MOST_TICK_SHARE - cost)
        if now < self._next:
            time.sleep(self._next - now)
            self._next += self._period
        else:
            self._next = now + self._period
        self._worked = time.thread_time()

    def tick(self) -> Tick:
        """Look; and search before, if that is due."""
        if time.monotonic() - self._searched > self._between():
            self.search()
        self._ticks += 1
        self.ticks += 1
        return self._sampler.tick()

    def search(self) -> None:
        """Search for tasks, and part them anew where a look has cost too much, or could see more."""
        parts = None
        if self._ticks:
            more = min(1.0, max(0.0, math.log10(max(1, self._sampler.places) / 10_000)))
            share = _TICK_SHARE + (_TICK_SHARE_OF_MANY - _TICK_SHARE) * more
            wanted = self._sampler.parts * self._tick_cost / self._ticks / (share * self._period)
            if not 0.7 < wanted / self._sampler.parts < 1:
                parts = max(1, math.ceil(wanted))
        began = time.thread_time()
        self._sampler.search(parts)
        self._search_cost = time.thread_time() - began
        self._searched = time.monotonic()
        self._ticks = self._tick_cost = 0.0
        self._worked = time.thread_time()

    def _between(self) -> float:
        return min(_MOST_SECONDS, max(_FEWEST_SECONDS, self._search_cost / _SEARCH_SHARE))

    def cpu_share(self) -> float:
        """Of one core, all in all."""
        return (time.process_time() - self._cpu) / max(1e-9, time.monotonic() - self._since)


def _write(sampled: SampledRun, path: Path) -> tuple[str, ...]:
    """Remarks on what was written."""
    if path.name.endswith(".folded"):
        from tracer.output.folded import write_folded

        write_folded(sampled, path)
        return ()
    if path.name.endswith((".pb.gz", ".pprof")):
        from tracer.output.pprof import write_pprof

        write_pprof(sampled, path)
        return ()
    from tracer.output.sampled_trace import write_sampled_trace

    return write_sampled_trace(sampled, path).remarks


def _print(sampled: SampledRun, outputs: list[Path], remarks: tuple[str, ...], options: argparse.Namespace) -> None:
    from tracer.output.sampled_summary import print_sampled, sampled_json
    from tracer.output.tables import make_console

    if options.json:
        say_json({**sampled_json(sampled), "files": [str(path) for path in outputs]})
        return
    if options.quiet:
        return
    print_sampled(sampled, make_console())
    for words in remarks:
        say(words)
    for path in outputs:
        say(f"wrote {path}{_how_to_open(path)}")


def _how_to_open(path: Path) -> str:
    if path.name.endswith(".folded"):
        return ": flamegraph.pl, inferno-flamegraph or speedscope.app show it"
    if path.name.endswith((".pb.gz", ".pprof")):
        return f": go tool pprof -http=: {path}, or speedscope.app"
    return ": open it at https://ui.perfetto.dev (it stays on your machine)"


class Shown:
    """What is said on the standard error meanwhile.  moves: a line that changes, for a terminal."""

    def __init__(self, source: TaskSource, *, is_quiet: bool, moves: bool) -> None:
        self._process = source.process
        self._is_quiet = is_quiet
        self._moves = moves
        self._last = 0.0

    def begun(self, sampler: Sampler) -> None:
        """The tasks have been found."""
        if not self._is_quiet:
            name = f"{self._process.name} ({self._process.pid})"
            with contextlib.suppress(OSError):  # the terminal is gone; its SIGHUP ends the run well
                remark(f"{name}: {sampler.places:,} tasks found; sampling them without probes")

    def progress(self, sampler: Sampler, elapsed: float) -> None:
        """After so many seconds."""
        if self._moves and elapsed - self._last >= _PROGRESS:
            self._last = elapsed
            count = f"{sampler.counts.samples:,} samples · {sampler.places:,} tasks"
            show_progress(f"sampling {elapsed:5.1f} s · {count} · Ctrl-C to stop")

    def ended(self) -> None:
        """The line that changes goes."""
        if self._last:
            show_progress("", is_over=True)
