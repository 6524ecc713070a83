"""All that is known of one executable."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tracer.model.functions import PollFunction, Refusal
from tracer.model.layouts import Layout
from tracer.model.points import CallSite, EndPoint, SpawnPoint, WakePoint


@dataclass(frozen=True, slots=True)
class Binary:
    """What one executable (or shared object) says about itself.

    path: as the user would name it, for display only; files are opened elsewhere.
    can_unwind: False in a panic=abort build.  symbols: "dwarf", "line tables", "symbol table" or "none".
    twin: the file whose debug information was used as that of the same program.  current_task: bytes from a thread's
    pointer (fs) to where tokio keeps the id of the task that the thread polls, a u64, 0 for none; None: not known.
    spawns: where tasks are spawned.  sites: where calls that spawn may stand, by address.  wakes: where tasks are
    woken.  own_folder: of the program's own package, where its path looks like that of a dependency; else None.
    """

    path: str
    build_id: str | None
    architecture: str
    size: int
    symbols: str
    can_unwind: bool
    functions: tuple[PollFunction, ...]
    refusals: tuple[Refusal, ...] = ()
    rustc: str | None = None
    debug_file: str | None = None
    layouts: tuple[Layout, ...] = ()
    twin: str | None = None
    ends: tuple[EndPoint, ...] = ()
    current_task: int | None = None
    spawns: tuple[SpawnPoint, ...] = ()
    sites: tuple[CallSite, ...] = ()
    wakes: tuple[WakePoint, ...] = ()
    own_folder: str | None = None

    @property
    def own_folders(self) -> tuple[str, ...]:
        """It, where there is one."""
        return (self.own_folder,) if self.own_folder is not None else ()


def layouts_of(binaries: Iterable[Binary]) -> tuple[Layout, ...]:
    """The layouts of several binaries one after the other, as Plan has them: without links and containers."""
    layouts: list[Layout] = []
    for binary in binaries:
        begin = len(layouts)
        for layout in binary.layouts:
            edges = tuple(
                edge if begin == 0 or edge.child is None else replace(edge, child=begin + edge.child)
                for edge in layout.edges
            )
            layouts.append(replace(layout, edges=edges, links=(), containers=()))
    return tuple(layouts)
