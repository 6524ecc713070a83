"""Where the threads of a process compute right now, in words: for a process that works and in which no poll is seen."""

from __future__ import annotations

from tracer.commands.named_stacks import coroutine_names, named, places_of
from tracer.errors import RatError
from tracer.model import Binary, Stack
from tracer.output.blockers import blocker_of, frame_words
from tracer.probe.running_stacks import running_stacks
from tracer.target.modules import Modules
from tracer.target.process import TargetProcess
from tracer.target.unwinding import unwind

_MOST = 3


def computing_words(target: TargetProcess, binary: Binary) -> str:
    """`thread 7 (worker) computes in app::crunch app/src/main.rs:7`, of a few threads; "" where none was seen to."""
    try:
        threads = {thread.tid: thread.name for thread in target.threads()}
    except RatError:  # it has ended
        return ""
    modules = Modules(target)
    found = {tid: unwind(copy, modules.row) for tid, copy in running_stacks(threads).items()}
    places = [(places_of(one.addresses, modules), one.is_whole) for one in found.values()]
    pid = target.pid
    stacks = named(places, {pid: modules}, {pid: target}, {pid: coroutine_names(binary.functions)})
    modules.close()
    words = [
        f"thread {tid} ({threads[tid]}) computes in {_own_words(stack, binary)}"
        for tid, stack in zip(found, stacks, strict=True)
    ]
    return ", ".join(words[:_MOST]) + (f" and {len(words) - _MOST} more" if len(words) > _MOST else "")


def _own_words(stack: Stack, binary: Binary) -> str:
    frame = blocker_of(stack, binary.own_folders)
    return frame_words(frame if frame is not None else stack.frames[0])
