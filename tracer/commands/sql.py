"""`rat-ebpf sql`: where the SQL views are with which Perfetto's own tools read a trace by tasks, waits and delays."""

from __future__ import annotations

import argparse
from pathlib import Path

from tracer.errors import ExitCode
from tracer.terminal import say

PACKAGE = Path(__file__).resolve().parent.parent / "sql" / "rat_ebpf"
"""A package of modules for trace_processor; its name there is that of the folder."""

_EPILOG = """\
in a shell:
  trace_processor_shell --add-sql-package $(rat-ebpf sql) server.pftrace
  > INCLUDE PERFETTO MODULE rat_ebpf.waits;
  > SELECT * FROM rat_waits_by_location WHERE is_task ORDER BY total_dur DESC;

in Python:
  config = TraceProcessorConfig(add_sql_packages=[SQL_FOLDER])

docs/sql.md has all views, with examples over one and over many traces
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "sql",
        help="where the SQL views for Perfetto's trace_processor are",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)


def run(_options: argparse.Namespace) -> ExitCode:
    """Print the folder."""
    say(PACKAGE)
    return ExitCode.OK
