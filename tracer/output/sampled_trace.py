"""Samples as a Perfetto trace: a row a task with what it was seen doing, and how many tasks did what over time."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tracer.assemble.shares import Kind
from tracer.model import Array
from tracer.output.descriptors import Descriptors, Value
from tracer.output.files import OutputFile
from tracer.output.rows import RowFormat, Varint, field, message
from tracer.output.sampled import SampledRun
from tracer.output.slices import BEGIN, END, INSTANT, event
from tracer.output.trace import WrittenTrace
from tracer.stacks import TaskState

_MOST_COUNTED = 12
"""States and places that have a counter of tasks of their own."""

_CHAIN = 12
"""Futures of a chain that are arguments of their own; the rest of it is in the last one."""

_SAMPLED = "Seen at moments, not traced: from the first sample that told so to the first that told otherwise."


def write_sampled_trace(run: SampledRun, path: Path) -> WrittenTrace:
    """Opens in Perfetto v52 and later.  Raises OutputFailed."""
    with OutputFile(path) as file:
        writer = _Writer(run, file)
        writer.write()
        file.commit()
    return WrittenTrace(path, file.size, len(run.stretches), remarks=tuple(writer.remarks))


class _Writer:
    def __init__(self, run: SampledRun, file: OutputFile) -> None:
        self._run = run
        self._file = file
        self._descriptors = Descriptors(file.write, run.clock)
        one = run.process
        self._process = self._descriptors.process(one.pid, one.name, one.command or (one.executable,))
        self.remarks: list[str] = []
        if run.not_drawn:
            self.remarks.append(
                f"{run.not_drawn:,} tasks have no row of their own: rows are for the first 500 of a kind, 5,000 in all"
            )
        if run.is_cut:
            self.remarks.append("the rows end early: the trace would have grown too large to open")

    def write(self) -> None:
        """All of it."""
        self._notes()
        self._counters()
        tracks = self._tracks()
        stretches = self._run.stretches
        self._slices(stretches, tracks[stretches["task"]] if len(stretches) else np.empty(0, np.int64))

    def _notes(self) -> None:
        run, counts, pace = self._run, self._run.counts, self._run.pace
        track = self._descriptors.track("rat-ebpf", rank=-10, description="How the tasks were sampled.")
        args: dict[str, Value] = {
            "what": "tasks read from memory, no probes: " + _SAMPLED,
            "ticks a second": round(pace.rate, 2),
            "a task is seen (times a second)": round(pace.rate / pace.parts, 2),
            "cost (share of a core)": round(pace.cpu, 4),
            "tasks without a row": run.not_drawn,
            "samples that could not be taken": counts.unreadable,
        }
        self._descriptors.slice(run.began, run.ended, track, "sampled", args)

    def _counters(self) -> None:
        """How many tasks were in the states and places that took most time, a point for each round."""
        shares = self._run.shares
        if not len(shares.begins):
            return
        seen: dict[str, npt.NDArray[np.float64]] = {}
        for column, kind in enumerate(shares.kinds):
            word = self._run.words.state(kind)
            seen[word] = seen.get(word, np.zeros(len(shares.begins))) + shares.seen[:, column]
        top = sorted(seen, key=lambda word: (word.startswith("waiting"), -seen[word].sum()))
        group = self._descriptors.track(
            "Tasks by what they do",
            self._process,
            rank=10,
            description="How many were seen. Tasks that live for less than a second are mostly missed here.",
        )
        for rank, word in enumerate(top[:_MOST_COUNTED]):
            track = self._descriptors.counter_track(
                f"tasks {word}", group, rank=rank, description=f"Tasks seen {word}, over all tasks."
            )
            values = np.rint(seen[word]).astype(np.int64)
            for place in np.flatnonzero(np.append(True, values[1:] != values[:-1])).tolist():
                self._descriptors.counter(int(shares.begins[place]), track, int(values[place]))

    def _tracks(self) -> npt.NDArray[np.int64]:
        """By task."""
        run = self._run
        tracks = np.zeros(len(run.tasks), np.int64)
        drawn = np.unique(run.stretches["task"])
        group = self._descriptors.track(
            "Async tasks (sampled)", self._process, rank=50, description=f"One row for each task. {_SAMPLED}"
        )
        folders: dict[int, int] = {}
        for rank, number in enumerate(drawn.tolist()):
            task = run.tasks[number]
            function = int(task["function"])
            name = run.words.task(function)
            if function not in folders:
                one = run.binary.functions[function]
                what = f"{one.name}, {one.location or 'place unknown'}"
                folders[function] = self._descriptors.track(name, group, rank=len(folders), description=what)
            label = f"task {int(task['id']) or hex(int(task['header']))} {name}"
            tracks[number] = self._descriptors.track(label, folders[function], rank=rank)
        return tracks

    def _slices(self, stretches: Array, tracks: npt.NDArray[np.int64]) -> None:
        """Ends before beginnings: stretches of a task follow each other without a gap.  Seen once: an instant."""
        lasts = stretches["end"] > stretches["start"]
        end = event(END)
        self._file.write(end.encode(int(lasts.sum()), time=stretches["end"][lasts], track=tracks[lasts]))
        key = stretches["function"].astype(np.int64) << 40 | stretches["state"].astype(np.int64) << 32
        key |= stretches["stack"].astype(np.int64) & 0xFFFFFFFF
        _, first, of_stretch = np.unique(key, return_index=True, return_inverse=True)
        words = [self._words(stretches[one]) for one in first.tolist()]
        chains = np.zeros((len(words), _CHAIN), np.int64)
        for row, (_, _, chain) in enumerate(words):
            chains[row, : len(chain)] = [self._descriptors.string(line) for line in chain]
        names = np.array([self._descriptors.name(name) for name, _, _ in words], np.int64)
        states = np.array([self._descriptors.string(state) for _, state, _ in words], np.int64)
        lengths = np.array([len(chain) for _, _, chain in words], np.int64)
        for kind, length in product((BEGIN, INSTANT), np.unique(lengths).tolist()):
            rows = np.flatnonzero((lengths[of_stretch] == length) & (lasts == (kind == BEGIN)))
            format_ = self._format(kind, length)
            self._descriptors.flush()
            of_row = of_stretch[rows]
            columns = {f"chain{place}": chains[of_row, place] for place in range(length)}
            columns |= {"name": names[of_row], "state": states[of_row]}
            self._file.write(format_.encode(len(rows), time=stretches["start"][rows], track=tracks[rows], **columns))

    def _words(self, stretch: np.void) -> tuple[str, str, list[str]]:
        """(name, state, chain) of one stretch."""
        kind = Kind(int(stretch["function"]), TaskState(int(stretch["state"])), int(stretch["stack"]))
        chain = self._run.words.chain(kind.function, kind.stack)
        if len(chain) > _CHAIN:
            chain = [*chain[: _CHAIN - 1], " > ".join(chain[_CHAIN - 1 :])]
        return self._run.words.state(kind), kind.state.name.lower(), chain

    def _format(self, kind: int, length: int) -> RowFormat:
        key = self._descriptors.key
        fields = [message(4, field(1, key("state (sampled)")), field(17, Varint("state", 3)))]
        fields += [
            message(4, field(1, key(f"link {place}")), field(17, Varint(f"chain{place}", 3))) for place in range(length)
        ]
        category = field(3, self._descriptors.category("sampled"))
        return event(kind, category, field(10, Varint("name", 3)), *fields)
