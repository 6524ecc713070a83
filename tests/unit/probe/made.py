"""Values of the model, made short for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracer.model import (
    EVENT,
    Array,
    Binary,
    ExitKind,
    ExitSite,
    FunctionKind,
    PollFunction,
    Register,
    Source,
)


def function(name: str, offset: int, *, exits: tuple[ExitSite, ...] | None = None, **more: Any) -> PollFunction:
    """A function of 32 bytes with one `ret` at its end, at an address that is not its offset."""
    fields: dict[str, Any] = {
        "address": 0x10000 + offset,
        "offset": offset,
        "size": 32,
        "name": name,
        "kind": FunctionKind.COROUTINE,
        "source": Source.SYMBOLS,
        "exits": (ExitSite(offset + 31, ExitKind.RET),) if exits is None else exits,
        "self_register": Register.RDI,
    }
    return PollFunction(**{**fields, **more})


def task(name: str, offset: int, runtime: str = "tokio") -> PollFunction:
    return function(name, offset, kind=FunctionKind.TASK, runtime=runtime)


def binary(*functions: PollFunction, can_unwind: bool = True) -> Binary:
    return Binary("program", None, "x86_64", 4096, "symbol table", can_unwind, functions)


def events(probe: int, count: int) -> Array:
    made = np.zeros(count, EVENT)
    made["probe"] = probe
    return made
