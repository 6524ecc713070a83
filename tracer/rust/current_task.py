"""Where a thread keeps the id of the task that it polls: tokio's thread-local CONTEXT.

tokio 1.25 to 1.54, runtime/context.rs: `Context {..., current_task_id: Cell<Option<Id>>, ...}` in a `thread_local!`,
which std (1.65 to 1.97, sys/thread_local/native) keeps in the thread's static block, its value first.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection

from tracer.rust.dwarf import Dwarf, Unit
from tracer.rust.forms import DwarfError
from tracer.rust.task_cells import find_structures
from tracer.rust.types import Types
from tracer.target.elf import ElfImage

_SYMBOL = re.compile(rb"5tokio7runtime7context7CONTEXT[\w$.]*(?:VAL|__KEY|Ss)\w*")
_STRUCTURE, _MEMBER = "Context", "current_task_id"
_AROUND = re.compile(rb"5tokio7runtime7context")
_FUNCTION, _THREAD_LOCAL = 2, 6  # STT_FUNC, STT_TLS
_MOST_NAMES = 1 << 12


def current_task_place(
    image: ElfImage, named: ElfImage, dwarf: Dwarf, unit_at: Callable[[int], Unit | None], types: Types
) -> int | None:
    """Bytes from a thread's pointer (fs) to the id, a u64 that is 0 for none; negative.

    named: the file with the symbols.  unit_at: which unit has the code at an address.  None: not known.
    """
    block = image.thread_local_block
    symbols = named.symbols()
    values = {
        int(symbols.table["address"][index])
        for index in symbols.matching(_SYMBOL)
        if symbols.table["info"][index] & 15 == _THREAD_LOCAL
    }
    if block is None or len(values) != 1:
        return None
    around = symbols.table[symbols.matching(_AROUND)]
    addresses = around["address"][around["info"] & 15 == _FUNCTION].tolist()
    units = Counter(unit.offset for address in addresses if (unit := unit_at(address)) is not None)
    by_offset = {unit.offset: unit for unit in dwarf.units if unit.offset in units}
    member = _member(dwarf, [by_offset[offset] for offset, _ in units.most_common() if offset in by_offset], types)
    value = values.pop()
    # x86-64 ABI (variant II): the executable's block ends at the thread pointer.
    return None if member is None or value + member + 8 > block else value + member - block


def _member(dwarf: Dwarf, units: Collection[Unit], types: Types) -> int | None:
    found = set()
    for position, _ in find_structures(dwarf, units, _places(dwarf.section(".debug_str"))):
        try:
            members = types.at(position).members
        except DwarfError:
            continue
        found |= {one.offset for one in members if one.name == _MEMBER}
        if found:
            break
    return found.pop() if len(found) == 1 else None


def _places(strings: bytes) -> dict[int, str]:
    """Where the name can begin: linkers let it be the tail of a longer one."""
    places: dict[int, str] = {}
    name = _STRUCTURE.encode() + b"\0"
    at = strings.find(name)
    while at >= 0 and len(places) < _MOST_NAMES:
        places[at] = _STRUCTURE
        at = strings.find(name, at + 1)
    return places
