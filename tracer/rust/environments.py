"""The types of coroutines whose own entry in the debug information lacks their first argument.

rustc 1.75 and 1.85, and some before and after, leave it out: nothing leads from the function to its type.  The type is
there: it has the function's name, but for an `_env`, and begins in the same line of the source.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from tracer.model import SourceLocation
from tracer.rust.dwarf import Dwarf
from tracer.rust.forms import DwarfError
from tracer.rust.naming import own_name
from tracer.rust.task_cells import find_structures
from tracer.rust.types import Types, is_coroutine

_NAMES = re.compile(rb"\0(Pin<&mut [^\0]{1,4000}>|\{[a-z_]+_env#[^\0]{1,4000})(?=\0)")
"""Of the types, and of the pins with which others poll them, which have their paths."""
_PIN = "Pin<&mut "
_ENVIRONMENT = "_env#"
_MOST = 20_000
"""Entries that are looked at at most."""


@dataclass(frozen=True, slots=True)
class Selfless:
    """A function without its type.  own_name: `{async_fn#0}<u8>`.  begin: where it is declared.  symbols: its names."""

    own_name: str
    begin: SourceLocation
    symbols: tuple[str, ...]


def environments(
    dwarf: Dwarf,
    types: Types,
    begin_of: Callable[[int], SourceLocation | None],
    wanted: Mapping[int, Selfless],
) -> dict[int, tuple[int, str]]:
    """By key (position of the type's entry, its path; its own name where nobody tells that).

    begin_of: where the body of a coroutine type begins.  Nothing of functions, or types, that nobody could tell apart:
    what a macro makes several times in one line.
    """
    sought = _alone(wanted)
    functions = {name for name, _ in sought}
    found: defaultdict[tuple[str, SourceLocation], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    names = {
        match.start(1): name
        for match in _NAMES.finditer(dwarf.section(".debug_str"))
        if _ENVIRONMENT in (name := match[1].decode("utf-8", "replace")) and _function(name) in functions
    }
    for number, (position, name) in enumerate(find_structures(dwarf, dwarf.units, names)):
        if number == _MOST:
            break
        with suppress(DwarfError):
            type_ = types.at(position)
            future = types.pinned(type_) if name.startswith(_PIN) else type_
            begin = begin_of(future.offset) if future is not None and is_coroutine(future) else None
            if future is not None and begin is not None:
                found[_function(name), begin][_path(name)].append(future.offset)
    told: dict[int, tuple[int, str]] = {}
    for place, keys in sought.items():
        paths = {path: several for path, several in found[place].items() if "::" in path} or found[place]
        if len(paths) == 1 and len({types.at(one).size for several in paths.values() for one in several}) == 1:
            told |= {key: (several[0], path) for key in keys for path, several in paths.items()}
    return told


def _alone(wanted: Mapping[int, Selfless]) -> dict[tuple[str, SourceLocation], list[int]]:
    """Keys by own name and place, of which there is one function; it can be in the program more than once."""
    keys: defaultdict[tuple[str, SourceLocation], list[int]] = defaultdict(list)
    for key, one in wanted.items():
        keys[one.own_name, one.begin].append(key)
    return {place: several for place, several in keys.items() if len({wanted[key].symbols for key in several}) == 1}


def _path(name: str) -> str:
    return name.removeprefix(_PIN).removesuffix(">") if name.startswith(_PIN) else name


def _function(name: str) -> str:
    """The own name of the function whose type, or pin to it, has this name."""
    return own_name(_path(name)).replace(_ENVIRONMENT, "#", 1)
