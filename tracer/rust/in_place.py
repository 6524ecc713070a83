"""Where a poll takes its worker's thread for a blocking call: tokio's `block_in_place`, by the symbol table.

tokio 1.25 to 1.54 (task/blocking.rs, runtime/scheduler/block_in_place.rs, and multi_thread/worker.rs there): each of
these functions calls the next one, of which the last hands the worker's core to another thread, runs the closure, and
takes the core back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tracer.model import FunctionKind, PollFunction, Refusal, Source
from tracer.rust.exits import Disassembler
from tracer.rust.named_functions import NamedFunction, functions_named
from tracer.rust.naming import display_name, generic_arguments
from tracer.rust.scan import CodeScan
from tracer.target.elf import ElfImage

_PATTERNS = (re.compile(rb"14block_in_place"),)
_FUNCTION = re.compile(
    r"^tokio::(?:task::blocking|runtime::scheduler::block_in_place|runtime::thread_pool::worker"
    r"|runtime::scheduler::multi_thread(?:_alt)?::worker)::block_in_place(?:::<.*>)?$"
)


def in_place_functions(named: ElfImage, image: ElfImage, scan: CodeScan) -> Iterator[PollFunction | Refusal]:
    """Those that do not leave it to another one.  named: where the symbols are.  image: whose code it is."""
    found = {one.address: one for one in functions_named(named, _PATTERNS) if _FUNCTION.match(one.name)}
    outer = scan.callers({one.address: one.size for one in found.values()}, found.keys())
    disassembler = Disassembler()
    for address, function in found.items():
        offset = image.offset_of(address)
        if address in outer or offset is None:
            continue
        body = disassembler.body(image.read(address, function.size) or b"", address, offset, scan.is_fragment)
        name = _name(function)
        if body.refusal is not None:
            yield Refusal(name, body.refusal, address)
            continue
        yield PollFunction(
            address=address,
            offset=offset,
            size=function.size,
            name=name,
            kind=FunctionKind.IN_PLACE,
            source=Source.SYMBOLS,
            exits=body.exits,
            names=(function.name,),
            crate="tokio",
            runtime="tokio",
            entry_cost=body.entry_cost,
        )


def _name(function: NamedFunction) -> str:
    """With the closure that it runs, where the symbol has it."""
    arguments = generic_arguments(function.name)
    return f"block_in_place {display_name(arguments[0])}" if arguments else "block_in_place"
