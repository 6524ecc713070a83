"""Breakpoints on what read_binary says, compared with what the program itself says about each of its polls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.rust.conftest import is_logged
from tests.unit.rust.stepper import run_with_breakpoints
from tracer.model import UNRESUMED, Binary, FunctionKind

TYPED = (
    "debug",
    "release",
    "release-lto",
    "release-abort",
    "release-static",
    "release-small",
    "debug-v5",
    "release-v5",
)
UNTYPED = ("limited", "lines", "bare", "bare-v0")


@pytest.mark.parametrize("build", [*TYPED, *UNTYPED])
def test_every_poll_is_seen_with_its_future_and_result(
    build: str, samples: dict[str, Path], read: Callable[[str], Binary]
) -> None:
    functions = [
        function for function in read(build).functions if function.crate == "sample" and is_logged(function.name)
    ]
    run = run_with_breakpoints(samples[build], functions)
    truth = [_truth(line) for line in run.output.splitlines()]
    assert len(truth) == 101
    assert (run.unmatched, run.left_open) == (0, 0)
    assert len(run.polls) == len(truth)
    assert run.misled == 0
    assert run.called == sum(bool(poll.function.called) for poll in run.polls)
    assert run.returned == sum(bool(poll.function.returned) for poll in run.polls)
    polled: dict[int, int] = {}
    for poll, (name, address, is_pending) in zip(run.polls, truth, strict=True):
        function = poll.function
        if build.startswith("bare") and name.startswith("main"):
            name = "main"  # symbols do not tell a block in `fn main` from the body of an `async fn main`
        assert _plain(function.name) == _plain(f"sample::{name}")
        assert poll.self_address in (address, None)
        assert poll.is_pending in (is_pending, None)
        if function.kind is FunctionKind.COROUTINE:
            assert poll.self_address == address
            assert poll.state is not None
            assert (poll.state == UNRESUMED) == (polled.get(address, 0) == 0)
            polled[address] = polled.get(address, 0) + 1 if is_pending else 0
        elif build in TYPED:
            assert poll.self_address == address
    known = sum(poll.is_pending is not None for poll in run.polls)
    # All but the 18 polls whose result goes to memory; in release Never is left by a jump into the waker.
    assert known == (0 if build not in TYPED else 83 if build.startswith("debug") else 80)


def _truth(line: str) -> tuple[str, int, bool]:
    name, address, result = line.rsplit(" ", 2)
    return name, int(address, 16), result == "pending"


def _plain(name: str) -> str:
    """Without generic arguments and numbers, which builds without types do not have."""
    return name.split("<", maxsplit=1)[0].replace("#0", "")
