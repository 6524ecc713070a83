"""Where the debug information of a stripped or split binary lies.

The places are those of GDB ("Debugging Information in Separate Files"): the build-id folder, then the
name in .gnu_debuglink beside the binary, in its `.debug` folder and under /usr/lib/debug.  Each is looked for as
the process sees it; on this machine only the build id is, which is a number: names and paths come from the target, and
are none of a machine that it may not see.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tracer.target.inside import open_file, resolve_inside
from tracer.target.memory_map import DELETED

if TYPE_CHECKING:
    from tracer.target.elf import ElfImage

_DEBUG_FOLDER = PurePosixPath("/usr/lib/debug")
_HOST = Path("/")


def find_debug_file(image: ElfImage, process_root: Path | None, place: PurePosixPath | None = None) -> Path | None:
    """The separate debug file of `image`, or None.

    process_root: the root folder of a binary's process; None for a file of this machine.  place: where the binary lies
    as seen from there; None: where its image says.  What the build id found is returned unseen (compare its build
    id); what .gnu_debuglink found has the right CRC.
    Symbolic links inside the process' root stay inside it.
    """
    root = process_root or _HOST
    binary = place or place_in(image, process_root)
    if image.build_id is not None and len(image.build_id) > 2:
        name = _DEBUG_FOLDER / ".build-id" / image.build_id[:2] / f"{image.build_id[2:]}.debug"
        for searched in dict.fromkeys((root, _HOST)):
            if (found := resolve_inside(searched, name)) is not None:
                return found
    link = image.debuglink()
    if link is None or "/" in link[0]:
        return None
    name_of_file, crc = link
    folder = binary.parent
    for place in (folder, folder / ".debug", _DEBUG_FOLDER / folder.relative_to("/")):
        found = resolve_inside(root, place / name_of_file)
        if found is not None and _crc32(found) == crc:
            return found
    return None


class SplitFiles:
    """Finds the files beside a binary that hold its split DWARF (rustc -C split-debuginfo=packed or unpacked).

    process_root, place: as for find_debug_file.  What is found is returned unseen: compare the ids inside.
    """

    def __init__(self, image: ElfImage, process_root: Path | None, place: PurePosixPath | None = None) -> None:
        self._binary, self._root = place or place_in(image, process_root), process_root or _HOST

    def package(self) -> Path | None:
        """NAME.dwp beside the binary, as GDB looks for it and cargo puts it there; None when there is none."""
        return self._first([self._binary.with_name(self._binary.name + ".dwp")])

    def object_file(self, directory: str, name: str) -> Path | None:
        """The file of one unit: `name` in the folder where it was compiled, else beside the binary or in `deps`.

        directory, name: DW_AT_comp_dir and DW_AT_dwo_name.
        """
        compiled = PurePosixPath(directory) / name
        moved = [folder / compiled.name for folder in (self._binary.parent, self._binary.parent / "deps")]
        return self._first([compiled, *moved] if compiled.is_absolute() else moved)

    def _first(self, places: list[PurePosixPath]) -> Path | None:
        found = (resolve_inside(self._root, place) for place in places)
        return next((one for one in found if one is not None), None)


def place_in(image: ElfImage, process_root: Path | None) -> PurePosixPath:
    """The binary's absolute path as seen from its root; of a process' one while that is there."""
    path = image.path
    if process_root is None:
        return PurePosixPath(os.path.realpath(path))
    if path.is_relative_to(process_root):
        return PurePosixPath("/") / path.relative_to(process_root)
    try:
        # /proc/PID/exe and /proc/PID/map_files/… read as the path in the process' own mount namespace.
        named = os.fsdecode(path.readlink()).removesuffix(DELETED)
    except OSError:
        named = os.path.realpath(path)
    return PurePosixPath("/") / named


def _crc32(path: Path) -> int | None:
    """The CRC of .gnu_debuglink, which is zlib's, over the whole file; None when it cannot be read."""
    crc = 0
    try:
        with os.fdopen(open_file(path), "rb") as file:
            while block := file.read(1 << 20):
                crc = zlib.crc32(block, crc)
    except OSError:
        return None
    return crc
