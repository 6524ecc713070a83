"""What must hold before probes go into a process, for its own sake or because of what the kernel has."""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from tracer.errors import NoSuchProcess, NotTraceable
from tracer.model import Plan, Probe, Process
from tracer.probe.instructions import patched_instructions
from tracer.probe.kernel import MultiSupport
from tracer.probe.links import BCC_LIMIT
from tracer.probe.records import address_of
from tracer.target.memory import LiveMemory
from tracer.target.memory_limit import require_room
from tracer.target.process import TargetProcess
from tracer.target.shadow_stack import refuse_shadow_stack
from tracer.terminal import shell_word


def check_conditions(
    plan: Plan, processes: Sequence[Process], executables: Sequence[Path], support: MultiSupport
) -> None:
    """executables: of each of the plan's binaries, the file to attach through.  Raises NotTraceable, or NoRoom."""
    for process in processes:
        refuse_shadow_stack(process.pid, process.name)
    require_room_for(plan.probes, processes)
    if support is MultiSupport.NONE:
        _check_older_way(plan, processes, executables)


def require_room_for(probes: Iterable[Probe], processes: Sequence[Process], beside: Iterable[Probe] = ()) -> None:
    """Raises NoRoom where a memory limit of a process might not allow for these.  beside: what is there already."""
    there = _pages(beside)
    pages = Counter(binary for binary, _ in _pages(probes) - there)
    more = 0 if there else 1  # for the instructions that are stepped
    require_room([(one.pid, one.name, pages[one.binary] + more) for one in processes])


def _pages(probes: Iterable[Probe]) -> set[tuple[int, int]]:
    return {(probe.binary, probe.offset // mmap.PAGESIZE) for probe in probes}


def patched_probes(plan: Plan, processes: Sequence[Process], executables: Sequence[Path]) -> dict[int, str]:
    """Probe id → why it must not be attached, for what is not as it was in the memory of one of the processes."""
    found: dict[int, str] = {}
    for process in processes:
        executable = executables[process.binary]
        if _runs(process, executable):
            places = {
                probe.id: (process.load_bias + address_of(plan, probe), probe.offset)
                for probe in plan.probes
                if probe.binary == process.binary and _is_in_its_function(plan, probe)
            }
            with suppress(NoSuchProcess):  # whoever attaches will say so
                found |= patched_instructions(LiveMemory(TargetProcess.open(process.pid)), executable, places)
    return found


def _is_in_its_function(plan: Plan, probe: Probe) -> bool:
    """The others are in its callers: where those are in memory is not known, and nobody patches there."""
    index = probe.enters if probe.enters is not None else probe.leaves
    return index is None or 0 <= probe.offset - plan.functions[index].offset < plan.functions[index].size


def _runs(process: Process, executable: Path) -> bool:
    """It is neither over nor still to be started."""
    try:
        return Path(f"/proc/{process.pid}/exe").samefile(executable)
    except OSError:
        return False


def _check_older_way(plan: Plan, processes: Sequence[Process], executables: Sequence[Path]) -> None:
    """Raises NotTraceable for what only uprobe_multi links can do."""
    if len(plan.probes) * len(processes) > BCC_LIMIT:
        raise NotTraceable(
            f"{len(plan.probes)} probes are too many for this kernel.",
            why=f"it has no uprobe_multi links (Linux 6.6); the older way takes {BCC_LIMIT:,} at most",
            fix="choose fewer functions with --filter, or use --exits task",
        )
    for process in processes:
        if Path(f"/proc/{process.pid}/exe").exists() and not _runs(process, executables[process.binary]):
            raise NotTraceable(
                "This kernel cannot trace a program from its start.",
                why="it has no uprobe_multi links (Linux 6.6); the older way must know where the program is loaded",
                fix=f"start {shell_word(process.name)} by itself, then: rat-ebpf --pid PID",
            )
