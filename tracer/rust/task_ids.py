"""Where a runtime keeps its own id of a task: by the types' debug information, else by the runtime's version.

async-task has no id: there a task is known by its header and the generation of that address alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from tracer.model import HeaderTest, TaskIdPath
from tracer.rust.ends import ASYNC_TASK_ABORTED
from tracer.rust.types import Type, Types
from tracer.target.elf import ElfImage

_HEADER, _VTABLE = "Header", "Vtable"
_MAX_OFFSET = 1 << 12


@dataclass(frozen=True, slots=True)
class _Layout:
    """A layout of tokio 1.x.  first, last: minor versions, both included."""

    first: int
    last: int
    path: TaskIdPath


_LAYOUTS = (
    # tokio, runtime/task/core.rs: Header {state, queue_next, vtable, ...}; runtime/task/raw.rs: Vtable {poll, schedule,
    # dealloc, try_read_output, drop_join_handle_slow, drop_abort_handle, shutdown, trailer_offset, scheduler_offset,
    # id_offset, ...}; both are read so by Header::get_id.
    _Layout(25, 54, TaskIdPath(vtable=16, offset=72)),
)
"""Newest first."""

_SOURCE_PATH = re.compile(rb"/(tokio|async-task)-(\d+)\.(\d+)\.(\d+)(?:[-+][0-9A-Za-z.+-]*)?/src/")
"""Panic messages keep the paths of the source, stripped or not."""


class TaskIds:
    """Of one binary, for want of types."""

    def __init__(self, image: ElfImage) -> None:
        self._image = image

    def of(self, runtime: str) -> TaskIdPath | None:
        """None: the runtime has no ids, or is of a version whose layout is not known here."""
        return self._tokio if runtime == "tokio" else None

    @cached_property
    def _tokio(self) -> TaskIdPath | None:
        paths = {_of_version(*version) for version in self._versions(b"tokio")}
        return paths.pop() if len(paths) == 1 else None

    @cached_property
    def async_task_aborted(self) -> HeaderTest | None:
        """How a header of async-task's says that its task was closed; None: of a version not known here."""
        versions = self._versions(b"async-task")
        is_known = len(versions) == 1 and all(major == 4 and 4 <= minor <= 7 for major, minor in versions)
        return ASYNC_TASK_ABORTED if is_known else None

    def _versions(self, crate: bytes) -> set[tuple[int, int]]:
        return {(int(one[2]), int(one[3])) for one in _SOURCE_PATH.finditer(self._content) if one[1] == crate}

    @cached_property
    def _content(self) -> bytes:
        return b"".join(bytes(content) for _, content in self._image.constants())


def _of_version(major: int, minor: int) -> TaskIdPath | None:
    if major != 1:
        return None
    return next((one.path for one in _LAYOUTS if one.first <= minor <= one.last), None)


def tokio_id_path(types: Types, pointer: Type) -> TaskIdPath | None:
    """By the type of the task poll's argument, NonNull<Header>.  Raises DwarfError."""
    header = _pointed(types, pointer.members[0].type if pointer.members else None)
    vtable = _member(header, "vtable", _HEADER)
    offset = _member(_pointed(types, vtable[1]), "id_offset", _VTABLE) if vtable else None
    if vtable is None or offset is None or not max(vtable[0], offset[0]) < _MAX_OFFSET:
        return None
    return TaskIdPath(vtable[0], offset[0])


def _pointed(types: Types, at: int | None) -> Type | None:
    pointer = types.at(at) if at is not None else None
    return types.at(pointer.target) if pointer is not None and pointer.target is not None else None


def _member(type_: Type | None, name: str, owner: str) -> tuple[int, int | None] | None:
    """Its offset and the position of its type."""
    if type_ is None or type_.name != owner:
        return None
    return next(((one.offset, one.type) for one in type_.members if one.name == name), None)
