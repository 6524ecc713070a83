"""`rat-ebpf tree PID`: the async stack of every task of a live process, from its future down to what it waits for.

Tasks that wait alike are shown once.  Uses no probe.
"""

from __future__ import annotations

import argparse

from tracer.commands.ps import add_task_options, chosen, chosen_jobs, print_json, say_remarks, take_view, task_source
from tracer.errors import ExitCode, UsageError
from tracer.terminal import shell_word


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = commands.add_parser("tree", help="show the async stack of every task of a process", description=__doc__)
    parser.add_argument(
        "--task", type=int, action="append", default=[], metavar="ID", help="only this task (may be repeated)"
    )
    add_task_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> ExitCode:
    """Print the trees."""
    import numpy as np

    from tracer.output.tables import LIST_WIDTH, make_console
    from tracer.output.task_tree import print_tree

    live = task_source(options)
    view = take_view(live, with_links=True)
    tasks = chosen(view, options)
    if options.task:
        tasks = tasks[np.isin(tasks["id"], options.task)]
        if not len(tasks):
            where, again = f"process {options.pid}", f"{options.pid}"
            if options.core is not None:
                where, again = f"{options.core}", f"--core {shell_word(options.core)} --exe {shell_word(options.exe)}"
            raise UsageError(f"{where} has no task {options.task[0]}", fix=f"rat-ebpf ps {again}")
    jobs = chosen_jobs(view, options) if not options.task else []
    if options.json:
        print_json(view, tasks, jobs)
        return ExitCode.OK
    print_tree(view, tasks, jobs, make_console(LIST_WIDTH))
    say_remarks(live, view)
    return ExitCode.OK
