"""A last look at the bytes to be probed, in the very file that the kernel will patch and in the memory of the process.

A plan may come from a cache, and a probe in the middle of an instruction would break the target: what does not look as
the plan says is refused.  So is what another tool has patched in memory: the kernel executes the instruction that the
file has in the place of the probed one, and goes on behind it, which would be within that tool's jump.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tracer.model import Probe, Site
from tracer.target.memory import Memory

_REFUSED_PREFIXES = frozenset(b"\xf0\x2e\x36\x3e\x26")
"""lock and the segment overrides: uprobes refuse the first (errno 524), and to be safe all."""
_BREAKPOINT = 0xCC
_COMPARED = 5
"""Bytes: a jump that is put over an instruction has as many."""
_RETURNS = (b"\xc3", b"\xc2", b"\xf3\xc3", b"\xf2\xc3")
_CALL, _MOST_CALL = 0xE8, 6
_REX = range(0x40, 0x50)


def wrong_instructions(executable: Path, probes: Sequence[Probe]) -> dict[int, str]:
    """Probe id → why this probe must not be attached."""
    with executable.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
        reasons = {probe.id: _reason(probe, data[probe.offset : probe.offset + 3]) for probe in probes}
        for probe in probes:
            back = probe.offset - probe.after
            before = data[max(0, back - _MOST_CALL) : max(0, back)]
            if probe.site is Site.RETURNED and not _ends_in_call(before):
                reasons[probe.id] = "expected a call before it"
    return {probe: reason for probe, reason in reasons.items() if reason is not None}


def patched_instructions(memory: Memory, executable: Path, places: Mapping[int, tuple[int, int]]) -> dict[int, str]:
    """Probe id → why this probe must not be attached to a process that runs.

    memory: of the process.  places: by probe id the address in it and the offset in the file.  A breakpoint in memory
    is no patch: the kernel shares its own, and puts back the file's instruction when the last one goes.
    Raises NoSuchProcess or PermissionMissing.
    """
    starts = np.array([address for address, _ in places.values()], np.uint64)
    now, is_read = memory.fill(starts, np.full(len(starts), _COMPARED, np.uint64))
    reasons = {}
    with executable.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
        for (probe, (_, offset)), code, is_known in zip(
            places.items(), now.reshape(-1, _COMPARED), is_read, strict=True
        ):
            if not is_known:  # it is not mapped any more
                continue
            there = np.frombuffer(data[offset : offset + _COMPARED], np.uint8)
            if ((code[: len(there)] != there) & (code[: len(there)] != _BREAKPOINT)).any():
                reasons[probe] = f"another tool has changed its code in memory (to {code.tobytes().hex(' ')})"
    return reasons


def _reason(probe: Probe, code: bytes) -> str | None:
    if len(code) < 3:
        return "its offset lies outside the file"
    if code[0] in _REFUSED_PREFIXES:
        return f"the kernel refuses to probe an instruction that begins with {code[0]:02x}"
    if code[0] == _BREAKPOINT:
        return "a breakpoint instruction is there"
    if probe.site is Site.EXIT and probe.leaves is not None:
        if probe.is_tail and not _is_jump(code):
            return f"expected a jump out of the function, found {code.hex(' ')}"
        if not probe.is_tail and not code.startswith(_RETURNS):
            return f"expected a return instruction, found {code.hex(' ')}"
    if probe.site is Site.CALL and code[0] != _CALL:
        return f"expected a call, found {code.hex(' ')}"
    if probe.site is Site.RETURNED and not _is_emulated(code):
        return f"expected a jump, call, push or nop, found {code.hex(' ')}"
    if probe.site is Site.SPAWNED and not code.startswith(_RETURNS):
        return f"expected a return instruction, found {code.hex(' ')}"
    return None


def _ends_in_call(code: bytes) -> bool:
    """call rel32, or call [rip + disp32]."""
    return code[-5:-4] == bytes([_CALL]) or code[-6:-4] == b"\xff\x15"


def _is_emulated(code: bytes) -> bool:
    """push, nop, call rel32, jmp rel32 or rel8, a conditional jump."""
    if code[0] == 0x0F:
        return 0x80 <= code[1] <= 0x8F
    if code[0] == 0x41:
        return 0x50 <= code[1] <= 0x57
    return 0x50 <= code[0] <= 0x57 or 0x70 <= code[0] <= 0x7F or code[0] in (0x90, _CALL, 0xE9, 0xEB)


def _is_jump(code: bytes) -> bool:
    """jmp rel32, jmp rel8, or jmp through a register or memory (ff /4)."""
    if code[0] in (0xE9, 0xEB):
        return True
    code = code[1:] if code[0] in _REX else code
    return code[0] == 0xFF and code[1] >> 3 & 7 == 4
