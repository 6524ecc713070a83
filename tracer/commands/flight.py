"""The recorder's side of its watcher (tracer.commands.watcher): starts it, asks it, and says what it wrote."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tracer.commands.watch_options import WatchOptions
from tracer.target.clock import kernel_now

if TYPE_CHECKING:
    from tracer.model import CaptureEnd, PlanChange, Recording
    from tracer.output.coverage import Coverage

_CODE = """\
import json, sys
sys.path[:], options = json.loads(sys.argv[1])
from tracer.commands.watcher import main
main(options)
"""
_MOST_STARTS = 5
_PATIENCE = 600.0
"""Seconds that it may take at the end to write what is due."""


class Flight:
    """written: a dictionary each, of the traces so far: path, trigger, kind, title.  again: how often each trigger, by
    its text, fired while it was still, in the time that its latest trace had already.  not_written: how often one fired
    and has no trace.  say: what a line for people is told to.
    """

    def __init__(self, options: WatchOptions, say: Callable[[str], None]) -> None:
        self._options = options
        self.say = say
        self._process: subprocess.Popen[bytes] | None = None
        self._line = b""
        self._starts = 0
        self._hits: list[tuple[str, int]] = []
        self.written: list[dict[str, Any]] = []
        self.not_written = 0
        self.again: Counter[str] = Counter()
        self._coverage: Coverage | None = None
        self._covered: dict[str, Any] | None = None
        self._is_less_said = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()

    @property
    def options(self) -> WatchOptions:
        return self._options

    def told(self) -> dict[str, Any]:
        """For the JSON."""
        told = {"traces": self.written, "again": dict(self.again), "not_written": self.not_written}
        return told | ({"coverage": self._covered} if self._covered is not None else {})

    def left_out(self) -> list[str]:
        """What fired and has no trace, in words."""
        from tracer.output.labels import more_times

        words = [
            f"{trigger}: {count:,} more, in the time of its traces or right after them"
            for trigger, count in self.again.items()
        ]
        if self.not_written:
            words.append(f"{more_times(self.not_written)} a trigger fired, and no trace could be written")
        return words

    def coverage_words(self) -> list[str]:
        """What the probes cost, and what was not probed all the time, in words; once the recording has ended."""
        from tracer.output.coverage import coverage_words

        return list(coverage_words(self._covered)) if self._covered is not None else []

    def records(self, recording: Recording) -> None:
        """What triggers look at has begun."""
        from tracer.output.coverage import Coverage

        self._coverage = Coverage(recording)

    def change(self, change: PlanChange) -> None:
        """Other probes from its time on.  The first time that some go it is said: one may record for days."""
        if self._coverage is None:
            return
        self._coverage.change(change)
        if not self._is_less_said:
            self._is_less_said = True
            self.say(f"{change.reason}; what happens where nothing is probed fires no trigger")

    def ended(self, end: CaptureEnd) -> None:
        """Nothing is recorded any more."""
        if self._coverage is not None:
            self._covered = self._coverage.document(end.time, end.overhead, end.of_processor)

    def begin(self) -> None:
        """Start to watch; the ring is there."""
        self._starts += 1
        self._line = b""
        # Isolated: neither the environment nor this folder says what is run as us, only what we are run from.
        options = self._options if self._starts == 1 else replace(self._options, told=tuple(self._hits))
        command = [sys.executable, "-I", "-c", _CODE, json.dumps([sys.path, options.as_json()])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        assert self._process.stdout is not None
        assert self._process.stdin is not None
        for stream in (self._process.stdin, self._process.stdout):
            os.set_blocking(stream.fileno(), False)  # one that hangs does not hold the recording up

    def look(self) -> None:
        """Say what was written since the last look; quick.  All events up to now have been given to the ring."""
        process = self._process
        if process is None:
            return
        self._send(b"until %d\n" % kernel_now())
        self._take(process)
        if process.poll() is not None:
            self._take(process)
            self.stop()
            self._say_ended(process.returncode)

    def write_now(self) -> None:
        """Have the latest time written."""
        if self._process is None and not self._starts:
            self.begin()
        self._send(b"now\n")

    def finish(self) -> bool:
        """The recording is over: wait until what is due is written.  May be interrupted by KeyboardInterrupt.

        False: something may be missing, which is said.
        """
        is_looked_for = self._process is not None or not self._starts
        self._send(b"end\n")
        until = time.monotonic() + _PATIENCE
        try:
            while (process := self._process) is not None and time.monotonic() < until:
                if process.poll() is not None:
                    self._take(process)
                    if process.returncode:
                        self.say(f"what looks for triggers {_how(process.returncode)}: something may be missing")
                    return not process.returncode
                assert process.stdout is not None
                waiting = select.poll()  # select() knows no descriptor beyond 1,023, and each probe may have one
                waiting.register(process.stdout, select.POLLIN)
                waiting.poll(200)
                self._take(process)
            if self._process is not None:
                self.say(f"what looks for triggers needs more than {_PATIENCE / 60:.0f} min: something may be missing")
                return False
            return is_looked_for
        finally:
            self.stop()

    def stop(self) -> None:
        """End it, whatever it does.  Can be called twice."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()

    def _send(self, words: bytes) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):  # it has ended, which the next look says
                self._process.stdin.write(words)

    def _take(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        while part := process.stdout.read(1 << 16):
            self._line += part
        *lines, self._line = self._line.split(b"\n")
        for line in lines:
            self._heard(json.loads(line))

    def _heard(self, told: dict[str, Any]) -> None:
        if "note" in told:
            self.say(told["note"])
        if "again" in told:
            self.again[told["again"]] += told["count"]
        if "time" in told:
            self._hits.append((told["hit"], told["time"]))
        if "written" in told:
            self.written.append(
                {"path": told["written"], "trigger": told["hit"], "kind": told["kind"], "title": told["title"]}
            )
            self.say(f"{told['hit']}: {told['title']} → {told['written']}")
        elif "hit" in told:
            self.not_written += 1

    def _say_ended(self, code: int) -> None:
        if self._starts < _MOST_STARTS:
            self.say(f"what looks for triggers {_how(code)}; it is started again")
            try:
                self.begin()
            except OSError as error:  # no memory, or no more processes
                self.say(f"it cannot be started: {error.strerror}; from now on nothing looks for triggers")
        else:
            self.say(f"what looks for triggers {_how(code)} again and again: from now on nothing looks for them")


def _how(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"
