"""What a capture holds of the enduring program's chunks, beside what that program says of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tests.e2e.trace import plain
from tests.faults.endure import Endure
from tracer.capture import CaptureReader
from tracer.model import CaptureEnd, Loss, PlanChange, Recording

SLACK = 2_000_000
"""ns: two CPUs' events, and those of two reads, may be this much out of order."""


@dataclass(frozen=True, slots=True)
class Captured:
    """entries: of each function, by its path, the times at which its polls began.  until: ns, up to when it tells all.

    end: None: it breaks off.
    """

    recording: Recording
    entries: dict[str, npt.NDArray[np.int64]]
    losses: tuple[Loss, ...]
    changes: tuple[PlanChange, ...]
    until: int
    end: CaptureEnd | None
    damaged: int

    @property
    def lost(self) -> int:
        return sum(loss.count for loss in self.losses)


def read(capture: Path) -> Captured:
    """Raises BadCapture."""
    with CaptureReader(capture) as reader:
        plan = reader.recording.plan
        names: dict[str, list[int]] = {}
        for probe in plan.probes:
            if probe.enters is not None:
                function = plan.functions[probe.enters]
                for name in {plain(one) for one in (function.name, *function.names)}:
                    names.setdefault(name, []).append(probe.id)
        blocks, losses, changes = [], [], []
        end = None
        for item in reader:
            if isinstance(item, np.ndarray):
                blocks.append(item[["time", "probe"]])
            elif isinstance(item, Loss):
                losses.append(item)
            elif isinstance(item, PlanChange):
                changes.append(item)
            elif isinstance(item, CaptureEnd):
                end = item
        times = (
            np.concatenate([block["time"] for block in blocks]).astype(np.int64) if blocks else np.empty(0, np.int64)
        )
        probes = np.concatenate([block["probe"] for block in blocks]) if blocks else np.empty(0, np.uint32)
        entries = {name: np.sort(times[np.isin(probes, ids)]) for name, ids in names.items()}
        last = int(times.max()) if len(times) else reader.recording.start
        until = end.time if end is not None else last
        return Captured(reader.recording, entries, tuple(losses), tuple(changes), until, end, reader.damaged_blocks)


def unaccounted(captured: Captured, enduring: Endure) -> tuple[int, int]:
    """(chunks that lie whole within what was captured, polls of them that are neither there nor told as lost).

    Also fails when there is more than the program did.
    """
    begins, ends = enduring.times.T
    is_whole = (begins > captured.recording.start + SLACK) & (ends < captured.until - SLACK)
    missing = 0
    for name, count in enduring.polls.items():
        times = captured.entries.get(name)
        if times is None:
            continue  # merged into another, or refused: the capture's plan has it not
        seen = np.searchsorted(times, ends) - np.searchsorted(times, begins)
        assert seen.max(initial=0) <= count, f"{name} has polls that it never had"
        missing += int((count - seen[is_whole]).sum())
    assert enduring.polls.keys() & captured.entries.keys(), f"nothing of it was probed: {list(captured.entries)}"
    # Told as lost are events, and each poll has two or more.
    return int(is_whole.sum()), max(0, missing - captured.lost)
