"""What lies where in a process' memory: its program, the libraries that it has loaded, the kernel's vdso.

A module is opened when an address in it is first asked for, and stays open: it is there when the process is not.  So is
the root folder, in which debug information may lie.
"""

from __future__ import annotations

import mmap
import os
import time
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

import numpy as np

from tracer.errors import NotTraceable, PermissionMissing, RatError
from tracer.model import Mapping
from tracer.target.call_frames import CallFrames, FrameRow
from tracer.target.debugfile import place_in
from tracer.target.elf import ElfImage, open_elf
from tracer.target.inside import HeldRoot, resolve_inside
from tracer.target.memory import LiveMemory
from tracer.target.process import TargetProcess

_VDSO = "[vdso]"
_MOST_VDSO = 1 << 20
_LEAST_PAUSE = 0.1
"""Seconds between two readings of the mappings: what is loaded later is noticed, and garbage costs little."""


class Module:
    """One file that is mapped.  name: for display.  path: as the process names it.  place: in its root folder."""

    def __init__(self, path: str, image: ElfImage, place: PurePosixPath) -> None:
        self.path = path
        self.place = place
        self.name = PurePosixPath(path).name
        self.image = image
        header = image.frame_header
        self._frames = CallFrames(image.read_up_to, header) if header is not None else None

    def row(self, address: int) -> FrameRow | None:
        """The call frame information of the instruction at a link-time address."""
        return self._frames.row(address) if self._frames is not None else None

    def begin(self, address: int) -> int | None:
        """Where the function begins that an instruction is in, both as link-time addresses; None: not known."""
        return self._frames.begin(address) if self._frames is not None else None


class Modules:
    """Of one live process.  Nothing raises: what cannot be read is not known."""

    def __init__(self, process: TargetProcess) -> None:
        self._process = process
        self._mappings: list[Mapping] = []
        self._starts: list[int] = []
        self._read_at = float("-inf")
        self._opened: dict[tuple[str, int, str], Module | None] = {}
        self._held: HeldRoot | None = None

    def at(self, address: int) -> tuple[Module, int] | None:
        """(module, link-time address) of code at a run-time address."""
        mapping = self._mapping_at(address)
        if mapping is None or "x" not in mapping.permissions:
            return None
        module = self._module_of(mapping)
        if module is None:
            return None
        own = module.image.vaddr_of(address - mapping.start + mapping.offset)
        return None if own is None else (module, own)

    def row(self, address: int) -> FrameRow | None:
        """The call frame information of the instruction at a run-time address."""
        found = self.at(address)
        return found[0].row(found[1]) if found is not None else None

    @property
    def opened(self) -> list[Module]:
        """Those in which an address was asked for."""
        return [module for module in self._opened.values() if module is not None]

    @property
    def root(self) -> Path:
        """The process' root folder as it was when a module was first opened; it is there when the process is not."""
        return self._held.path if self._held is not None else self._process.root_path

    def libraries(self) -> Iterator[Module]:
        """The files with code that are mapped now, but for the program itself, each once."""
        with suppress(RatError, OSError, ValueError):
            for mapping in self._process.maps():
                is_known = (mapping.device, mapping.inode, mapping.path) in self._opened
                if "x" not in mapping.permissions or not mapping.inode or is_known:
                    continue
                module = self._module_of(mapping)
                if module is not None and mapping.path != self._process.executable:
                    yield module

    def close(self) -> None:
        """Unmap all files."""
        for module in self.opened:
            module.image.close()
        if self._held is not None:
            self._held.close()

    def _mapping_at(self, address: int) -> Mapping | None:
        for _ in range(2):
            index = bisect_right(self._starts, address) - 1
            if index >= 0 and address < self._mappings[index].end:
                return self._mappings[index]
            if time.monotonic() - self._read_at < _LEAST_PAUSE:
                return None
            self._read_at = time.monotonic()
            with suppress(RatError, OSError, ValueError):
                self._mappings = self._process.maps()
                self._starts = [mapping.start for mapping in self._mappings]
        return None

    def _module_of(self, mapping: Mapping) -> Module | None:
        key = mapping.device, mapping.inode, mapping.path
        if key not in self._opened:
            self._opened[key] = None
            with suppress(RatError, OSError, ValueError):
                image = self._vdso(mapping) if mapping.path == _VDSO else self._open(mapping)
                self._opened[key] = self._module(mapping.path, image) if image is not None else None
        return self._opened[key]

    def _module(self, path: str, image: ElfImage) -> Module:
        if self._held is None:
            with suppress(OSError):
                self._held = HeldRoot(self._process.pid)
        return Module(path, image, place_in(image, self._process.root_path))

    def _open(self, mapping: Mapping) -> ElfImage | None:
        """The very file that is mapped."""
        if not mapping.inode:
            return None
        for path in self._paths(mapping):
            with suppress(NotTraceable, PermissionMissing):
                return open_elf(path)
        return None

    def _paths(self, mapping: Mapping) -> Iterator[Path]:
        folder = Path(f"/proc/{self._process.pid}")
        yield folder / "map_files" / f"{mapping.start:x}-{mapping.end:x}"  # CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE
        by_name = resolve_inside(self._process.root_path, PurePosixPath(mapping.path))
        for path in (folder / "exe", *([] if by_name is None else [by_name])):
            with suppress(OSError):
                status = path.stat()
                device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
                if (status.st_ino, device) == (mapping.inode, mapping.device):
                    yield path

    def _vdso(self, mapping: Mapping) -> ElfImage | None:
        size = mapping.end - mapping.start
        if size > _MOST_VDSO:
            return None
        memory = LiveMemory(self._process)
        content, is_whole = memory.fill(np.array([mapping.start], np.uint64), np.array([size], np.uint64))
        if not is_whole[0]:
            return None
        data = mmap.mmap(-1, size)
        data[:] = content.tobytes()
        return ElfImage(Path(_VDSO), data)
