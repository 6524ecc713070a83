"""`rat-ebpf convert CAPTURE`: make a trace (and the summary) out of a capture, anywhere and without root."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tracer.commands.signals import held_back, interruptible
from tracer.errors import ExitCode, UsageError
from tracer.privileges import give_up_privileges
from tracer.terminal import show_progress

if TYPE_CHECKING:
    from tracer.capture import CaptureReader, RingReader
    from tracer.model import CaptureEnd, Tally
    from tracer.output.summary import Summary
    from tracer.output.trace import Listener, WrittenTrace

CAPTURE_SUFFIX = ".ratcap"
RING_SUFFIX = ".ring"
TRACE_SUFFIX = {"perfetto": ".pftrace", "chrome": ".json"}
MAX_SLICES = 2_000_000
"""Beyond this many slices Perfetto's UI becomes slow to open a trace; short ones are merged then."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = commands.add_parser("convert", help="make a trace out of a capture", description=__doc__)
    parser.add_argument(
        "capture", type=Path, metavar="CAPTURE", help="a file, or ring, that `rat-ebpf` left or was asked to keep"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="the trace (default: beside the capture)")
    add_trace_options(parser)
    parser.set_defaults(run=run)


def add_trace_options(parser: argparse.ArgumentParser, formats: tuple[str, ...] = ("perfetto", "chrome")) -> None:
    """The options that `record` and `convert` share."""
    parser.add_argument(
        "--format",
        choices=formats,
        help="perfetto: ui.perfetto.dev · chrome: JSON for chrome://tracing (default: by FILE's ending)",
    )
    parser.add_argument(
        "--min-us", type=float, default=0.0, metavar="US", help="leave out polls shorter than this many microseconds"
    )
    parser.add_argument(
        "--max-slices",
        type=int,
        default=MAX_SLICES,
        metavar="N",
        help="beyond this many slices merge short polls and leave out short waits (default %(default)s); what there is "
        "once a task, such as its spawn, always stays",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print only errors")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON on the standard output")


def format_of(output: Path | None) -> str:
    """The format that a file's ending asks for."""
    endings = {suffix: name for name, suffix in TRACE_SUFFIX.items()} | {CAPTURE_SUFFIX: "capture"}
    return endings.get(output.suffix, "perfetto") if output is not None else "perfetto"


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """How a capture becomes a trace; of a recording, format can be "capture": it does not become one."""

    format: str = "perfetto"
    min_us: float = 0.0
    max_slices: int = MAX_SLICES


def trace_options_of(options: argparse.Namespace) -> TraceOptions:
    """What the options of add_trace_options ask for.  Raises UsageError."""
    if options.max_slices < 1000:
        raise UsageError("--max-slices must be at least 1000")
    if not 0 <= options.min_us < math.inf:
        raise UsageError("--min-us must not be below 0, nor without an end")
    return TraceOptions(options.format or format_of(options.output), options.min_us, options.max_slices)


@dataclass(frozen=True, slots=True)
class Conversion:
    """A written trace and what it says.  torn: the capture's last block could not be read."""

    trace: WrittenTrace
    summary: Summary
    torn: bool


def run(options: argparse.Namespace) -> ExitCode:
    """Convert one capture."""
    from tracer.capture import open_capture
    from tracer.commands.closing import print_closing

    trace_options = trace_options_of(options)
    if trace_options.format == "capture":
        raise UsageError(f"{options.output} is named like a capture, not like a trace", fix="-o FILE.pftrace")
    output = options.output or beside(options.capture, TRACE_SUFFIX[trace_options.format])
    if _is_same(output, options.capture):
        with open_capture(options.capture):  # where it is none, that is what is wrong
            raise UsageError(
                "the trace would take the place of its capture", fix=f"rat-ebpf convert {options.capture} -o OTHER_FILE"
            )
    give_up_privileges(reads=options.capture, writes_to=output.parent)
    with interruptible():
        result = convert(options.capture, output, trace_options, progress_of(quiet=options.quiet or options.json))
    print_closing(result, as_json=options.json, quiet=options.quiet)
    return ExitCode.OK


def _is_same(one: Path, other: Path) -> bool:
    """Of two that are not there, or cannot be looked at, whoever opens them says so."""
    try:
        return one.samefile(other)
    except OSError:
        return False


def beside(capture: Path, suffix: str) -> Path:
    """The trace's default name, also of a ring that one is in: x.ratcap and the x.pftrace.ratcap of a recording that
    broke off give x.pftrace."""
    if capture.name in ("", ".."):
        capture = capture.resolve()
    name = capture.name.removesuffix(CAPTURE_SUFFIX).removesuffix(RING_SUFFIX).removesuffix(suffix)
    return capture.with_name(name + suffix)


def progress_of(*, quiet: bool, what: str = "writing the trace") -> Callable[[float], None]:
    """A callback for the share done: drawn on a terminal, silent in a pipe or when quiet."""
    if quiet or not sys.stderr.isatty():
        return lambda share: None

    def draw(share: float) -> None:
        show_progress(f"{what} … {share:4.0%}", is_over=share >= 1)

    return draw


def convert(capture: Path, output: Path, options: TraceOptions, progress: Callable[[float], None]) -> Conversion:
    """Replay a capture into a trace file and a summary.  Raises BadCapture, OutputFailed."""
    from tracer.capture import open_capture

    with open_capture(capture) as reader:
        return write_trace(reader, output, options, progress)


def write_trace(
    reader: CaptureReader | RingReader, output: Path, options: TraceOptions, progress: Callable[[float], None]
) -> Conversion:
    """The same of an open capture.  Raises OutputFailed."""
    from tracer.output.chrome import ChromeWriter
    from tracer.output.flight import hit_marks
    from tracer.output.perfetto import PerfettoWriter
    from tracer.output.summary import Summary

    with contextlib.ExitStack() as making:
        writer_class = PerfettoWriter if options.format == "perfetto" else ChromeWriter
        making.enter_context(held_back())  # a constructor that is interrupted would leave its file behind
        writer = writer_class(
            output,
            reader.recording,
            max_slices=options.max_slices,
            total_events=reader.event_count,
            min_us=options.min_us,
        )
        summary = Summary(reader.recording)
        try:
            making.close()
            tally, end = replay(reader, (writer, summary), lambda share: progress(min(0.99, share)))
            summary.close(tally, end)
            writer.mark([*hit_marks(reader.recording), *summary.findings])
            if isinstance(writer, PerfettoWriter):
                writer.carry(summary.as_json())
            trace = writer.close(tally, end)
        except BaseException:
            writer.abort()
            raise
        finally:
            progress(1.0)
        return Conversion(trace, summary, reader.torn)


def replay(
    reader: CaptureReader | RingReader, sinks: Sequence[Listener], progress: Callable[[float], None]
) -> tuple[Tally, CaptureEnd | None]:
    """Tell all that a capture says to the sinks, which are then to be closed with what is returned.

    progress: called with the share done, 0 to 1.
    """
    from tracer.commands.assembling import assembled
    from tracer.model import CaptureEnd, Tally
    from tracer.output.trace import tell

    total = reader.event_count
    end: CaptureEnd | None = None
    tally = Tally()
    for item in assembled(reader, total):
        if isinstance(item, CaptureEnd):
            end = item
        elif isinstance(item, Tally):
            tally = item
            progress(tally.events / max(1, total))
        else:
            for sink in sinks:
                tell(sink, item)
    return tally, end
