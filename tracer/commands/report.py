"""`rat-ebpf report FILE`: print the summary again, from a capture or from a Perfetto trace that rat-ebpf wrote."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tracer.errors import ExitCode
from tracer.privileges import give_up_privileges
from tracer.terminal import remark, say_json


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = commands.add_parser("report", help="print the summary of a capture or trace again", description=__doc__)
    parser.add_argument("file", type=Path, metavar="CAPTURE|TRACE", help="a .ratcap or a .pftrace of rat-ebpf")
    parser.add_argument("--json", action="store_true", help="print it as JSON (docs/summary.schema.json)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> ExitCode:
    """Print the summary."""
    from tracer.capture import is_capture
    from tracer.output.carried import print_carried, read_summary
    from tracer.output.printed_summary import print_summary
    from tracer.output.tables import make_console

    path = options.file
    give_up_privileges(reads=path)
    made_here = is_capture(path)
    document = summarise(path, quiet=options.json) if made_here else read_summary(path)
    if options.json:
        say_json(document)
    elif made_here:
        print_summary(document, make_console())
    else:
        print_carried(document, path, make_console())
    return ExitCode.OK


def summarise(capture: Path, *, quiet: bool) -> dict[str, Any]:
    """The summary of a capture, as Summary.as_json has it.  Raises BadCapture."""
    from tracer.capture import open_capture
    from tracer.commands.convert import progress_of, replay
    from tracer.output.summary import Summary

    with open_capture(capture) as reader:
        summary = Summary(reader.recording)
        progress = progress_of(quiet=quiet, what="reading the capture")
        try:
            summary.close(*replay(reader, (summary,), progress))
        finally:
            progress(1.0)
        if reader.torn:
            remark("note: the capture's end is missing or damaged; all before it is in the summary")
    return summary.as_json()
