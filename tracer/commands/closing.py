"""What is printed at the end: the summary, the trace's path and how to open it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tracer.errors import RatError
from tracer.terminal import remark, say, say_json

if TYPE_CHECKING:
    from tracer.commands.convert import Conversion
    from tracer.commands.recorder import Outcome


def say_kept(error: RatError, capture: Path) -> None:
    """Add to an error's advice that nothing of the recording is lost."""
    error.fix = "\n".join(filter(None, (error.fix, f"what was recorded is kept: rat-ebpf convert {capture}")))


def print_closing(result: Conversion, *, as_json: bool, quiet: bool) -> None:
    """The summary on the standard output (one JSON object with as_json), remarks on the standard error."""
    if as_json:
        say_json({**result.summary.as_json(), "trace": str(result.trace.path)})
        return
    if quiet:
        return
    if result.torn:
        remark("note: the capture's end is missing or damaged; all before it is in the trace")
    result.summary.print()
    for words in result.trace.remarks:
        say(words)
    say(f"trace: {result.trace.path}")
    say("open it at https://ui.perfetto.dev (it stays on your machine) or with any Perfetto trace_processor")


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
