"""Runs the installed command, as a user would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

RAT = Path(sys.executable).parent / "rat-ebpf"


@dataclass(frozen=True, slots=True)
class Done:
    """How the command ended, and what it said."""

    code: int
    out: str
    err: str


def rat(
    *arguments: object,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 90,
    through: Sequence[str] = (),
) -> Done:
    """Run it to its end.  Fails the test on a traceback: no user should ever see one.

    through: a command that starts it, as setpriv does.
    """
    done = subprocess.run(
        [*through, RAT, *map(str, arguments)],
        cwd=cwd,
        env=_environment(env),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return _checked(done.returncode, done.stdout, done.stderr)


class Recording:
    """A recording under way."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def stop(self, with_signal: signal.Signals = signal.SIGINT) -> Done:
        """End it as Ctrl-C does, and wait for the trace."""
        self.process.send_signal(with_signal)
        return self.wait()

    def wait(self, timeout: float = 90) -> Done:
        """Wait until it ends of its own accord."""
        out, err = self.process.communicate(timeout=timeout)
        return _checked(self.process.returncode, out, err)


@contextmanager
def recording(
    *arguments: object,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    until: str = "attached",
    looks_on: bool = True,
    through: Sequence[str] = (),
) -> Iterator[Recording]:
    """Start a recording and wait until it says that its probes are attached, or whatever else it says then.

    Before, it says what they will cost, and nothing else; looks_on=False: that is waited for.
    """
    process = subprocess.Popen(
        [*through, RAT, *map(str, arguments)],
        cwd=cwd,
        env=_environment(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        if looks_on and line.startswith("expected to cost it: "):
            line = process.stderr.readline()
        if until not in line:
            pytest.fail(f"it did not begin: {line}{process.communicate()}")
        yield Recording(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, "COLUMNS": "120", **(extra or {})}


def _checked(code: int, out: str, err: str) -> Done:
    assert "Traceback" not in err, err
    return Done(code, out, err)
