"""The types of coroutines whose own entry in the debug information lacks their first argument.

rustc 1.75 and 1.85, and some before and after, leave it out: nothing leads from the function to its type.  The type is
there, for whoever polls it has a `Pin<&mut a::b::{async_fn_env#0}>`: it is the one of the same name, but for the
`_env`, that begins in the same line of the source.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress

from tracer.model import SourceLocation
from tracer.rust.dwarf import Dwarf
from tracer.rust.forms import DwarfError
from tracer.rust.naming import own_name
from tracer.rust.task_cells import find_structures
from tracer.rust.types import Types, is_coroutine

_PINNED = re.compile(rb"\0(Pin<&mut ([^\0]{1,4000}?)>)(?=\0)")
_ENVIRONMENT = "_env#"
_MOST = 20_000
"""Types that are looked at at most."""


def environments(
    dwarf: Dwarf,
    types: Types,
    begin_of: Callable[[int], SourceLocation | None],
    wanted: Mapping[int, tuple[str, SourceLocation]],
) -> dict[int, tuple[int, str]]:
    """By key (position of the type's entry, its path).

    wanted: by key the function's own name and where it is declared.  begin_of: where the body of a coroutine type
    begins.  Of several types that fit none is told.
    """
    named = {name for name, _ in wanted.values()}
    places = {
        match.start(1): match[1].decode("utf-8", "replace")
        for match in _PINNED.finditer(dwarf.section(".debug_str"))
        if _ENVIRONMENT.encode() in match[2]
        and own_name(match[2].decode("utf-8", "replace")).replace(_ENVIRONMENT, "#", 1) in named
    }
    found: defaultdict[tuple[str, SourceLocation], dict[str, int]] = defaultdict(dict)
    for number, (position, name) in enumerate(find_structures(dwarf, dwarf.units, places)):
        if number == _MOST:
            break
        path = name.removeprefix("Pin<&mut ").removesuffix(">")
        with suppress(DwarfError):
            future = types.pinned(types.at(position))
            begin = begin_of(future.offset) if future is not None and is_coroutine(future) else None
            if future is not None and begin is not None:
                found[own_name(path).replace(_ENVIRONMENT, "#", 1), begin].setdefault(path, future.offset)
    told = {key: found.get(one, {}) for key, one in wanted.items()}
    return {key: (position, path) for key, one in told.items() if len(one) == 1 for path, position in one.items()}
