"""Which functions can be poll functions, by the names in the symbol table.

Names alone do not decide: most closures are no coroutines.  They only say where to look.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

import numpy as np

from tracer.rust.demangle import demangle
from tracer.rust.naming import future_type_of, is_closure
from tracer.target.elf import FUNCTION, IFUNC, ElfImage

_PATTERNS = tuple(
    re.compile(pattern) for pattern in (rb"closure\$u7d\$\$u7d\$17h", rb"_RNC", rb"_RINC", rb"4poll", rb"RawTask")
)
"""Each begins with a literal, for which `re` has a fast search."""

_TOKIO = re.compile(r"^tokio::runtime::task::raw::poll(?:::<|<|$)")
_ASYNC_TASK = re.compile(r"^<?async_task::raw::RawTask<.*>::run(?:::<|$)")


class Role(Enum):
    CLOSURE = "closure"  # perhaps a coroutine's body
    FUTURE = "future"
    TOKIO = "tokio"
    ASYNC_TASK = "async-task"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One address with code that may be a poll function.  names: demangled, sorted.

    named: the name of each symbol at it, those of functions that are one now (tracer.rust.merged) being equal or not.
    """

    address: int
    offset: int
    size: int
    names: tuple[str, ...]
    roles: frozenset[Role]
    named: tuple[str, ...] = ()


def role_of(name: str) -> Role | None:
    """What a demangled name promises; None when it cannot be a poll function."""
    if is_closure(name):
        return Role.CLOSURE
    if future_type_of(name) is not None:
        return Role.FUTURE
    if _TOKIO.match(name):
        return Role.TOKIO
    return Role.ASYNC_TASK if _ASYNC_TASK.match(name) else None


def find_candidates(symbols_of: ElfImage, image: ElfImage) -> tuple[list[Candidate], int]:
    """(candidates by address, how many symbols of functions there are).

    symbols_of: where the symbols are, the image itself or its debug file.  image: whose code it is.
    """
    symbols = symbols_of.symbols()
    kinds = symbols.table["info"] & 15
    is_function = (kinds == FUNCTION) | (kinds == IFUNC)
    chosen = np.unique(np.concatenate([symbols.matching(pattern) for pattern in _PATTERNS]))
    chosen = chosen[is_function[chosen] & (symbols.table["size"][chosen] > 0)]
    rows = symbols.table[chosen]
    at: dict[int, tuple[int, dict[str, str], set[Role]]] = {}
    for address, size, place in zip(
        rows["address"].tolist(), rows["size"].tolist(), rows["name"].tolist(), strict=True
    ):
        name = symbols.name_at(place)
        readable = demangle(name)
        role = role_of(readable)
        if role is None:
            continue
        known = at.get(address)
        if known is None:
            at[address] = (size, {name: readable}, {role})
        else:
            at[address] = (max(size, known[0]), known[1] | {name: readable}, known[2] | {role})
    candidates = []
    for address, (size, named, roles) in sorted(at.items()):
        segment = image.segment_of(address)
        offset = image.offset_of(address)
        if segment is not None and segment.flags & 1 and offset is not None:
            names = tuple(sorted(set(named.values())))
            of_symbols = tuple(sorted(named.values()))
            candidates.append(Candidate(address, offset, size, names, frozenset(roles), of_symbols))
    return candidates, int(is_function.sum())
