"""What the watcher of a ring is started with."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from tracer.commands.convert import TraceOptions
from tracer.model import Trigger, TriggerKind
from tracer.target.clock import kernel_now

SETTLED = 800_000_000
"""ns after which all that was sent at a time is in the ring: events wait for half a second in the recorder."""


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """ring: the folder.  base: of the traces' names, with the folder; suffix: their ending.  last: ns.

    max_size: bytes of all traces together.  told: of one that is started again, by trigger and time (ns) the hits that
    are told already; None: it is the first one.
    """

    ring: str
    base: str
    suffix: str
    last: int
    max_size: int
    triggers: tuple[Trigger, ...]
    trace: TraceOptions
    told: tuple[tuple[str, int], ...] | None = None

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> WatchOptions:
        given = json.loads(text)
        triggers = tuple(Trigger(**{**one, "kind": TriggerKind(one["kind"])}) for one in given.pop("triggers"))
        told = given.pop("told")
        told = tuple((text, time_) for text, time_ in told) if told is not None else None
        return cls(**{**given, "triggers": triggers, "trace": TraceOptions(**given["trace"]), "told": told})

    @property
    def after(self) -> int:
        """ns after a hit that its trace has too: what came of it."""
        return min(max(self.last // 10, 200_000_000), 2_000_000_000)

    def free_name(self, time_: int, what: str) -> Path:
        """A name that no file has, of the trace of something at that time, ns."""
        moment = datetime.fromtimestamp((time.time_ns() - kernel_now() + time_) / 1e9)
        stem = f"{self.base}-{moment:%Y-%m-%dT%H-%M-%S}-{what}"
        path, number = Path(stem + self.suffix), 1
        while os.access(path, os.F_OK):
            number += 1
            path = Path(f"{stem}-{number}{self.suffix}")
        return path
