"""`rat-ebpf list PID|BINARY`: which poll functions there are, where, and which of them can be probed, or why not.

With -F also each await of the functions that match: its line, and what it waits for.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tracer.errors import ExitCode
from tracer.terminal import remark

if TYPE_CHECKING:
    from tracer.commands.survey import Selection
    from tracer.model import ExitMode


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = commands.add_parser("list", help="show the poll functions of a process or binary", description=__doc__)
    parser.add_argument("subject", metavar="PID|BINARY", help="a process id, or a file (needs no root)")
    add_selection_options(parser)
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.set_defaults(run=run)


def add_selection_options(parser: argparse.ArgumentParser) -> None:
    """The options that `record` and `list` share."""
    parser.add_argument(
        "-F",
        "--filter",
        action="append",
        default=[],
        metavar="REGEX",
        help="only futures whose name matches, and all tasks, which are what they run in (may be repeated)",
    )
    parser.add_argument(
        "-N",
        "--notrace",
        action="append",
        default=[],
        metavar="REGEX",
        help="no function whose name matches (may be repeated)",
    )
    parser.add_argument(
        "--generated-futures", action="store_true", help="only compiler-generated futures: async fn, block, closure"
    )
    parser.add_argument(
        "--exits",
        choices=("auto", "ret", "task", "uretprobe"),
        help="how a poll's end is seen: where the caller goes on or by exit instructions, and by a return probe on "
        "tokio's task poll (default) · "
        "auto: as by default, but a future that costs too much first loses its exits, and only then is not probed · "
        "ret: by exit instructions only · task: only that of whole tasks, cheap · "
        "uretprobe: by return probes, only for panic=abort builds",
    )
    parser.add_argument(
        "--symbols",
        type=Path,
        metavar="TWIN",
        help="the same source, Cargo.lock and profile built again with debug = 2: says where futures wait in a program "
        "that has no debug information",
    )


def selection_of(options: argparse.Namespace) -> tuple[Selection, ExitMode]:
    """What the options of add_selection_options ask for.  Raises UsageError."""
    from tracer.commands.survey import Selection, compile_patterns
    from tracer.model import ExitMode

    selection = Selection(
        compile_patterns(options.filter), compile_patterns(options.notrace), options.generated_futures
    )
    return selection, ExitMode(options.exits or "default")


def run(options: argparse.Namespace) -> ExitCode:
    """Print the table."""
    from tracer.commands.survey import survey_file, survey_processes
    from tracer.output.printed_list import print_functions
    from tracer.target.process import TargetProcess

    selection, exit_mode = selection_of(options)
    if options.subject.isdecimal() and not os.access(options.subject, os.F_OK):
        survey = survey_processes([TargetProcess.open(int(options.subject))], selection, exit_mode, options.symbols)
    else:
        survey = survey_file(Path(options.subject), selection, exit_mode, options.symbols)
    print_functions(survey.plan, with_awaits=bool(options.filter), as_json=options.json)
    for words in survey.remarks:
        remark(words)
    return ExitCode.OK
