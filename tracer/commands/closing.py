"""What is printed at the end: the summary, the trace's path and how to open it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracer.errors import RatError

if TYPE_CHECKING:
    from tracer.commands.convert import Conversion
    from tracer.commands.recorder import Outcome


def say_kept(error: RatError, capture: Path) -> None:
    """Add to an error's advice that nothing of the recording is lost."""
    error.fix = "\n".join(filter(None, (error.fix, f"what was recorded is kept: rat-ebpf convert {capture}")))


def print_closing(result: Conversion, *, as_json: bool, quiet: bool) -> None:
    """The summary on the standard output (one JSON object with as_json), remarks on the standard error."""
    if as_json:
        print_document({**result.summary.as_json(), "trace": str(result.trace.path)})
        return
    if quiet:
        return
    if result.torn:
        print("note: the capture's end is missing or damaged; all before it is in the trace", file=sys.stderr)
    result.summary.print()
    for remark in result.trace.remarks:
        print(remark)
    print(f"trace: {result.trace.path}")
    print("open it at https://ui.perfetto.dev (it stays on your machine) or with any Perfetto trace_processor")


def print_document(document: dict[str, Any]) -> None:
    """A summary as JSON on the standard output."""
    json.dump(document, sys.stdout, indent=2)
    print()


def print_capture(capture: Path, outcome: Outcome, *, as_json: bool, quiet: bool) -> None:
    """What is said when the capture itself was asked for."""
    if as_json:
        document = {
            "capture": str(capture),
            "ended": outcome.reason,
            "events": outcome.received,
            "lost": outcome.lost,
        }
        print(json.dumps(document, indent=2))
    elif not quiet:
        print(f"{outcome.reason}\ncapture: {capture}\ntrace it: rat-ebpf convert {capture}")
