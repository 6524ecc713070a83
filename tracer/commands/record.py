"""`rat-ebpf --pid N`: record a live process and write its trace.  Ctrl-C ends it well."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tracer.commands import latest
from tracer.commands.convert import (
    CAPTURE_SUFFIX,
    TRACE_SUFFIX,
    TraceOptions,
    add_trace_options,
    convert,
    progress_of,
    trace_options_of,
)
from tracer.commands.list import add_selection_options, selection_of
from tracer.commands.outputs import output_path
from tracer.commands.signals import outlive_wishes
from tracer.commands.triggers import UNITS, nanoseconds
from tracer.errors import ExitCode, UsageError
from tracer.ownership import remove
from tracer.privileges import give_up_privileges
from tracer.terminal import remark

if TYPE_CHECKING:
    from tracer.commands.survey import Survey
    from tracer.model import Plan
    from tracer.target.launch import Launched
    from tracer.target.process import TargetProcess

DEFAULT_MAX_SIZE = 2 << 30
_MOST_SECONDS = 1e7


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "record",
        help="record a process and write its trace (the default command)",
        description=__doc__,
        usage="rat-ebpf [record] (--pid PID … | -- PROGRAM ARGS …) [options]",
    )
    parser.add_argument(
        "-p", "--pid", type=int, action="append", default=[], metavar="PID", help="a process to trace (may be repeated)"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="the trace (default: rat-NAME-PID-DATE.pftrace here)"
    )
    parser.add_argument(
        "-d", "--duration", type=positive_seconds, metavar="SECONDS", help="stop after this long (default: at Ctrl-C)"
    )
    add_selection_options(parser)
    parser.add_argument(
        "--max-overhead",
        type=percentage,
        default=0.05,
        metavar="PERCENT",
        help="the most CPU time that the probes may cost, in percent of the target's own, or of one processor where "
        "that is more (default 5)",
    )
    parser.add_argument(
        "--transport",
        choices=("auto", "ring", "perf"),
        default="auto",
        help="how events leave the kernel (default: ring where there is one)",
    )
    parser.add_argument(
        "--max-size",
        type=size,
        default=DEFAULT_MAX_SIZE,
        metavar="SIZE",
        help="stop recording when the capture reaches this size, e.g. 500M (default 2G); of --last: keep no more",
    )
    latest.add_options(parser)
    parser.add_argument("-v", "--verbose", action="store_true", help="say more on the standard error")
    add_trace_options(parser, formats=("perfetto", "chrome", "capture"))
    parser.set_defaults(run=run)


def positive_seconds(text: str) -> float:
    """argparse type: seconds, more than 0; also with a unit, as 500ms."""
    try:
        seconds = nanoseconds(text, otherwise="s") / UNITS["s"]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not 0 < seconds <= _MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds above 0")
    return seconds


def percentage(text: str) -> float:
    """argparse type: percent to a share."""
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = -1.0
    if not 0 < value <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 100 percent")
    return value / 100


def size(text: str) -> int:
    """argparse type: bytes, with an optional K, M or G (powers of 1024)."""
    factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:].upper(), 1)
    number = text if factor == 1 else text[:-1]
    value = float(number) * factor
    if not 1 << 20 <= value < 1 << 63:
        raise argparse.ArgumentTypeError(f"{text} is not a size of at least 1M")
    return int(value)


def run(options: argparse.Namespace) -> ExitCode:
    """Record, convert, summarise.  With `-- program` the exit code is still ours; the program's is in the summary."""
    from tracer.commands.closing import print_capture
    from tracer.commands.recorder import Recorder, RecordOptions
    from tracer.probe.variant import compiling_ahead

    began = time.monotonic()
    if bool(options.pid) == bool(options.program):
        raise UsageError(
            "name one thing to trace: a process id, or a program after --",
            fix="sudo rat-ebpf --pid 1234\nsudo rat-ebpf -- ./server --port 8080",
        )
    trace_options = trace_options_of(options)
    triggers = latest.triggers_of(options)
    if triggers and options.last is None:
        options.last = latest.DEFAULT_LAST
    if options.last is not None:
        outlive_wishes()
    with compiling_ahead(options.transport) as ahead, _targets(options) as (survey, targets, launched):
        latest.require_able(triggers, survey.plan)
        suffix = CAPTURE_SUFFIX if trace_options.format == "capture" else TRACE_SUFFIX[trace_options.format]
        output = output_path(options.output, suffix, survey.processes[0].name, survey.processes[0].pid)
        capture = output if trace_options.format == "capture" else output.with_name(output.name + CAPTURE_SUFFIX)
        flight = None
        if options.last is not None:
            capture = latest.ring_beside(output)
            flight = latest.flight_of(options, trace_options, triggers, output, capture)
        record_options = RecordOptions(
            duration=options.duration,
            max_overhead=options.max_overhead,
            transport=options.transport,
            max_size=options.max_size,
            asked=_asked(options),
            last=options.last,
            flight=flight,
            shows_progress=sys.stderr.isatty() and not options.quiet and not options.json,
            variant=ahead.wait(),
            on_attached=_announcement(options, survey, began),
            on_calibrated=_say_nothing if options.quiet else _say_if_heard,
        )
        with flight or contextlib.nullcontext():
            outcome = Recorder(survey, targets, capture, record_options).run(launched)
            if launched is not None and launched.poll() is None and not options.quiet:
                remark(f"{launched.command[0]} ({launched.pid}) runs on")
            if flight is not None:
                return latest.close(options, trace_options, output, capture, flight, outcome)
    if trace_options.format == "capture":
        print_capture(capture, outcome, as_json=options.json, quiet=options.quiet)
        return ExitCode.OK
    return _finish(options, trace_options, output, capture)


def _asked(options: argparse.Namespace) -> dict[str, str]:
    """What the user asked for, to be shown in the trace."""
    shown = (
        "duration",
        "filter",
        "notrace",
        "generated_futures",
        "exits",
        "max_overhead",
        "transport",
        "min_us",
        "symbols",
        "trigger",
    )
    given = {name: getattr(options, name) for name in shown}
    return {name: _words(value) for name, value in given.items() if value not in (None, [], False, 0.0)}


def _words(value: object) -> str:
    """What was typed, or nearly so."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


@contextlib.contextmanager
def _targets(options: argparse.Namespace) -> Iterator[tuple[Survey, list[TargetProcess], Launched | None]]:
    """The processes to trace and the plan for them; a launched program waits before its exec until released."""
    from dataclasses import replace

    from tracer.commands.survey import launched_process, survey_launched, survey_processes
    from tracer.target.launch import launch
    from tracer.target.process import TargetProcess

    selection, exit_mode = selection_of(options)
    if not options.program:
        targets = [TargetProcess.open(pid) for pid in dict.fromkeys(options.pid)]
        yield survey_processes(targets, selection, exit_mode, options.symbols), targets, None
        return
    with launch(options.program) as launched:
        survey = survey_launched(launched, selection, exit_mode, options.symbols)
        process = launched_process(launched)
        yield replace(survey, processes=(process,)), [TargetProcess.open(launched.pid)], launched


def _say_nothing(words: str) -> None:
    pass


def _say_if_heard(words: str) -> None:
    with contextlib.suppress(OSError):  # a reader of ours that went away is no reason to stop recording
        remark(words)


def _announcement(options: argparse.Namespace, survey: Survey, began: float) -> Callable[[Plan], None]:
    """Says once the probes are attached how much of the program can be seen, and how long it took to get there."""
    from tracer.output.labels import not_probed_words

    subject = options.pid[0] if options.pid else options.program[0]

    def announce(plan: Plan) -> None:
        refused = f"{not_probed_words(plan)} (why: rat-ebpf list {subject})" if plan.refusals else ""
        names = ", ".join(f"{p.name} ({p.pid})" for p in survey.processes)
        remark(
            f"{names}: {len(plan.functions)} poll functions probed{refused}; "
            f"attached in {time.monotonic() - began:.1f} s"
        )
        for one in survey.remarks:
            remark(f"  {one}")
        if options.verbose:
            for binary in plan.binaries:
                debug = f", debug file {binary.debug_file}" if binary.debug_file else ""
                debug += f", twin {binary.twin}" if binary.twin else ""
                remark(f"  {binary.path}: build id {binary.build_id}, symbols: {binary.symbols}{debug}")
            remark(f"  {len(plan.probes)} probes, exits: {plan.exit_mode}")

    def announce_if_heard(plan: Plan) -> None:
        with contextlib.suppress(OSError):  # a reader of ours that went away is no reason to stop recording
            announce(plan)

    return (lambda plan: None) if options.quiet else announce_if_heard


def _finish(options: argparse.Namespace, trace_options: TraceOptions, output: Path, capture: Path) -> ExitCode:
    """Turn the capture into the trace; the capture stays only when that fails."""
    from tracer.commands.closing import keeping, print_closing

    give_up_privileges(reads=capture, writes_to=output.parent)
    with keeping(capture):
        result = convert(capture, output, trace_options, progress_of(quiet=options.quiet or options.json))
    remove(capture)
    print_closing(result, as_json=options.json, quiet=options.quiet)
    return ExitCode.OK
