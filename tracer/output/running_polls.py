"""Polls that are under way, in words: in which system call their threads wait, and in which functions."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tracer.model import Frame
from tracer.output.awaits import short_place
from tracer.output.blockers import blocker_of, is_own, own_crates, own_frames
from tracer.output.labels import short_awaitee
from tracer.output.syscalls import syscall_words
from tracer.stacks import RunningPoll
from tracer.terminal import printable


def poll_words(poll: RunningPoll) -> str:
    """`blocked in futex`; `computing`."""
    return f"blocked in {syscall_words(poll.syscall)}" if poll.syscall is not None else "computing"


def poll_place(poll: RunningPoll, own_folders: Collection[str]) -> str:
    """The innermost line of the user's own source, or "".  own_folders: see Plan."""
    frame = blocker_of(poll.stack, own_folders)
    return short_place(frame.location) if frame is not None and frame.location is not None else ""


def called_by_own(poll: RunningPoll, own_folders: Collection[str]) -> str:
    """What the user's own innermost function called, in short, where the thread waits in that; or ""."""
    if poll.syscall is None or blocker_of(poll.stack, own_folders) is None:
        return ""
    last = told_frames(poll, own_folders)[-1]
    return frame_name(last) if not is_own(last, own_folders, own_crates(poll.stack, own_folders)) else ""


def told_frames(poll: RunningPoll, own_folders: Collection[str]) -> list[Frame]:
    """The user's own functions, the outermost first, and what the innermost one of them called; of none all."""
    outermost_first = poll.stack.frames[::-1]
    own = [number for number, mine in enumerate(own_frames(poll.stack, own_folders)[::-1]) if mine]
    if not own:
        return list(outermost_first)
    return [outermost_first[number] for number in own] + list(outermost_first[own[-1] + 1 : own[-1] + 2])


def frame_name(frame: Frame) -> str:
    """In short."""
    return short_awaitee(frame.function) if frame.function is not None else f"(in {frame.module or 'unknown code'})"


def frame_place(frame: Frame) -> str:
    """The line, or ""."""
    return short_place(frame.location) if frame.location is not None else ""


def poll_json(poll: RunningPoll, own_folders: Collection[str]) -> dict[str, Any]:
    """As docs/snapshot.schema.json has it."""
    own = blocker_of(poll.stack, own_folders)
    return {
        "syscall": syscall_words(poll.syscall) if poll.syscall is not None else None,
        "at": str(own.location) if own is not None and own.location is not None else None,
        "whole": poll.stack.is_whole,
        "frames": [
            {
                "function": printable(frame.function) if frame.function is not None else None,
                "location": str(frame.location) if frame.location is not None else None,
                "inlined": frame.is_inlined,
                "module": printable(frame.module) or None,
            }
            for frame in poll.stack.frames
        ],
    }
