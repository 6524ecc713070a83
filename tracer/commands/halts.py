"""Tells a capture when a process was kept from running: stopped, traced, frozen, or beyond its CPU limit."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Protocol

from tracer.model import Halt, HaltKind, Process, Standstill
from tracer.target.quota import ThrottleWatch
from tracer.target.standstill import StandstillWatch

_PIECE = 1_000_000_000
"""ns.  What lasts longer is told in pieces, so that a part of a recording has what belongs to it."""


class HaltWriter(Protocol):
    """What keeps them: a capture, or a ring."""

    def halt(self, halt: Halt) -> None:
        """Keep it."""


class HaltWatch:
    """Looks at each process again and again.  now: ns."""

    def __init__(self, processes: Sequence[Process], now: int) -> None:
        self._of = {one.pid: _OfProcess(number, one.pid, now) for number, one in enumerate(processes)}

    def look(self, pid: int, now: int, writer: HaltWriter) -> None:
        """Tell what has come to an end, or has lasted for a while."""
        self._of[pid].look(now, writer)

    def end(self, now: int, writer: HaltWriter, running: Container[int]) -> None:
        """Tell all that is left.  running: the processes that are still there, by pid."""
        for pid, one in self._of.items():
            one.end(now, writer, is_there=pid in running)


class _OfProcess:
    def __init__(self, number: int, pid: int, now: int) -> None:
        self._number = number
        self._standing, self._throttle = StandstillWatch(pid), ThrottleWatch(pid)
        self._there: Standstill | None = self._standing.look()
        self._since = self._until = self._limit_since = now

    def look(self, now: int, writer: HaltWriter) -> None:
        self._look_at_state(now, writer)
        if now - self._limit_since >= _PIECE:
            self._look_at_limit(now, writer)

    def end(self, now: int, writer: HaltWriter, *, is_there: bool) -> None:
        if is_there:  # else its number may be another one's
            self._look_at_state(now, writer)
        self._tell(writer)
        self._look_at_limit(now, writer)

    def _look_at_state(self, now: int, writer: HaltWriter) -> None:
        there = self._standing.look()
        if there is not None and there == self._there:
            self._until = now
            if now - self._since >= _PIECE:
                self._tell(writer)
        else:
            self._tell(writer)
            self._there, self._since, self._until = there, now, now

    def _tell(self, writer: HaltWriter) -> None:
        if self._there is not None and self._until > self._since:
            writer.halt(Halt(self._since, self._until, self._number, self._there.kind, self._there.by))
            self._since = self._until

    def _look_at_limit(self, now: int, writer: HaltWriter) -> None:
        came = self._throttle.since_last()
        if came is not None:
            writer.halt(
                Halt(
                    self._limit_since,
                    now,
                    self._number,
                    HaltKind.THROTTLED,
                    quota=came.quota,
                    periods=came.periods,
                    throttled=came.throttled,
                    lost=came.lost,
                )
            )
        self._limit_since = now
