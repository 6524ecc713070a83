"""What a function's machine code says of its data, whatever the addresses: to tell the same function in two builds."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import capstone

from tracer.target.elf import ElfImage

_MAX_CODE = 64 << 10
_BUDGET = 16 << 20
"""Bytes of code that are read at most for one binary."""

_MEMORY = re.compile(r"\[(r\w+)(?: \+ r\w+(?:\*\d)?)?(?: ([+-]) (0x[0-9a-f]+|\d+))?\]")
_RELATIVE = re.compile(r"\[rip [+-] (?:0x)?[0-9a-f]+\]")
_NOT_DATA = ("rsp", "rbp", "rip")
"""Where the compiler keeps its own things: an offset from these says nothing of a type's layout."""


@dataclass(frozen=True, slots=True)
class CodeShape:
    """digest: of the instructions without the addresses in them.  offsets: bytes from pointers at which it reads
    and writes, in other words the places of the fields that it uses."""

    digest: bytes
    offsets: frozenset[int]


class CodeShapes:
    """Those of one image, kept."""

    def __init__(self, image: ElfImage) -> None:
        self._image = image
        self._engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
        self._known: dict[int, CodeShape | None] = {}
        self._budget = _BUDGET

    def of(self, address: int, size: int) -> CodeShape | None:
        """None when the code is not there or too much to read."""
        if address not in self._known:
            self._known[address] = self._read(address, size)
        return self._known[address]

    def _read(self, address: int, size: int) -> CodeShape | None:
        self._budget -= size
        code = self._image.read(address, size) if 0 < size <= _MAX_CODE and self._budget >= 0 else None
        if code is None:
            return None
        digest = hashlib.blake2b(digest_size=16)
        offsets = set()
        for _, _, mnemonic, operands in self._engine.disasm_lite(code, address):
            if mnemonic == "nop":  # padding depends on the address
                continue
            if operands.startswith("0x") and (mnemonic[0] == "j" or mnemonic == "call"):
                operands = ""
            elif "[" in operands:
                for base, sign, displacement in _MEMORY.findall(operands):
                    if base not in _NOT_DATA:
                        offsets.add(int(displacement or "0", 0) * (-1 if sign == "-" else 1))
                operands = _RELATIVE.sub("", operands)
            digest.update(f"{mnemonic} {operands}\n".encode())
        return CodeShape(digest.digest(), frozenset(offsets))
