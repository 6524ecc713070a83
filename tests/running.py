"""Runs the Rust programs of tests/targets."""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.building import Builds
from tests.cells import TARGETS, Cell
from tests.lives import Life, read_lives
from tests.truth import Log, Totals, read_log


@dataclass(frozen=True, slots=True)
class Result:
    """How a target ended.

    returncode: as subprocess gives it (negative: the signal).  lines: the JSON lines it printed after `ready`.
    totals: from the last of them that is a line of totals, else None.  log: None when the target wrote none.
    """

    returncode: int
    stdout: str
    stderr: str
    lines: tuple[dict[str, Any], ...]
    totals: Totals | None
    log: Log | None
    lives: tuple[Life, ...] = ()


class Running:
    """A target that has said `ready`: set up, with its threads, but waiting for go()."""

    def __init__(self, process: subprocess.Popen[bytes], log_path: Path) -> None:
        self.process = process
        self.pid = process.pid
        self.log_path = log_path
        self.ready: dict[str, Any] = self._read_ready()

    def _read_ready(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], 30)[0]:
            pytest.fail("the target said nothing for 30 s")
        word, _, details = self.process.stdout.readline().decode().partition(" ")
        if word != "ready":
            pytest.fail(f"the target did not say ready, but: {word} {details}")
        ready: dict[str, Any] = json.loads(details)
        return ready

    def go(self) -> None:
        """Starts the measured part."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")

    def wait(self, timeout: float = 60) -> Result:
        """Waits for the end, `timeout` seconds at most."""
        out, err = self.process.communicate(timeout=timeout)
        lines = tuple(json.loads(line) for line in out.splitlines() if line.startswith(b"{"))
        totals = [Totals(**line) for line in lines if "polls" in line]
        log = read_log(self.log_path) if self.log_path.exists() else None
        last = totals[-1] if totals else None
        lives_path = self.log_path.with_suffix(".lives")
        lives = read_lives(lives_path) if lives_path.exists() else ()
        return Result(self.process.returncode, out.decode(), err.decode(errors="replace"), lines, last, log, lives)


class Targets:
    """The programs of tests/targets."""

    def __init__(self, scratch: Path, builds: Builds) -> None:
        self._scratch = scratch
        self._builds = builds
        self._runs = 0

    def path(self, name: str, profile: str = "dev") -> Path:
        """The executable of one target in one profile of tests.cells.PROFILES, once it is built."""
        if name not in TARGETS:
            raise KeyError(name)
        return self._builds.path(Cell(name, profile))

    @contextmanager
    def run(
        self,
        name: str,
        profile: str = "dev",
        *arguments: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Iterator[Running]:
        """Starts a target and waits until it is ready; kills it at the end of the block if it still runs."""
        with self.start(self.path(name, profile), *arguments, env=env, cwd=cwd) as running:
            yield running

    @contextmanager
    def start(
        self,
        executable: Path,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Iterator[Running]:
        """Like run(), for an executable that a test has put somewhere else."""
        self._runs += 1
        log_path = self._scratch / f"{self._runs}.truth"
        process = subprocess.Popen(
            [executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            bufsize=0,  # nothing is read ahead of the `ready` line
            env={**os.environ, "TRUTH_LOG": str(log_path), **(env or {})},
        )
        try:
            yield Running(process, log_path)
        finally:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()


def children_of(pid: int) -> set[int]:
    """The processes that the first thread of a process has begun."""
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
