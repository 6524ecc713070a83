"""Where async-task keeps a task's future: its vtables lead to that, in every build.

async-task 4.4 to 4.7, raw.rs: TaskVTable {..., run@40, ..., layout_info@56: &'static TaskLayout}; TaskLayout {layout:
Layout, offset_s, offset_f@24, offset_r@32}.  The future and its output share their place, so that both offsets agree.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

import numpy as np

from tracer.model import FunctionKind, Layout, LayoutEdge, LayoutKind, PollFunction, Source
from tracer.target.elf import ElfImage

_RUN, _LAYOUT_INFO = 40, 56
_SIZE, _OFFSET_F, _OFFSET_R, _END = 5, 3, 4, 40
_LEAST = 24
"""Bytes of a header, before everything else."""


def future_offsets(image: ElfImage, polls: Collection[int]) -> dict[int, int]:
    """By address of `RawTask::run` the distance from a task's header to its future, in bytes; where it is known."""
    found: dict[int, set[int]] = {}
    for poll, info in _layout_infos(image, frozenset(polls)):
        content = image.read(info, _END)
        words = np.frombuffer(content, "<u8") if content is not None and len(content) == _END else None
        if words is None or len(words) != _SIZE:
            continue
        size_and_align, offset = {int(words[0]), int(words[1])}, int(words[_OFFSET_F])
        if offset == words[_OFFSET_R] and _LEAST <= offset <= max(size_and_align):
            found.setdefault(poll, set()).add(offset)
    return {poll: offsets.pop() for poll, offsets in found.items() if len(offsets) == 1}


def _layout_infos(image: ElfImage, polls: frozenset[int]) -> Iterator[tuple[int, int]]:
    """(run, layout_info) of all vtables."""
    pointers = image.pointers
    runs = pointers[np.isin(pointers[:, 1], np.array(sorted(polls), np.int64))]
    infos = dict(pointers[np.isin(pointers[:, 0], runs[:, 0] + _LAYOUT_INFO - _RUN)].tolist())
    for slot, poll in runs.tolist():
        if (info := infos.get(slot + _LAYOUT_INFO - _RUN)) is not None:
            yield poll, info
    for name in (".data.rel.ro", ".rodata"):  # of programs that are loaded where they were linked
        section = image.section(name)
        address = image.section_address(name)
        if section is None or address is None:
            continue
        words = np.frombuffer(section, "<u8", len(section) // 8)
        for place in np.flatnonzero(np.isin(words, np.array(sorted(polls), np.uint64))).tolist():
            if place + 2 < len(words):
                yield int(words[place]), int(words[place + (_LAYOUT_INFO - _RUN) // 8])


def with_cells(
    functions: list[PollFunction], layouts: tuple[Layout, ...], futures: dict[int, int], offsets: dict[int, int]
) -> tuple[list[PollFunction], tuple[Layout, ...]]:
    """The task polls with the layout of what their header begins.

    futures: by address of a task's poll the layout of its future, index into `layouts`.  offsets: as future_offsets
    has them.
    """
    made = list(layouts)
    described = []
    for function in functions:
        future, offset = futures.get(function.address), offsets.get(function.address)
        if function.kind is FunctionKind.TASK and future is not None and offset is not None:
            name = f"RawTask<{layouts[future].name}>"
            edge = LayoutEdge(None, offset, False, future)
            made.append(Layout(name, LayoutKind.GLUE, Source.DWARF, offset + layouts[future].size, (edge,)))
            function = replace(function, layout=len(made) - 1, layout_source=Source.DWARF)
        described.append(function)
    return described, tuple(made)
