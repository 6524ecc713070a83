"""Poll functions that are several futures': their code is equal, so that the compiler (LLVM's MergeFunctions, in every
release build) or the linker (--icf) made them one.

Nobody can tell whose poll one of its polls is: it is named after one of them, and its name says that there are others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from tracer.model import FunctionKind, PollFunction
from tracer.rust.candidates import Candidate
from tracer.rust.naming import coroutine_name, display_name, future_type_of, is_closure


def naming_others(functions: Iterable[PollFunction], candidates: Mapping[int, Candidate]) -> list[PollFunction]:
    """candidates: by address."""
    return [
        replace(one, name=_name(one, candidates[one.address].named)) if one.address in candidates else one
        for one in functions
    ]


def _name(function: PollFunction, symbols: Sequence[str]) -> str:
    if function.kind is FunctionKind.COROUTINE:
        names = [coroutine_name(name, None) for name in symbols if is_closure(name)]
    elif function.kind is FunctionKind.FUTURE:
        names = [display_name(future) for name in symbols if (future := future_type_of(name)) is not None]
    else:
        return function.name  # a task tells by its vtable, or its type
    if {*names} <= {function.name}:
        return function.name  # as legacy symbols have it, without the arguments of generic types: true of all
    others = sorted({name for name in names if _base(name) != _base(function.name)})
    if len(others) == 1 and len(names) == 2:
        return f"{function.name} or {others[0]}"
    if len(names) < 2 or not (others or "<" in function.name):
        return function.name
    count = len(names) - 1
    return f"{function.name} or {count} other{'s' if count > 1 else ''}"


def _base(name: str) -> str:
    """As legacy symbols have it."""
    return name.partition("<")[0]
