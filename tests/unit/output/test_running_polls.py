"""What is said of a poll that is under way: the user's own functions, and what the innermost of them called."""

from __future__ import annotations

import pytest

from tracer.model import NO_SYSCALL, Frame, SourceLocation, Stack
from tracer.output.running_polls import called_by_own, frame_name, poll_json, poll_place, poll_words, told_frames
from tracer.stacks import RunningPoll

FUTEX = 202


def own(name: str, line: int) -> Frame:
    return Frame(name, SourceLocation("/srv/app/src/main.rs", line), False, "app", "app")


def library(name: str, file: str) -> Frame:
    return Frame(name, SourceLocation(f"/rustc/abc/library/std/src/{file}", 5), True, "app", "std")


RECEIVE = Stack(
    (
        Frame(None, None, False, "libc.so.6"),
        library("std::sys::futex_wait", "sys/futex.rs"),
        library("std::sync::mpsc::Receiver<u64>::recv", "sync/mpsc.rs"),
        own("app::fetch", 7),
        own("app::serve", 3),
        library("core::panic::catch_unwind", "panic.rs"),
    ),
    is_whole=True,
)


def test_the_users_own_functions_are_told_and_what_the_innermost_called() -> None:
    poll = RunningPoll(FUTEX, RECEIVE)
    assert [frame_name(frame) for frame in told_frames(poll, ())] == ["app::serve", "app::fetch", "Receiver::recv"]
    assert called_by_own(poll, ()) == "Receiver::recv"
    assert poll_place(poll, ()) == "app/src/main.rs:7"


def test_what_computes_calls_nothing_that_matters() -> None:
    assert called_by_own(RunningPoll(None, RECEIVE), ()) == ""


def test_without_own_functions_all_are_told() -> None:
    poll = RunningPoll(FUTEX, Stack(RECEIVE.frames[:2], is_whole=False))
    assert [frame_name(frame) for frame in told_frames(poll, ())] == ["sys::futex_wait", "(in libc.so.6)"]
    assert poll_place(poll, ()) == ""
    assert called_by_own(poll, ()) == ""


@pytest.mark.parametrize(
    ("syscall", "words"),
    [(FUTEX, "blocked in futex"), (NO_SYSCALL, "blocked in page fault or signal"), (None, "computing")],
)
def test_how_the_thread_stands(syscall: int | None, words: str) -> None:
    assert poll_words(RunningPoll(syscall, RECEIVE)) == words


def test_the_document_has_all_frames() -> None:
    document = poll_json(RunningPoll(FUTEX, RECEIVE), ())
    assert document["syscall"] == "futex"
    assert document["at"] == "/srv/app/src/main.rs:7"
    assert document["whole"]
    assert len(document["frames"]) == len(RECEIVE.frames)
    assert document["frames"][0] == {"function": None, "location": None, "inlined": False, "module": "libc.so.6"}
