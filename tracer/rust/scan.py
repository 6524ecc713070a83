"""The machine code as a whole: who calls a function, what else leads to it, and coroutines without debug information.

Those are told by the panic that every coroutine can end in.

A coroutine polled again after its end calls `core::panicking::panic_const::
panic_const_async_fn_resumed` (or `..._panic` after a panic); rustc 1.80 and later.  Before, it calls
`core::panicking::panic` with the message (compiler/rustc_middle/src/mir/syntax.rs and terminator.rs).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tracer.model import PollFunction
from tracer.rust.code_functions import FunctionTable
from tracer.target.elf import ElfImage

_RESUMED = re.compile(rb"panic_const_(?:async_fn|coroutine)_resumed")
_MESSAGE = re.compile(rb"`async fn` resumed after (?:completion|panicking)")
_FRAGMENT = re.compile(rb"\.cold(?:\.\d+)?(?=\0)")
_MAX_CALL = 6
_PADDING = b"\xcc"
CALL, CALL_BY_TABLE = b"\xe8", b"\xff\x15"
_IMMEDIATES = (0, 1, 4)
"""Bytes that instructions have behind a displacement."""
_BLOCK = 1 << 20
_NEAR = 130
"""Bytes that a short jump leads at most."""


class CodeScan:
    """What one binary's machine code tells as a whole."""

    def __init__(self, image: ElfImage, named: ElfImage) -> None:
        self._image = image
        self._named = named

    @cached_property
    def functions(self) -> FunctionTable:
        """Which function has the code at an address."""
        return FunctionTable(self._named)

    def can_resume(self, address: int, size: int) -> bool:
        """Whether the function calls the panic of a coroutine that is resumed after its end."""
        low, high = np.searchsorted(self._resumptions, [address, address + size])
        return bool(low < high)

    def called(self, function: PollFunction, targets: Collection[int]) -> set[int]:
        """Which of the functions at these addresses the function calls or jumps to, itself or by the loader's table."""
        code = np.frombuffer(self._image.read(function.address, function.size) or b"", np.uint8)
        wanted = np.array(sorted(targets), np.int64)
        if len(code) < _MAX_CALL or not len(wanted):
            return set()
        slots = self._pointers(wanted)
        return {
            target
            for target in wanted.tolist()
            if any(map(len, _calls(code, function.address, np.array([target]), slots[slots[:, 1] == target, 0])))
        }

    def callers(self, functions: Mapping[int, int], targets: Collection[int]) -> set[int]:
        """Which functions (address to size) call or jump to others of these targets."""
        wanted = np.array(sorted(targets), np.int64)
        slots = self._pointers(wanted)
        found = set()
        for address, size in functions.items():
            # A function that only jumps is shorter than the longest of calls.
            code = np.frombuffer((self._image.read(address, size) or b"").ljust(_MAX_CALL, _PADDING), np.uint8)
            others = wanted != address
            slots_of = slots[slots[:, 1] != address, 0]
            if any(map(len, _calls(code, address, wanted[others], slots_of))):
                found.add(address)
        return found

    def calls_of(self, targets: Collection[int]) -> list[tuple[int, int, int]]:
        """(address, address that it returns to, target) of all calls of the functions at these addresses."""
        wanted = np.array(sorted(targets), np.int64)
        slots = self._pointers(wanted)
        slots = slots[np.argsort(slots[:, 0], kind="stable")]
        found: list[tuple[int, int, int]] = []
        for base, code in self._image.executable_code():
            if len(code) < _MAX_CALL:
                continue
            direct = np.nonzero(code[:-4] == 0xE8)[0]
            led = base + direct + 5 + _displacements(code, direct + 1)
            chosen = np.isin(led, wanted)
            found += [(at, at + 5, target) for at, target in _pairs(base + direct[chosen], led[chosen])]
            if len(slots):
                indirect = np.nonzero((code[:-5] == 0xFF) & (code[1:-4] == 0x15))[0]
                slot = base + indirect + 6 + _displacements(code, indirect + 2)
                place = np.minimum(np.searchsorted(slots[:, 0], slot), len(slots) - 1)
                chosen = slots[place, 0] == slot
                led = slots[place[chosen], 1]
                found += [(at, at + 6, target) for at, target in _pairs(base + indirect[chosen], led)]
        return found

    def references(self, targets: Collection[int]) -> tuple[list[tuple[int, int]], set[int]]:
        """((where it returns to, target) of all calls of these functions, those that may be come to in another way).

        Calls are direct, or by the loader's table.  Other ways: a far jump (see short_jumps); an address that is taken,
        in code or in data; a name by which other objects find it.  Where not all of those can be seen, as in a program
        that must be loaded at a fixed address, all may be come to so.
        """
        image = self._image
        wanted = np.array(sorted(targets), np.int64)
        if not image.has_all_pointers:
            return [], set(targets)
        pointers = self._pointers(wanted)
        is_slot = self._is_in_table(pointers[:, 0])
        slots = dict(_pairs(*pointers[is_slot].T))
        calls: list[tuple[int, int]] = []
        others = {*pointers[~is_slot, 1].tolist(), *self._exported(wanted)}
        for base, code in image.executable_code():
            if len(code) <= _MAX_CALL:
                continue
            starts = np.nonzero(code[:-4] == 0xE8)[0]
            led = base + starts + 5 + _displacements(code, starts + 1)
            chosen = _among(led, wanted)
            calls += _pairs(base + starts[chosen] + 5, led[chosen])
            others.update(*(led[_among(led, wanted)].tolist() for led in _other_ways(code, base)))
            for at, slot in _uses(code, base, np.array(sorted(slots), np.int64)):
                if bytes(code[max(0, at - 2) : at]) == CALL_BY_TABLE:
                    calls.append((base + at + 4, slots[slot]))
                else:
                    others.add(slots[slot])
        return calls, others

    def slots_of(self, targets: Collection[int]) -> frozenset[int]:
        """Where the loader puts the addresses of these functions."""
        return frozenset(self._slots(np.array(sorted(targets), np.int64)).tolist())

    def led_to(self, addresses: Collection[int]) -> set[int]:
        """Those of these addresses that anything leads to that looks like a far jump, or takes an address."""
        wanted = np.array(sorted(addresses), np.int64)
        found: set[int] = set()
        if len(wanted):
            for base, code in self._image.executable_code():
                if len(code) > _MAX_CALL:
                    found.update(*(led[_among(led, wanted)].tolist() for led in _other_ways(code, base)))
        return found

    def short_jumps(self, addresses: Collection[int]) -> list[tuple[int, int]]:
        """(address, one of `addresses` that it leads to) of everything that looks like a short jump.

        Of a hundred places some are no instruction, but a part of one.
        """
        wanted = np.array(sorted(addresses), np.int64)
        found = []
        for base, code in self._image.executable_code():
            around = np.unique(wanted[:, None] - base + np.arange(-_NEAR, _NEAR))
            around = around[(around >= 0) & (around < len(code) - 1)]
            at = around[(code[around] == 0xEB) | (code[around] & 0xF0 == 0x70)]
            led = base + at + 2 + code[at + 1].view(np.int8).astype(np.int64)
            chosen = np.isin(led, wanted)
            found += _pairs(base + at[chosen], led[chosen])
        return found

    def _is_in_table(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Whether they are in the global offset table, which only code uses."""
        begin, content = self._image.section_address(".got"), self._image.section(".got")
        if begin is None or content is None:
            return np.zeros(len(places), np.bool_)
        return (places >= begin) & (places < begin + len(content))

    def _exported(self, targets: npt.NDArray[np.int64]) -> list[int]:
        """Those that have a name for other objects."""
        if not self._image.has_section(".dynsym"):
            return []
        found: list[int] = np.intersect1d(
            self._image.symbols_of(".dynsym").table["address"].astype(np.int64), targets
        ).tolist()
        return found

    def is_resumption(self, address: int) -> bool:
        """Whether the call or jump at an address is to that panic."""
        at = int(np.searchsorted(self._resumptions, address))
        return at < len(self._resumptions) and int(self._resumptions[at]) == address

    def is_fragment(self, address: int) -> bool:
        """Whether a part of some function that the compiler moved away begins here."""
        return address in self._fragments

    def size_of(self, address: int) -> int:
        """The size of the function that begins at an address, by its symbol; 0 when there is none."""
        table = self._named.symbols().table
        sizes = table["size"][table["address"] == address]
        return int(sizes.max(initial=0))

    @cached_property
    def _fragments(self) -> frozenset[int]:
        symbols = self._named.symbols()
        return frozenset(symbols.table["address"][symbols.matching(_FRAGMENT)].tolist())

    @cached_property
    def _resumptions(self) -> npt.NDArray[np.int64]:
        """The addresses of all calls of and jumps to the panic, or of what loads its message; sorted."""
        symbols = self._named.symbols()
        targets = np.unique(symbols.table["address"][symbols.matching(_RESUMED)]).astype(np.int64)
        slots = self._slots(targets)
        messages = self._messages() if not len(targets) else np.zeros(0, np.int64)
        if not len(targets) and not len(messages):
            return np.zeros(0, np.int64)
        found: list[npt.NDArray[np.int64]] = []
        for address, code in self._image.executable_code():
            if len(code) <= _MAX_CALL:
                continue
            if len(targets):
                found += _calls(code, address, targets, slots)
            else:
                found.append(_loads(code, address, messages))
        return np.sort(np.concatenate(found)) if found else np.zeros(0, np.int64)

    def _messages(self) -> npt.NDArray[np.int64]:
        """Where the panic's messages are."""
        found = [
            base + match.start() for base, content in self._image.constants() for match in _MESSAGE.finditer(content)
        ]
        return np.array(found, np.int64)

    def _slots(self, targets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Where the loader puts the targets' addresses (the global offset table), sorted."""
        return np.sort(self._pointers(targets)[:, 0])

    def _pointers(self, targets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """(place, address that the loader puts there) of the targets."""
        pointers = self._image.pointers
        chosen: npt.NDArray[np.int64] = pointers[np.isin(pointers[:, 1], targets)]
        return chosen


def _calls(
    code: npt.NDArray[np.uint8], base: int, targets: npt.NDArray[np.int64], slots: npt.NDArray[np.int64]
) -> list[npt.NDArray[np.int64]]:
    """Addresses of `call`/`jmp rel32` to the targets, and of `call`/`jmp [rip + disp32]` through the slots."""
    found = []
    direct = np.nonzero((code[:-4] == 0xE8) | (code[:-4] == 0xE9))[0]
    found.append(base + direct[np.isin(base + direct + 5 + _displacements(code, direct + 1), targets)])
    if len(slots):
        indirect = np.nonzero((code[:-5] == 0xFF) & ((code[1:-4] == 0x15) | (code[1:-4] == 0x25)))[0]
        found.append(base + indirect[np.isin(base + indirect + 6 + _displacements(code, indirect + 2), slots)])
    return found


def _other_ways(code: npt.NDArray[np.uint8], base: int) -> Iterator[npt.NDArray[np.int64]]:
    """Where far jumps lead to, and what is loaded by `lea`: of everything that looks like one."""
    far = np.nonzero(code[:-4] == 0xE9)[0]
    yield base + far + 5 + _displacements(code, far + 1)
    conditional = np.nonzero((code[:-5] == 0x0F) & (code[1:-4] & 0xF0 == 0x80))[0]
    yield base + conditional + 6 + _displacements(code, conditional + 2)
    loads = np.nonzero((code[:-6] & 0xF8 == 0x48) & (code[1:-5] == 0x8D) & (code[2:-4] & 0xC7 == 0x05))[0]
    yield base + loads + 7 + _displacements(code, loads + 3)


def _uses(code: npt.NDArray[np.uint8], base: int, slots: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """(position of the displacement, slot) of everything that looks as if an instruction used one of these."""
    if not len(slots):
        return
    for begin in range(0, len(code) - 3, _BLOCK):
        for shift in range(4):
            first = begin + shift
            count = (min(begin + _BLOCK + 3, len(code)) - first) // 4
            if count <= 0:
                continue
            at = first + 4 * np.arange(count)
            led = code[first : first + 4 * count].view("<i4") + (base + 4 + at)
            near = (led >= slots[0] - max(_IMMEDIATES)) & (led <= slots[-1])
            at, led = at[near], led[near]
            for immediate in _IMMEDIATES:
                used = _among(led, slots - immediate)
                yield from _pairs(at[used], led[used] + immediate)


def _among(values: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    """Which of many values are among a few, which are sorted."""
    near = np.nonzero((values >= wanted[0]) & (values <= wanted[-1]))[0]
    return near[np.isin(values[near], wanted)]


def _pairs(first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    return list(zip(first.tolist(), second.tolist(), strict=True))


def _loads(code: npt.NDArray[np.uint8], base: int, targets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Addresses of `lea rdi, [rip + disp32]` of the targets: the first argument."""
    loads = np.nonzero((code[:-6] == 0x48) & (code[1:-5] == 0x8D) & (code[2:-4] == 0x3D))[0]
    return base + loads[np.isin(base + loads + 7 + _displacements(code, loads + 3), targets)]


def _displacements(code: npt.NDArray[np.uint8], at: npt.NDArray[np.intp]) -> npt.NDArray[np.int64]:
    value = code[at].astype(np.uint32)
    for byte in (1, 2, 3):
        value |= code[at + byte].astype(np.uint32) << np.uint32(8 * byte)
    return value.view(np.int32).astype(np.int64)
