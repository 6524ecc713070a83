"""Split debug information: what of it belongs to a program, and what does not and why.

rustc -C split-debuginfo=packed puts it into NAME.dwp, =unpacked leaves a .dwo file of each codegen unit (or its
object file).  The program keeps a skeleton of each unit, which has the id that the rest must have: it is computed from
the content, so that a file of another build is told by it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tracer.errors import NotTraceable, PermissionMissing
from tracer.rust.dwarf import Dwarf
from tracer.rust.forms import At, DwarfError
from tracer.rust.packages import package_units
from tracer.rust.units import SplitUnit, Unit, split_units
from tracer.target.elf import ElfImage, open_split_file

_MAX_NAMED = 3


class Places(Protocol):
    """Where the files may lie."""

    def package(self) -> Path | None:
        """The .dwp file."""

    def object_file(self, directory: str, name: str) -> Path | None:
        """The file of one unit, by the folder where it was compiled and its name."""


@dataclass(frozen=True, slots=True)
class SplitDebug:
    """The split debug information of one program.

    parts: by the position of the skeleton in the program's .debug_info.  files: those that are read.
    remarks: sentences for people on what is not read, and why.
    """

    parts: dict[int, SplitUnit]
    files: tuple[Path, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """The same for the same content; empty when there is none."""
        if not self.parts:
            return ""
        return hashlib.sha256(str([(at, part.id) for at, part in sorted(self.parts.items())]).encode()).hexdigest()

    @property
    def display(self) -> str | None:
        """The files that are read, for people; None when there are none."""
        if not self.files:
            return None
        return str(self.files[0]) + (f" and {len(self.files) - 1} more" if len(self.files) > 1 else "")


@dataclass(frozen=True, slots=True)
class _Skeleton:
    offset: int
    id: int
    directory: str
    name: str


def find_split_debug(image: ElfImage, places: Places) -> SplitDebug:
    """What belongs to the skeletons in `image`: the program or its debug file.  Never raises for what it finds."""
    try:
        skeletons = list(_skeletons(image))
    except DwarfError:
        skeletons = []
    if not skeletons:
        return SplitDebug({})
    search = _Search(places)
    package = places.package()
    if package is not None:
        search.add_package(package)
    parts: dict[int, SplitUnit] = {}
    without: list[_Skeleton] = []
    for skeleton in skeletons:
        part = search.find(skeleton)
        if part is None:
            without.append(skeleton)
        else:
            parts[skeleton.offset] = part
    used = tuple(dict.fromkeys(part.file.path for part in parts.values()))
    return SplitDebug(parts, used, tuple(search.remarks(without, len(skeletons))))


class _Search:
    def __init__(self, places: Places) -> None:
        self._places = places
        self._package: Path | None = None
        self._packed: dict[int, SplitUnit] = {}
        self._files: dict[Path, dict[int, SplitUnit]] = {}
        self._unreadable: dict[Path, str] = {}
        self._others: dict[str, Path] = {}

    def add_package(self, path: Path) -> None:
        self._package = path
        self._packed = self._read(path)

    def find(self, skeleton: _Skeleton) -> SplitUnit | None:
        packed = self._packed.get(skeleton.id)
        if packed is not None:
            return packed
        path = self._places.object_file(skeleton.directory, skeleton.name)
        if path is None:
            return None
        if path not in self._files:
            self._files[path] = self._read(path)
        part = self._files[path].get(skeleton.id)
        if part is None:
            self._others[skeleton.name] = path
        return part

    def _read(self, path: Path) -> dict[int, SplitUnit]:
        try:
            file = open_split_file(path)
            for section in file.section_names:
                if section.endswith(".dwo"):
                    file.section(section)  # a file that is cut off is found out here, not when it is read
            units = package_units(file) if path == self._package else split_units(file)
        except (NotTraceable, PermissionMissing, DwarfError) as error:
            self._unreadable[path] = str(error).rstrip(".")
            return {}
        return {unit.id: unit for unit in units}

    def remarks(self, without: list[_Skeleton], total: int) -> Iterator[str]:
        """On the skeletons that stayed alone."""
        if not without:
            return
        share = "its debug information" if len(without) == total else f"{len(without)} of its {total} units"
        effect = "of these functions only names and lines are known"
        package = self._package
        if package is not None and package in self._unreadable:
            yield f"{package} cannot be read ({self._unreadable[package]}): {effect}"
        elif package is not None and len(without) == total:
            yield f"{package} is of another build: none of the {total} ids in the program is in it, so it is not read"
        elif package is not None:
            yield f"{package} is of another build in part: {share} are not in it, and {effect}"
        missing = [one.name for one in without if one.name not in self._others]
        if package is None and missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            yield (
                f"{share} is split off and was not found ({missing[0]}{more}): {effect}"
                ' (keep the .dwp or .dwo files, or build with split-debuginfo = "off" in Cargo.toml)'
            )
        others = list(dict.fromkeys(self._others.values()))
        for path in others[:_MAX_NAMED]:
            reason = self._unreadable.get(path)
            yield f"{path} cannot be read ({reason})" if reason else f"{path} is of another build and is not read"
        if len(others) > _MAX_NAMED:
            yield f"so are {len(others) - _MAX_NAMED} more files like it"


def _skeletons(image: ElfImage) -> Iterator[_Skeleton]:
    # Both kinds need it, and nearly no other program has it: nothing is copied or read for those.
    if not image.has_section(".debug_addr") or not image.has_section(".debug_info"):
        return
    dwarf = Dwarf(image)
    for unit in dwarf.units:
        try:
            skeleton = _skeleton(dwarf, unit)
        except DwarfError:
            continue
        if skeleton is not None:
            yield skeleton


def _skeleton(dwarf: Dwarf, unit: Unit) -> _Skeleton | None:
    if unit.version == 5 and unit.id is None:
        return None
    root = dwarf.root(unit)
    id_ = unit.id if unit.version == 5 else root.get(At.GNU_DWO_ID)
    name = root.get(At.DWO_NAME, root.get(At.GNU_DWO_NAME))
    directory = root.get(At.COMP_DIR, "")
    if not isinstance(id_, int) or not isinstance(name, str) or not isinstance(directory, str):
        return None
    return _Skeleton(unit.offset, id_, directory, name)
