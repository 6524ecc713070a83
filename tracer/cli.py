"""The command line: parse, hand over to one command, turn errors into sentences and exit codes."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import errno
import importlib
import os
import select
import sys
from collections.abc import Sequence

from tracer import __version__
from tracer.errors import ExitCode, OutOfMemory, OutputFailed, PermissionMissing, RatError, UsageError
from tracer.surroundings import settle
from tracer.terminal import remark, shell_word

COMMANDS = ("record", "ps", "tree", "sample", "list", "convert", "report", "sql", "doctor")
"""One module of tracer.commands each; `record` is meant when none is named."""

EPILOG = """\
examples:
  sudo rat-ebpf --pid 1234                record until Ctrl-C, then write the trace here
  sudo rat-ebpf --pid 1234 -d 5 -o x.pftrace
  sudo rat-ebpf -- ./server --port 80     start a program and record it from its first poll
  sudo rat-ebpf ps 1234                   what every task does now, and where it waits
  sudo rat-ebpf tree 1234                 the async stack of every task; deadlocks by name
  sudo rat-ebpf sample 1234 -d 10         where all tasks spend their time, without probes
  rat-ebpf list target/release/server     what can be probed, and what not and why
  rat-ebpf record --help                  all options of a recording

exit codes: 0 done · 2 wrong usage · 3 no such process · 4 a permission is missing · 5 not traceable ·
6 a package is missing · 7 the kernel refused the probes · 8 no events from a busy process ·
9 the output could not be written · 10 not a readable capture or trace ·
11 the twin is of another program · 1 a bug
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code (errors.ExitCode)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    settle()
    try:
        options = parse(arguments)
        code = int(options.run(options))
        sys.stdout.flush()
        return code
    except RatError as error:
        if isinstance(error, PermissionMissing) and not error.fix:
            error.fix = _with_rights(arguments)
        return _explain(error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output (head, less) went away: not an error, and nothing more to say.
        if not _reader_is_gone():
            raise
        _silence_output()
        return int(ExitCode.OK)
    except MemoryError:
        return _explain(OutOfMemory())
    except OSError as error:
        if error.errno == errno.ENOSPC:
            _silence_output()
        elif error.errno not in _USED_UP:
            raise
        return _explain(_USED_UP[error.errno])


_USED_UP = {
    errno.ENOSPC: OutputFailed(
        "The standard output cannot be written", why="No space left.", fix="rat-ebpf … > another/place"
    ),
    errno.ENOMEM: OutOfMemory(),
    errno.EMFILE: OutputFailed("This process may not open as many files as it needs", fix="ulimit -n 1024"),
    errno.ENFILE: OutputFailed("The system has no more open files to give", fix="sysctl fs.file-max"),
}
"""What there is no more of, wherever that shows."""


def _reader_is_gone() -> bool:
    """Whether nobody reads the standard output, or error, any more: else the pipe was another one."""
    waiting = select.poll()
    for number in (1, 2):
        waiting.register(number, 0)  # what is wrong is told unasked
    return bool(waiting.poll(0))


def _silence_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse a command line; everything after `--` is the program to launch."""
    arguments, program = _split_program(arguments)
    parser = _parser()
    if not any(a in (*COMMANDS, "-h", "--help", "--version") for a in arguments[:1]):
        if not arguments and not program:
            parser.print_help()
            raise SystemExit(int(ExitCode.USAGE))
        if arguments and not arguments[0].startswith("-"):
            raise _unknown_command(arguments[0])
        arguments = ["record", *arguments]
    options = parser.parse_args(arguments)
    if program and arguments[0] != "record":
        raise UsageError(f"{arguments[0]} takes no program after --", fix=f"rat-ebpf {arguments[0]} --help")
    options.program = program
    return options


def _unknown_command(word: str) -> UsageError:
    if word.isdecimal():
        return UsageError(f"{word} is no command", fix=f"sudo rat-ebpf --pid {word}")
    near = difflib.get_close_matches(word, COMMANDS, 1)
    return UsageError(f"{word} is no command", fix=f"rat-ebpf {near[0] if near else '--help'}")


def _split_program(arguments: list[str]) -> tuple[list[str], list[str]]:
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rat-ebpf",
        description="See every task and future of a live async Rust process, with no rebuild and no restart.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"rat-ebpf {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(f"tracer.commands.{name}").add_parser(commands)
    return parser


def _with_rights(arguments: Sequence[str]) -> str:
    """The same command with the rights that it lacks."""
    if os.geteuid() == 0:  # in a container
        return "docker run --pid=host --cap-add=BPF --cap-add=PERFMON --cap-add=SYS_PTRACE …    # or on the host"
    return " ".join(["sudo rat-ebpf", *map(shell_word, arguments)])


def _explain(error: RatError) -> int:
    """What happened and why in one line; the next thing to do on lines of its own.  Returns the exit code."""
    # A cause that begins like a sentence is one; others begin with a name, or go on from what happened.
    between = "; " if error.why[:1].islower() else ". "
    words = between.join(text.rstrip(".") for text in (error.what, error.why) if text)
    with contextlib.suppress(OSError):  # where nobody can be told, the exit code still says it
        remark(f"rat-ebpf: {words}.")
        for line in error.fix.splitlines():
            remark(f"    {line}")
    return int(error.code)
