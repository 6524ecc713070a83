"""A recording of which only the latest time is kept (`--last`): what it waits for, and what its end leaves."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tracer.commands.convert import CAPTURE_SUFFIX, RING_SUFFIX, TRACE_SUFFIX, TraceOptions, progress_of, write_trace
from tracer.commands.triggers import UNITS, nanoseconds, parse_trigger
from tracer.errors import ExitCode, UsageError
from tracer.target.clock import kernel_now
from tracer.terminal import remark, shell_word, show_progress

if TYPE_CHECKING:
    from tracer.commands.convert import Conversion
    from tracer.commands.flight import Flight
    from tracer.commands.recorder import Outcome
    from tracer.model import Hit, Plan, Trigger

DEFAULT_LAST = 30 * UNITS["s"]
MOST_LAST = 24 * 60 * UNITS["m"]
"""ns."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of such a recording."""
    parser.add_argument(
        "--last",
        type=length,
        metavar="TIME",
        help="keep only the latest time, e.g. 30s, and write that at the end, or on SIGUSR1 (docs/flight-recorder.md)",
    )
    parser.add_argument(
        "--trigger",
        action="append",
        default=[],
        metavar="WHEN",
        help="write the latest time (--last, default 30s) whenever this happens, and go on: 'poll > 100ms', "
        "'wait(NAME) > 1s', 'ready > 50ms', finding, finding:RULE; may be repeated",
    )


def length(text: str) -> int:
    """argparse type: nanoseconds, of a second or more."""
    try:
        value = nanoseconds(text, otherwise="s")
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not UNITS["s"] <= value <= MOST_LAST:
        raise argparse.ArgumentTypeError(f"{text} is not between 1s and {MOST_LAST // UNITS['m']}m")
    return value


def triggers_of(options: argparse.Namespace) -> tuple[Trigger, ...]:
    """What --trigger asks for.  Raises UsageError."""
    if not options.trigger:
        return ()
    from tracer.output.findings.gather import RULES
    from tracer.output.findings.run import Need

    rules = tuple(one.id for one in RULES if Need.STUCK not in one.needs)  # memory is read at the end
    return tuple(parse_trigger(text, rules) for text in dict.fromkeys(options.trigger))


def require_able(triggers: Sequence[Trigger], plan: Plan) -> None:
    """Raises UsageError when one of them cannot fire, whatever happens."""
    from tracer.output.triggers import unable_words

    for trigger in triggers:
        if words := unable_words(plan, trigger):
            raise UsageError(f"{trigger.text!r} can never fire", why=words, fix="what is probed: rat-ebpf list PROGRAM")


def ring_beside(output: Path) -> Path:
    """Where the recording is until it is a trace.  Says which others are there that broke off."""
    from tracer.capture import left_behind

    for ring in left_behind(output.parent):
        remark(f"note: {ring} is of a recording that broke off: rat-ebpf convert {shell_word(ring)}")
    return output.with_name(output.name + RING_SUFFIX)


def flight_of(
    options: argparse.Namespace, trace: TraceOptions, triggers: tuple[Trigger, ...], output: Path, ring: Path
) -> Flight:
    """What looks at the ring."""
    from tracer.commands.flight import Flight
    from tracer.commands.watch_options import WatchOptions

    suffix = _suffix(trace)
    watch = WatchOptions(
        str(ring.absolute()),
        str(_base(options, output).absolute()),
        suffix,
        options.last,
        options.max_size,
        triggers,
        trace,
    )
    is_drawn = sys.stderr.isatty() and not options.quiet and not options.json

    def say(words: str) -> None:
        if options.quiet:
            return
        if is_drawn:
            show_progress("", is_over=True)
        with contextlib.suppress(OSError):  # a reader of ours that went away is no reason to stop recording
            remark(words)

    return Flight(watch, say)


def _suffix(trace: TraceOptions) -> str:
    return CAPTURE_SUFFIX if trace.format == "capture" else TRACE_SUFFIX[trace.format]


def _base(options: argparse.Namespace, output: Path) -> Path:
    """What the names of the traces begin with, of which each has a time of its own."""
    stem = output.name.removesuffix(output.suffix)
    return output.with_name(stem if options.output is not None else stem.rsplit("-", 2)[0])


def close(
    options: argparse.Namespace, trace: TraceOptions, output: Path, ring: Path, flight: Flight, outcome: Outcome
) -> ExitCode:
    """Write what is to be written of a ring whose recording is over; the ring stays only when that fails.

    Where triggers were asked for, and somebody ended the recording, nothing is but what they have seen.
    """
    from tracer.capture import remove_ring
    from tracer.commands.closing import keeping, print_capture, print_closing, print_flight

    hit: Hit | None = None
    with keeping(ring):
        is_all_written = flight.finish()
        if flight.options.triggers:
            if not outcome.is_alone:
                if is_all_written:
                    remove_ring(ring)
                else:
                    flight.say(f"what was recorded last is kept: rat-ebpf convert {shell_word(ring)}")
                print_flight(flight, outcome, as_json=options.json, quiet=options.quiet)
                return ExitCode.OK
            hit = _end_of_process(outcome.reason)
            output = flight.options.free_name(hit.time, str(hit.kind))
        result = _write(options, trace, output, ring, hit)
    remove_ring(ring)
    if result is None:
        print_capture(output, outcome, as_json=options.json, quiet=options.quiet)
    else:
        print_closing(result, as_json=options.json, quiet=options.quiet, flight=flight)
    return ExitCode.OK


def _end_of_process(reason: str) -> Hit:
    from tracer.model import Hit, TriggerKind

    return Hit(str(TriggerKind.EXIT), str(TriggerKind.EXIT), reason, kernel_now(), 0)


def _write(
    options: argparse.Namespace, trace: TraceOptions, output: Path, ring: Path, hit: Hit | None
) -> Conversion | None:
    """None: it is a capture.  Raises RatError."""
    from tracer.capture import join, open_latest

    with open_latest(ring, options.last, hit) as reader:
        if trace.format == "capture":
            join(reader, output)
            return None
        return write_trace(reader, output, trace, progress_of(quiet=options.quiet or options.json))
