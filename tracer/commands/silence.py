"""Whether a process that worked and sent nothing is one in which nothing can be seen."""

from __future__ import annotations

from collections.abc import Collection

from tracer.commands.computing import computing_words
from tracer.errors import NoEvents
from tracer.model import Binary, Process
from tracer.target.process import TargetProcess
from tracer.terminal import shell_word

BUSY_SHARE = 0.05
"""A target that used this share of a core and sent nothing was not idle: something is wrong."""

LEAST_TO_JUDGE = 1_000_000_000
"""Nanoseconds: a program that ended sooner, or was let go sooner, may have done no more than start."""


def judge_silence(
    process: Process,
    target: TargetProcess | None,
    binary: Binary,
    asked: Collection[str],
    *,
    is_short: bool,
    elapsed: int,
    used: int,
) -> None:
    """Of a recording without a hit of a probe.  Raises NoEvents.

    target: None: the process has ended.  asked: names of the options.  is_short: it may end at any time.  elapsed,
    used: ns that passed, and of CPU time.
    """
    if used < BUSY_SHARE * elapsed or (is_short and elapsed < LEAST_TO_JUDGE):
        return
    chosen = {"filter", "notrace", "generated_futures"} & set(asked)
    why = "its futures run in code that has no probe, or it does no async work"
    if chosen:
        why = "the futures that you chose were not polled in that time"
    instead = computing_words(target, binary) if target is not None else ""
    raise NoEvents(
        "The probes were attached, the process worked, and no poll was seen.",
        why=f"{why}; right now {instead}" if instead else why,
        fix=f"rat-ebpf list {process.pid if target is not None else shell_word(process.executable)}",
    )
