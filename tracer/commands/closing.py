"""What is printed at the end: the summary, the trace's path and how to open it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tracer.commands.signals import interruptible
from tracer.errors import OutOfMemory, OutputFailed, RatError
from tracer.terminal import remark, say, say_json

if TYPE_CHECKING:
    from tracer.commands.convert import Conversion
    from tracer.commands.flight import Flight
    from tracer.commands.recorder import Outcome


def say_kept(error: RatError, capture: Path) -> None:
    """Add to an error's advice that nothing of the recording is lost."""
    error.fix = "\n".join(filter(None, (error.fix, f"what was recorded is kept: rat-ebpf convert {capture}")))


@contextlib.contextmanager
def keeping(capture: Path) -> Iterator[None]:
    """While a capture becomes something else: that can be interrupted, and an error says that the capture is kept."""
    try:
        with interruptible():
            yield
    except KeyboardInterrupt:
        raise OutputFailed(
            "stopped while writing the trace", why="what was recorded is kept", fix=f"rat-ebpf convert {capture}"
        ) from None
    except RatError as error:
        say_kept(error, capture)
        raise
    except MemoryError as raised:
        memory = OutOfMemory(of_recording=True)
        say_kept(memory, capture)
        raise memory from raised


def print_closing(result: Conversion, *, as_json: bool, quiet: bool, flight: Flight | None = None) -> None:
    """The summary on the standard output (one JSON object with as_json), remarks on the standard error.

    flight: of a recording that kept its latest time.
    """
    if result.torn and not quiet:
        remark("note: the capture's end is missing or damaged; all before it is in the trace")
    if as_json:
        told = flight.told() if flight is not None else {}
        say_json({**result.summary.as_json(), "trace": str(result.trace.path), **told})
        for words in result.trace.remarks if not quiet else ():
            remark(words)
        return
    if quiet:
        return
    result.summary.print()
    for words in result.trace.remarks:
        say(words)
    for words in flight.left_out() if flight is not None else ():
        say(words)
    say(f"trace: {result.trace.path}")
    say("open it at https://ui.perfetto.dev (it stays on your machine) or with any Perfetto trace_processor")


def print_flight(flight: Flight, outcome: Outcome, *, as_json: bool, quiet: bool) -> None:
    """What is said when somebody ends a recording that waits for something."""
    if as_json:
        say_json({"ended": outcome.reason, "events": outcome.received, "lost": outcome.lost, **flight.told()})
    elif not quiet:
        say(f"{outcome.reason}: {outcome.received:,} events, {outcome.lost:,} lost")
        for one in flight.written:
            say(f"{one['trigger']}: {one['title']}")
            say(f"  trace: {one['path']}")
        if not flight.written and not flight.left_out():
            say("no trigger has fired, and nothing was written")
        for words in (*flight.left_out(), *flight.coverage_words()):
            say(words)


def print_capture(capture: Path, outcome: Outcome, *, as_json: bool, quiet: bool) -> None:
    """What is said when the capture itself was asked for."""
    if as_json:
        document = {
            "capture": str(capture),
            "ended": outcome.reason,
            "events": outcome.received,
            "lost": outcome.lost,
        }
        say_json(document)
    elif not quiet:
        for words in (outcome.reason, f"capture: {capture}", f"trace it: rat-ebpf convert {capture}"):
            say(words)
