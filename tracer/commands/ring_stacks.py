"""The stacks of a ring that is still written, with names: its segments tell those at the end only."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from tracer.capture import RAW_STACKS, RawStackReader
from tracer.commands.named_stacks import Place, known_names, named, places_of
from tracer.errors import RatError
from tracer.model import Recording, StackCensus, Stacks
from tracer.probe.stacks import LEAST_BLOCKED, LEAST_POLLING
from tracer.target.modules import Modules
from tracer.target.process import TargetProcess


class RingStacks:
    """The stacks that the samples in a ring have; named when they are asked for."""

    def __init__(self, ring: Path) -> None:
        self._raw = RawStackReader(ring / RAW_STACKS)
        self._stacks: list[tuple[tuple[Place, ...], bool]] = []
        self._targets: dict[int, TargetProcess] = {}
        self._modules: dict[int, Modules] = {}
        self._known: Mapping[int, Mapping[int, str]] = {}

    def read(self, recording: Recording) -> None:
        """Take in what is new, while the processes are there whose addresses these are."""
        for one in self._raw.more():
            if one.pid not in self._modules:
                with contextlib.suppress(RatError, OSError):
                    self._targets[one.pid] = TargetProcess.open(one.pid)
                    self._modules[one.pid] = Modules(self._targets[one.pid])
                    self._known = self._known or known_names(recording.plan, recording.processes)
            modules = self._modules.get(one.pid)
            places: tuple[Place, ...] = tuple((None, address) for address in one.addresses)
            self._stacks.append((places_of(one.addresses, modules) if modules is not None else places, one.is_whole))

    def told(self) -> Stacks | None:
        if not self._raw.period:
            return None
        census = StackCensus(
            taken=len(self._stacks),
            least_blocked=LEAST_BLOCKED,
            least_polling=LEAST_POLLING,
            period=self._raw.period,
        )
        return Stacks(named(self._stacks, self._modules, self._targets, self._known), census)
