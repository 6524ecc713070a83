"""The process that makes and closes links: what it is asked for, and what becomes of it when it or the tracer dies."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator

import pytest

from tests.kernel.turns import Turns
from tests.running import children_of
from tests.text import changed_bytes
from tracer.errors import AttachFailed
from tracer.model import Binary
from tracer.probe.hand import Hand
from tracer.probe.kernel import ATTACH_UPROBE_MULTI, PROGRAM_UPROBE, RETURN_0, MultiSupport, load_program
from tracer.probe.variant import Variant

pytestmark = pytest.mark.kernel


@pytest.fixture
def program() -> Iterator[int]:
    if Variant.of_kernel().support is MultiSupport.NONE:
        pytest.skip("this kernel has no uprobe_multi links")
    descriptor = load_program(PROGRAM_UPROBE, RETURN_0, ATTACH_UPROBE_MULTI)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def hand() -> Iterator[Hand]:
    before = children_of(os.getpid())
    hand = Hand()
    yield hand
    hand.end()
    assert children_of(os.getpid()) == before


@pytest.fixture
def offsets(turns_binary: Binary) -> list[int]:
    return sorted({function.offset for function in turns_binary.functions})


def test_links_come_and_go(hand: Hand, program: int, turns: Turns, offsets: list[int]) -> None:
    pid = turns.process.pid
    first = hand.make(program, turns.exe, offsets[:1], [7], pid=pid)
    second = hand.make(program, turns.exe, offsets[1:], offsets[1:], pid=pid)
    assert changed_bytes(pid) == len(offsets)
    hand.close([first]).wait()
    assert changed_bytes(pid) == len(offsets) - 1
    closing = hand.close([second])
    while not closing.is_over:
        pass
    assert changed_bytes(pid) == 0
    turns.run()


def test_what_the_kernel_refuses(hand: Hand, program: int, turns: Turns) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)) as refused:
        hand.make(program, turns.exe, [1 << 40], [7], pid=turns.process.pid)
    assert refused.value.errno == errno.EINVAL


def test_it_is_killed(hand: Hand, program: int, turns: Turns, offsets: list[int]) -> None:
    """What is there stays until it is closed; nothing more comes."""
    pid = turns.process.pid
    link = hand.make(program, turns.exe, offsets, offsets, pid=pid)
    (child,) = {one for one in children_of(os.getpid()) if os.getsid(one) == one}
    os.kill(child, signal.SIGKILL)
    with pytest.raises(AttachFailed, match="not attached"):
        hand.make(program, turns.exe, offsets, offsets, pid=pid)
    assert changed_bytes(pid) == len(offsets)
    closing = hand.close([link])
    assert closing.is_over
    assert changed_bytes(pid) == 0
    turns.run()
