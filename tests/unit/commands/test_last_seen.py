"""When a process was last seen to run."""

from __future__ import annotations

import numpy as np

from tracer.commands.last_seen import LastSeen
from tracer.model import EVENT, Array, Thread


def sent(*events: tuple[int, int]) -> Array:
    """(thread, time) each."""
    made = np.zeros(len(events), EVENT)
    made["tid"], made["time"] = zip(*events, strict=True)
    return made


def test_it_is_when_it_was_looked_at_or_sent_something() -> None:
    seen = LastSeen([5], 10)
    assert seen.of(5) == 10
    seen.events(sent((51, 30), (52, 20)))
    assert seen.of(5) == 30
    seen.looked(5, 25)
    assert seen.of(5) == 30
    seen.looked(5, 40)
    seen.events(np.zeros(0, EVENT))
    assert seen.of(5) == 40


def test_of_several_each_by_its_own_threads() -> None:
    seen = LastSeen([5, 6], 10)
    seen.threads([Thread(51, 5, "worker"), Thread(61, 6, "worker")])
    seen.events(sent((51, 30), (61, 50), (77, 90)))
    assert (seen.of(5), seen.of(6)) == (30, 50)
