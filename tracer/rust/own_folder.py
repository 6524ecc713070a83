"""Where the program's own package lies, when that is among the sources of dependencies, as `cargo install` has it.

It is where the compiler ran for the crate that has the program's `main`: cargo runs it in the folder of the package,
or, of a workspace's member, in that of the workspace.  Line tables tell that as well as full debug information.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tracer.model import is_foreign, is_library
from tracer.rust.demangle import demangle
from tracer.rust.dwarf import Dwarf, Unit
from tracer.rust.forms import At, DwarfError
from tracer.target.elf import ElfImage
from tracer.target.symbols import FUNCTION

_SYMBOL = re.compile(rb"_ZN\d+\w+4main17h|_RNvC\w+4main")
_MAIN = re.compile(r"\w+::main")
"""The Rust function, in the root of its crate; C's `main`, which calls it, is in no crate."""


def own_folder(named: ElfImage, dwarf: Dwarf, unit_at: Callable[[int], Unit | None]) -> str | None:
    """None: it is not known, or no dependencies lie there, so that paths alone tell what is the user's own.

    named: the file with the symbols.  unit_at: which unit has the code at an address.
    """
    symbols = named.symbols()
    folders = set()
    for index in symbols.matching(_SYMBOL):
        row = symbols.table[index]
        if row["info"] & 15 != FUNCTION or not _MAIN.fullmatch(demangle(symbols.name_at(int(row["name"])))):
            continue
        try:
            unit = unit_at(int(row["address"]))
            folders.add(dwarf.root(unit).get(At.COMP_DIR) if unit is not None else None)
        except DwarfError:
            return None
    folder = folders.pop() if len(folders) == 1 else None
    if not isinstance(folder, str) or is_library(folder) or not is_foreign(folder):
        return None
    return folder.rstrip("/")
