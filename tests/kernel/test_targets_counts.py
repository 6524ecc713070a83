"""A second opinion on the targets themselves: what they say about their polls is what the kernel counts."""

from __future__ import annotations

import re

import pytest

from tests.bpftrace import bpftrace_count, symbols
from tests.cells import LOGGING, Cell
from tests.running import Targets

pytestmark = pytest.mark.kernel

POLL = re.compile(r"::{{closure}}$|>::poll$")
TASK_POLL = re.compile(r"^tokio::runtime::task::raw::poll$|^async_task::raw::RawTask<.*>::run$")

INLINED = {"tokio_multi::inlined"}
"""Functions that an optimised build has only as a part of another."""


def symbol_of(function: str) -> re.Pattern[str]:
    """The symbols of a function as the targets name it: a coroutine's body, or a hand-written future's poll."""
    if function == "task":
        return TASK_POLL
    path = re.escape(function)
    return re.compile(rf"^{path}::{{{{closure}}}}$|^<{path}(<.*>)? as core::future::future::Future>::poll$")


@pytest.mark.cells(targets=LOGGING, profiles=("dev", "release-debug", "fat-lto"))
def test_polls_are_as_many_as_the_target_says(targets: Targets, cell: Cell) -> None:
    path = targets.path(cell.target, cell.profile)
    names = symbols(path)
    with targets.run(cell.target, cell.profile) as running:
        polls = [
            address
            for address, name in names.items()
            if (name.startswith((cell.target, f"<{cell.target}::", "<truth::")) and POLL.search(name))
            or TASK_POLL.match(name)
        ]
        with bpftrace_count(path, polls, running.pid) as counting:
            running.go()
            result = running.wait()
    assert result.totals is not None
    counted = {}
    for function in result.totals.polls:
        # A generic function, and a task poll, has an address for each of its instances.
        addresses = [address for address in polls if symbol_of(function).match(names[address])]
        if addresses:
            counted[function] = sum(counting.counts[address] for address in addresses)
    missing = result.totals.polls.keys() - counted.keys()
    assert missing == (INLINED & result.totals.polls.keys() if cell.profile != "dev" else set())
    assert counted == {function: result.totals.polls[function] for function in counted}
