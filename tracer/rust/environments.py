"""The types of coroutines whose own entry in the debug information lacks their first argument.

rustc 1.75 and 1.85, and some before and after, leave it out: nothing leads from the function to its type.  The type is
there: it has the function's name, but for an `_env`, and begins in the same line of the source.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from tracer.model import SourceLocation
from tracer.rust.dwarf import Dwarf
from tracer.rust.forms import DwarfError
from tracer.rust.naming import own_name
from tracer.rust.string_tails import tails
from tracer.rust.task_cells import find_structures
from tracer.rust.types import Types, is_coroutine, pinned_path

_ENVIRONMENT = "_env#"
_PINS = re.compile(rb"Pin<&mut ")
"""With which others poll them: they have the paths of the types."""
_TYPES = re.compile(rb"\{[a-z_]+_env#")
_LONGEST = 4000
_MOST = 20_000
"""Entries that are looked at at most."""


@dataclass(frozen=True, slots=True)
class Selfless:
    """A function without its type.  own_name: `{async_fn#0}<u8>`.  begin: where it is declared.  symbols: its names."""

    own_name: str
    begin: SourceLocation
    symbols: tuple[str, ...]


Places = dict[tuple[str, SourceLocation], dict[str | None, list[int]]]
"""By own name of the function and place: positions of types by their paths; None: that is not told."""


def environments(
    dwarf: Dwarf,
    types: Types,
    begin_of: Callable[[int], SourceLocation | None],
    wanted: Mapping[int, Selfless],
) -> dict[int, tuple[int, str | None]]:
    """By key (position of the type's entry, its path where somebody tells that).

    begin_of: where the body of a coroutine type begins.  Nothing of functions, or types, that nobody could tell apart:
    what a macro makes several times in one line.
    """
    sought = _alone(wanted)
    strings = dwarf.section(".debug_str")
    pins = tails(strings, _PINS, range(_LONGEST))
    found = _found(dwarf, types, begin_of, pins, {name for name, _ in sought})
    if left := {name for name, place in sought if (name, place) not in found}:
        lengths = {len(name.replace("#", _ENVIRONMENT, 1).encode()) for name in left}
        found = {**_found(dwarf, types, begin_of, tails(strings, _TYPES, lengths), left), **found}
    told: dict[int, tuple[int, str | None]] = {}
    for place, keys in sought.items():
        paths = found.get(place, {})
        if len(paths) == 1 and len({types.at(one).size for several in paths.values() for one in several}) == 1:
            told |= {key: (several[0], path) for key in keys for path, several in paths.items()}
    return told


def _found(
    dwarf: Dwarf,
    types: Types,
    begin_of: Callable[[int], SourceLocation | None],
    texts: Iterable[tuple[int, str]],
    functions: Collection[str],
) -> Places:
    """The types, or pins to them, whose names are among the texts (by place in .debug_str) and fit these functions'."""
    names = {}
    for place, name in texts:
        own = own_name(pinned_path(name) or name)
        if own.replace(_ENVIRONMENT, "#", 1) in functions and _ENVIRONMENT in own:
            names[place] = name
    found: Places = {}
    for position, name in islice(find_structures(dwarf, dwarf.units, names), _MOST):
        path = pinned_path(name)
        with suppress(DwarfError):
            type_ = types.at(position)
            future = type_ if path is None else types.pinned(type_)
            begin = begin_of(future.offset) if future is not None and is_coroutine(future) else None
            if future is not None and begin is not None:
                function = own_name(path or name).replace(_ENVIRONMENT, "#", 1)
                found.setdefault((function, begin), {}).setdefault(path, []).append(future.offset)
    return found


def _alone(wanted: Mapping[int, Selfless]) -> dict[tuple[str, SourceLocation], list[int]]:
    """Keys by own name and place, of which there is one function; it can be in the program more than once."""
    keys: defaultdict[tuple[str, SourceLocation], list[int]] = defaultdict(list)
    for key, one in wanted.items():
        keys[one.own_name, one.begin].append(key)
    return {place: several for place, several in keys.items() if len({wanted[key].symbols for key in several}) == 1}
