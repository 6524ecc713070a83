"""Where a coroutine's body is in the source, by its own code: it ends in a panic when it is resumed after its end.

The panic takes a `Location`, of the body; of code that a macro wrote, of the macro's outermost use.
"""

from __future__ import annotations

import re

import capstone

from tracer.model import PANICKED, RETURNED, SourceLocation
from tracer.rust.dispatch import Dispatch
from tracer.rust.panic_locations import PanicLocations
from tracer.target.elf import ElfImage

_WINDOW = 64
"""Bytes from where the code goes on in the state of a coroutine that has ended up to the call of the panic."""

_ARGUMENT = re.compile(r"^rdi, \[rip ([+-]) (0x[0-9a-f]+|\d+)\]$")


class OwnLocations:
    """Reads them out of one image."""

    def __init__(self, image: ElfImage) -> None:
        self._image = image
        self._engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
        self.locations = PanicLocations(image)

    def of(self, dispatch: Dispatch) -> SourceLocation | None:
        """The file is named as the compiler was given it; None when the code does not show it."""
        found = {self._at(dispatch.targets[state]) for state in (RETURNED, PANICKED) if state in dispatch.targets}
        found.discard(None)
        return found.pop() if len(found) == 1 else None

    def _at(self, address: int) -> SourceLocation | None:
        size = next((size for size in (_WINDOW, 16) if self._image.read(address, size)), 0)
        code = self._image.read(address, size) or b""
        for start, length, mnemonic, operands in self._engine.disasm_lite(code, address):
            if mnemonic == "lea" and (match := _ARGUMENT.match(operands)):
                place = start + length + int(match[2], 0) * (-1 if match[1] == "-" else 1)
                known = self.locations.by_address.get(place)
                return SourceLocation(known[0], known[1].line) if known is not None else None
            if mnemonic in ("call", "ret", "ud2"):
                break
        return None
