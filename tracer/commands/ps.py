"""`rat-ebpf ps PID`: a table of all tasks of a live process: what each does, and where it waits.  Uses no probe."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tracer.commands.signals import interruptible
from tracer.errors import ExitCode, UsageError
from tracer.terminal import remark, say, say_json

if TYPE_CHECKING:
    from tracer.commands.snapshots import TaskSource
    from tracer.model import Array, Binary
    from tracer.output.task_list import TaskView
    from tracer.stacks import RunningJob, Snapshot


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = commands.add_parser("ps", help="list the tasks of a process and where they wait", description=__doc__)
    add_task_options(parser)
    parser.add_argument(
        "--sort", choices=("id", "state", "future", "place"), default="id", help="the order of the tasks (default: id)"
    )
    parser.add_argument(
        "--watch",
        type=float,
        nargs="?",
        const=2.0,
        metavar="SECONDS",
        help="show it again and again (default: every 2 seconds) until Ctrl-C",
    )
    parser.set_defaults(run=run)


def add_task_options(parser: argparse.ArgumentParser) -> None:
    """The options that `ps` and `tree` share."""
    parser.add_argument("pid", type=int, nargs="?", metavar="PID", help="the process")
    parser.add_argument("--core", type=Path, metavar="FILE", help="instead of a process: a core dump of it")
    parser.add_argument("--exe", type=Path, metavar="BINARY", help="with --core: the program that it is of")
    parser.add_argument(
        "-F",
        "--filter",
        action="append",
        default=[],
        metavar="REGEX",
        help="only tasks whose future's name matches (may be repeated)",
    )
    parser.add_argument(
        "--state",
        action="append",
        default=[],
        choices=("waiting", "ready", "running", "complete"),
        help="only tasks in this state (may be repeated)",
    )
    parser.add_argument(
        "--symbols",
        type=Path,
        metavar="TWIN",
        help="the same source, Cargo.lock and profile built again with debug = 2, where the program has no debug "
        "information",
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON (docs/snapshot.schema.json)")


def run(options: argparse.Namespace) -> ExitCode:
    """Print the table, once or again and again."""
    if options.watch is not None and (options.json or options.core or not 0.1 <= options.watch <= 86400):
        raise UsageError(
            "--watch shows a live process, every 0.1 to 86400 seconds, as a table",
            fix="rat-ebpf ps PID --watch 2    # without --json and --core",
        )
    live = task_source(options)
    if options.watch is not None:
        _watch(live, options)
        return ExitCode.OK
    view = take_view(live)
    tasks = chosen(view, options)
    if options.json:
        print_json(view, tasks, chosen_jobs(view, options))
        return ExitCode.OK
    from tracer.output.tables import LIST_WIDTH, make_console
    from tracer.output.task_list import task_lines

    for line in task_lines(view, tasks, make_console(LIST_WIDTH).width, chosen_jobs(view, options)):
        say(line)
    say_remarks(live, view)
    return ExitCode.OK


def task_source(options: argparse.Namespace) -> TaskSource:
    """What the options of add_task_options name: a process, or a core dump.  Raises RatError."""
    from tracer.commands.snapshots import core_tasks, live_tasks

    if options.core is not None and options.exe is not None and options.pid is None:
        return core_tasks(options.core, options.exe, options.symbols)
    if options.pid is None or options.core is not None or options.exe is not None:
        raise UsageError(
            "name one process, or a core dump and the program that it is of",
            fix="rat-ebpf tree 1234\nrat-ebpf tree --core core.1234 --exe target/release/server",
        )
    return live_tasks(options.pid, options.symbols)


def take_view(live: TaskSource, *, with_links: bool = False) -> TaskView:
    """A snapshot of the process.  Raises RatError."""
    from tracer.output.task_list import TaskView
    from tracer.stacks import UnderWay
    from tracer.target.standstill import StandstillWatch

    if live.target is None:
        snapshot = live.reader.take()
        links = live.reader.links(snapshot) if with_links else None
        return TaskView.of(live.process, live.binary, replace(snapshot, time=0), {}, links)
    threads = {thread.tid: thread.name for thread in live.target.threads()}
    snapshot = live.reader.take()
    links = live.reader.links(snapshot) if with_links else None
    under_way = UnderWay()
    if _is_any_under_way(live.binary, snapshot) and live.running_polls is not None:
        snapshot, under_way = live.running_polls.of(snapshot)
    standstill = StandstillWatch(live.process.pid).look()
    return TaskView.of(live.process, live.binary, snapshot, threads, links, under_way, standstill)


def _is_any_under_way(binary: Binary, snapshot: Snapshot) -> bool:
    """Whether threads are worth a look: a task runs, or blocking jobs may, which are in no list."""
    from tracer.snapshot.vtables import is_unlisted
    from tracer.stacks import TaskState

    is_running = bool((snapshot.tasks["state"] == TaskState.RUNNING).any())
    return is_running or any(map(is_unlisted, binary.functions))


def chosen(view: TaskView, options: argparse.Namespace) -> Array:
    """The tasks that the options of add_task_options ask for.  Raises UsageError."""
    from tracer.output.task_list import SortKey, chosen_tasks
    from tracer.stacks import TaskState

    states = frozenset(TaskState[state.upper()] for state in options.state)
    return chosen_tasks(view, _filter(options), states, SortKey(getattr(options, "sort", "id")))


def chosen_jobs(view: TaskView, options: argparse.Namespace) -> list[RunningJob]:
    """The blocking jobs that run now and that the options of add_task_options ask for.  Raises UsageError."""
    matches = _filter(options)
    if options.state and "running" not in options.state:
        return []
    return [job for job in view.under_way.jobs if any(map(matches, view.job_names(job)))]


def _filter(options: argparse.Namespace) -> Callable[[str], bool]:
    """Whether a name is one that was asked for.  Raises UsageError."""
    from tracer.commands.survey import compile_patterns

    patterns = compile_patterns(options.filter)

    def matches(name: str) -> bool:
        return not patterns or any(pattern.search(name) for pattern in patterns)

    return matches


def print_json(view: TaskView, tasks: Array, jobs: Sequence[RunningJob]) -> None:
    """Print the tasks as docs/snapshot.schema.json has them."""
    from tracer.output.task_list import tasks_json

    say_json(tasks_json(view, tasks, jobs), indent=1)


def say_remarks(live: TaskSource, view: TaskView) -> None:
    """What would tell more, on the standard error."""
    sys.stdout.flush()
    if not len(view.snapshot.tasks):
        from tracer.target.workers import words_on_workers

        remark(
            "no task was found: those that live for a few milliseconds can be missed, and those of tokio before 1.25 "
            "and of async-task before 4.0, or compiled with -Zrandomize-layout, cannot be found"
        )
        if live.target is not None and (workers := words_on_workers(live.target)):
            remark(workers)
    for words in live.remarks:
        remark(words)


def _watch(live: TaskSource, options: argparse.Namespace) -> None:
    from tracer.output.screen import refreshing_screen
    from tracer.output.task_list import task_lines

    try:
        with interruptible(), refreshing_screen() as show:
            while True:
                view = take_view(live)
                tasks, jobs = chosen(view, options), chosen_jobs(view, options)
                show(partial(task_lines, view, tasks, jobs=jobs))
                time.sleep(options.watch)
    except KeyboardInterrupt:
        return
