"""A capture as JSON for chrome://tracing and the other viewers of the Trace Event Format.

Polls are complete events ("X") on their threads, waits are asynchronous events ("b", "e") with the future's
instance as id.  Times are microseconds of CLOCK_MONOTONIC with three decimals, so that no nanosecond is lost.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tracer.model import (
    POLL,
    WAIT,
    Array,
    CaptureEnd,
    Finding,
    FunctionKind,
    Halt,
    Loss,
    MemoryReading,
    PlanChange,
    PollFlag,
    ProcessEnd,
    Recording,
    Spans,
    Tally,
    Thread,
    WaitFlag,
    WakeOrigin,
)
from tracer.output.awaits import await_words, layout_words
from tracer.output.blockers import blocker_of, frame_words, stack_of, stack_words
from tracer.output.chains import Chains
from tracer.output.files import OutputFile
from tracer.output.findings.marks import CATEGORY, arguments, name_of
from tracer.output.halts import halt_words
from tracer.output.labels import (
    UNSURE_WAIT,
    category,
    kind_words,
    poll_notes,
    probed_words,
    short_name,
    state_words,
    wait_notes,
)
from tracer.output.merged_rows import busy_words
from tracer.output.poll_stacks import PollStacks
from tracer.output.records import join, pick
from tracer.output.spawn_words import NO_TASK, unknown_site
from tracer.output.thinning import Budget, all_slices, select
from tracer.output.trace import WrittenTrace
from tracer.output.undrawn import Undrawn, sort_words, sorts_of
from tracer.output.wake_words import NO_TASK as NO_WAKER
from tracer.output.wake_words import OWN
from tracer.terminal import printable

_BLOCK = 1 << 15
# As plain integers: an IntFlag's operators cost a microsecond each, which is what a whole line may.
_RESULT, _PENDING, _STATE = int(PollFlag.RESULT), int(PollFlag.PENDING), int(PollFlag.STATE)
_INFERRED_END = int(PollFlag.INFERRED_END)
_WAIT_STATE, _AMBIGUOUS = int(WaitFlag.STATE), int(WaitFlag.AMBIGUOUS)
_RESULTS = {_RESULT: "ready", _RESULT | _PENDING: "pending"}


def _us(ns: int) -> str:
    """Nanoseconds as a JSON number of microseconds."""
    return f"{ns // 1000}.{ns % 1000:03d}"


class ChromeWriter:
    """Streams a JSON object in bounded memory; the options are those of PerfettoWriter.  Raises OutputFailed."""

    def __init__(
        self,
        path: Path,
        recording: Recording,
        *,
        max_slices: int = 2_000_000,
        total_events: int,
        min_us: float = 0,
    ) -> None:
        self._recording = recording
        self._sorts = sorts_of(recording.plan.functions)
        self._undrawn = Undrawn(self._sorts, min_us)
        self._budget = Budget(max_slices, total_events)
        self._polls: list[Array] = []
        self._waits: list[Array] = []
        self._over: list[Array] = []
        self._task_ids: dict[int, int] = {}
        self._spawned: dict[int, tuple[int, str]] = {}
        self._sites = recording.plan.sites
        self._buffered = 0
        self._latest = recording.start
        self._slices = 0
        self._pids: dict[int, int] = {}
        self._only = recording.processes[0].pid if len(recording.processes) == 1 else 0
        functions = recording.plan.functions
        self._chains = Chains(recording.plan)
        self._poll_stacks = PollStacks(recording.stacks)
        self._wait_words: dict[tuple[int, int | None, int], tuple[str, str]] = {}
        self._state_words: dict[tuple[int, int | None], str] = {}
        self._is_task = [one.kind is FunctionKind.TASK for one in functions]
        self._categories = [json.dumps(category(one)) for one in functions]
        self._names = [json.dumps(short_name(one)) for one in functions]
        self._about = [
            f'"function":{_text(one.name)},"location":{_text(str(one.location)) if one.location else "null"},'
            f'"crate":{_text(one.crate) if one.crate else "null"},"kind":{_text(kind_words(one))}'
            for one in functions
        ]
        self._file = OutputFile(path)
        try:
            self._file.write(b'{"displayTimeUnit":"ns","traceEvents":[\n')
            lines = [
                _metadata("process_name", one.pid, one.pid, {"name": printable(one.name)})
                for one in recording.processes
            ]
            self._file.write(",\n".join([*lines, self._instant(recording.start, "tracing began", {})]).encode())
        except BaseException:
            self._file.abort()
            raise

    def _instant(self, time: int, name: str, args: dict[str, object]) -> str:
        self._slices += 1
        event = {"ph": "i", "s": "g", "pid": self._recording.processes[0].pid, "tid": 0, "name": printable(name)}
        return f'{json.dumps(event)[:-1]},"ts":{_us(time)},"args":{json.dumps(args)}}}'

    def _write(self, lines: Sequence[str]) -> None:
        if lines:
            self._file.write((",\n" + ",\n".join(lines)).encode())

    def threads(self, threads: Sequence[Thread]) -> None:
        """Threads by name."""
        self._pids |= {thread.tid: thread.pid for thread in threads}
        self._write([_metadata("thread_name", one.pid, one.tid, {"name": printable(one.name)}) for one in threads])

    def spans(self, spans: Spans) -> None:
        """Polls and waits."""
        self._poll_stacks.add(spans.looks)
        self._polls.append(spans.polls)
        self._waits.append(spans.waits)
        self._over.append(spans.over)
        self._task_ids |= dict(zip(spans.begun["task"].tolist(), spans.begun["id"].tolist(), strict=True))
        self._write([line for task in spans.begun[spans.begun["spawned"] != 0] for line in self._spawn_lines(task)])
        self._buffered += len(spans.polls)
        if self._buffered >= _BLOCK:
            self._write_block()

    def _write_block(self) -> None:
        polls, waits = join(self._polls, POLL), join(self._waits, WAIT)
        over = [number for part in self._over for number in part["task"].tolist()]
        self._polls, self._waits, self._over, self._buffered = [], [], [], 0
        arrived, before = len(polls), self._slices
        self._latest = int(max(polls["end"].max(initial=self._latest), waits["end"].max(initial=self._latest)))
        polls = self._undrawn.long_enough(polls)
        budget = self._budget.of(arrived, all_slices(polls, waits))
        chosen = select(polls, waits, budget, self._sorts)
        drawn = pick(polls, chosen.polls | chosen.singles)
        kept_waits = pick(waits, chosen.waits)
        self._write(self._poll_lines(drawn))
        self._write(self._merged_lines(chosen.merged))
        self._write(self._wait_lines(kept_waits))
        self._undrawn.add(polls, chosen)
        self._slices += len(drawn) + len(chosen.merged) + len(kept_waits)
        self._budget.spend(arrived, self._slices - before)
        for number in over:
            self._task_ids.pop(number, None)
            self._spawned.pop(number, None)

    def _spawn_lines(self, task: np.void) -> list[str]:
        """Of one task (dtype TASK): its spawn, and a flow from there to its first poll, which will tell of it."""
        function, number, by = int(task["function"]), int(task["task"]), int(task["spawned_by"])
        at = int(task["spawned_at"])
        one = self._recording.plan.functions[function]
        about: dict[str, object] = {
            "spawned at": printable(str(self._sites[at - 1]) if at else unknown_site(one)),
            "spawned by": printable(self._recording.plan.functions[int(task["spawned_by_function"])].name)
            if by
            else NO_TASK,
        }
        if by:
            about["spawned by task number"] = by
        if task["spawned_by_id"]:
            about["spawned by task"] = int(task["spawned_by_id"])
        self._spawned[number] = int(task["first"]), json.dumps(about)[1:-1]
        tid, first = int(task["spawned_on"]), int(task["tid"])
        on = first or tid
        flow = f'"cat":"spawn","name":"spawn","id":{number}'
        name = json.dumps(f"spawn {short_name(one).removeprefix('task ')}")
        where = f'"pid":{self._pids.get(tid, self._only)},"tid":{tid},"ts":{_us(int(task["spawned"]))}'
        to = f'"pid":{self._pids.get(first, self._only)},"tid":{first},"ts":{_us(int(task["first"]))}'
        args = f'{{"task number":{number},{self._spawned[number][1]}}}'
        self._slices += 2
        row = f'"cat":"wait","id":"{number:#x}","pid":{self._pids.get(on, self._only)},"tid":{on}'
        row += f',"name":{json.dumps(f"{short_name(one)}: ready")}'
        ready = json.dumps({"spawned on": tid, "ready for (ns)": int(task["first"] - task["spawned"])})[1:-1]
        flows = [f'{{"ph":"s",{flow},{where}}}', f'{{"ph":"f","bp":"e",{flow},{to}}}']
        return [
            f'{{"ph":"b","ts":{_us(int(task["spawned"]))},{row},"args":{{{self._spawned[number][1]},{ready}}}}}',
            f'{{"ph":"e","ts":{_us(int(task["first"]))},{row}}}',
            f'{{"ph":"i","s":"t","cat":"spawn",{where},"name":{name},"args":{args}}}',
            *(flows if first else []),  # else no poll followed
        ]

    def _poll_lines(self, polls: Array) -> list[str]:
        lines = []
        stacks = self._poll_stacks.of(polls, np.array(self._is_task or [False])).tolist()
        for start, end, latest, address, instance, task, function, tid, flags, state, stack in zip(
            *(polls[name].tolist() for name in ("start", "end", "end_latest", "self", "instance", "task")),
            *(polls[name].tolist() for name in ("function", "tid", "flags", "state")),
            stacks,
            strict=True,
        ):
            result = _RESULTS.get(flags & (_RESULT | _PENDING), "unknown")
            words = self._state(function, state if flags & _STATE else None)
            more = f',"state":{words},"result":"{result}"'
            if instance:
                more += f',"self":"{address:#x}","instance":{instance}'
            task = instance if self._is_task[function] else task
            if task:
                more += f',"task number":{task}'
            if task_id := self._task_ids.get(task):
                more += f',"task":{task_id}'
            if task == instance and task in self._spawned and self._spawned[task][0] == start:
                more += f",{self._spawned.pop(task)[1]}"
            if notes := poll_notes(flags):
                more += f',"note":{json.dumps(notes)}'
            if latest > end:
                more += f',"may have ended later by (ns)":{latest - end}'
            if known := stack_of(self._recording.stacks, stack):
                blocker = blocker_of(known, self._recording.plan.own_folders)
                about = {"blocker": frame_words(blocker) if blocker else None, "stack": stack_words(known)}
                more += f",{json.dumps(about)[1:-1]}"
            lines.append(
                f'{{"ph":"X","cat":{self._categories[function]},'
                f'"pid":{self._pids.get(tid, self._only)},"tid":{tid},"ts":{_us(start)},'
                f'"dur":{_us(end - start)},"name":{self._names[function]},"args":{{{self._about[function]}{more}}}}}'
            )
        return lines

    def _merged_lines(self, merged: Array) -> list[str]:
        return [
            f'{{"ph":"X","cat":"merged","pid":{self._pids.get(tid, self._only)},"tid":{tid},"ts":{_us(start)},'
            f'"dur":{_us(end - start)},"name":"{count} short {words} merged",'
            f'"args":{{"{words}":{count},"{busy_words(flags & _INFERRED_END != 0)}":{busy}}}}}'
            for start, end, tid, count, busy, flags, words in zip(
                *(merged[name].tolist() for name in ("start", "end", "tid", "instance", "parent", "flags")),
                map(sort_words, self._sorts[merged["function"]].tolist()),
                strict=True,
            )
        ]

    def _wait_lines(self, waits: Array) -> list[str]:
        lines = []
        columns = ("start", "end", "instance", "function", "tid", "flags", "state", "places")
        woken = [self._wake_words(wait) if wait["woken"] else "" for wait in waits]
        for start, end, instance, function, tid, flags, state, places, wake in zip(
            *(waits[name].tolist() for name in columns), woken, strict=True
        ):
            name, about = self._wait(function, state if flags & _WAIT_STATE else None, places)
            notes = wait_notes(flags)
            if flags & (_AMBIGUOUS | _WAIT_STATE) == _AMBIGUOUS and not places and not self._is_task[function]:
                name = json.dumps(f"{short_name(self._recording.plan.functions[function])}: {UNSURE_WAIT}")
            common = (
                f'"cat":"wait","id":"{instance:#x}","pid":{self._pids.get(tid, self._only)},"tid":{tid},"name":{name}'
            )
            note = f',"note":{json.dumps(notes)}' if notes else ""
            args = f"{{{self._about[function]},{about}{wake}{note}}}"
            lines.append(f'{{"ph":"b","ts":{_us(start)},{common},"args":{args}}}')
            lines.append(f'{{"ph":"e","ts":{_us(end)},{common}}}')
        return lines

    def _wake_words(self, wait: np.void) -> str:
        """By which wake a wait (dtype WAIT) ended, as JSON that goes on."""
        by = int(wait["woken_by"])
        origin = WakeOrigin(int(wait["woken_from"]))
        who = self._recording.plan.functions[int(wait["woken_by_function"])].name if by else NO_WAKER[origin]
        about: dict[str, object] = {
            "woken by": OWN if by == int(wait["instance"]) else printable(who),
            "woken on": int(wait["woken_on"]) or None,
            "ready for (ns)": int(wait["end"] - max(wait["woken"], wait["start"])),
        }
        if by:
            about["woken by task number"] = by
        if wait["woken_by_id"]:
            about["woken by task"] = int(wait["woken_by_id"])
        return f",{json.dumps(about)[1:-1]}"

    def _wait(self, function: int, state: int | None, places: int) -> tuple[str, str]:
        """A wait's name and its arguments, as JSON."""
        known = self._wait_words.get((function, state, places))
        if known is None:
            one = self._recording.plan.functions[function]
            waiting = self._chains.waiting(function, state, places)
            about: dict[str, object] = {"state": state_words(state)}
            words = {"await": waiting.location, "await in a macro": waiting.macro, "awaitee": waiting.awaitee}
            about |= {key: printable(str(value)) for key, value in words.items() if value}
            if waiting.chain:
                about["chain"] = [printable(link) for link in waiting.chain]
            if one.layout_source is not None:
                about["layout"] = layout_words(one, is_verified=waiting.is_verified)
            name = json.dumps(f"{short_name(one)}: {waiting.title}")
            known = self._wait_words[function, state, places] = name, json.dumps(about)[1:-1]
        return known

    def _state(self, function: int, state: int | None) -> str:
        """A poll's state as JSON."""
        known = self._state_words.get((function, state))
        if known is None:
            words = await_words(self._recording.plan.functions[function], state)
            known = self._state_words[function, state] = json.dumps(words)
        return known

    def plan_change(self, change: PlanChange) -> None:
        """Other probes from now on."""
        plan = self._recording.plan
        name = f"probed from here: {probed_words(change, plan.groups)}"
        args: dict[str, object] = {"reason": printable(change.reason)}
        for key, numbers in (("not probed", change.unprobed), ("entries only", change.entries_only)):
            known = sorted(number for number in numbers if number < len(plan.functions))
            if known:
                args[key] = ", ".join(short_name(plan.functions[number]) for number in known)
        self._write([self._instant(change.time, name, args)])

    def loss(self, loss: Loss) -> None:
        """Events are missing."""
        known = [time for time in (loss.after, loss.before) if time is not None]
        args: dict[str, object] = {"CPU": loss.cpu, "after (ns)": loss.after, "before (ns)": loss.before}
        self._write([self._instant(min(known, default=self._latest), f"{loss.count:,} events lost", args)])

    def process_end(self, end: ProcessEnd) -> None:
        """A process is gone."""
        self._write([self._instant(end.time, f"process {end.pid} ended", {"reason": printable(end.reason)})])

    def memory_reading(self, reading: MemoryReading) -> None:
        """The tasks were read from a process' memory: nothing to draw."""

    def halt(self, halt: Halt) -> None:
        """A process was kept from running."""
        pid = self._recording.processes[halt.process].pid
        args: dict[str, object] = {"pid": pid, "for (ns)": halt.until - halt.time}
        self._write([self._instant(max(halt.time, self._recording.start), halt_words(halt.kind, halt.by), args)])

    def mark(self, findings: Sequence[Finding]) -> None:
        """Draw these on their threads, or (of none) over all.  To be told after all spans, before `close`."""
        for one in findings:
            where = {"s": "g", "pid": self._recording.processes[0].pid, "tid": 0}
            if one.tid is not None:
                where = {"s": "t", "pid": self._pids.get(one.tid, self._only), "tid": one.tid}
            event = {"ph": "i", "cat": CATEGORY, "name": printable(name_of(one)), **where}
            words = {
                key: printable(value) if isinstance(value, str) else value for key, value in arguments(one).items()
            }
            self._write([f'{json.dumps(event)[:-1]},"ts":{_us(one.time)},"args":{json.dumps(words)}}}'])
            self._slices += 1

    def close(self, tally: Tally, end: CaptureEnd | None) -> WrittenTrace:
        """Finish the JSON object and give the file its name."""
        recording = self._recording
        try:
            self._write_block()
            time = max(self._latest, end.time if end else 0)
            name = f"tracing ended: {end.reason}" if end else "the capture breaks off here"
            self._write([self._instant(time, name, {"events lost": end.lost if end else None})])
            remarks = tuple(self._undrawn.remarks())
            other = {
                "rat-ebpf": recording.version,
                "kernel": recording.kernel,
                "options": {key: printable(value) for key, value in recording.options.items()},
                "realtime minus monotonic (ns)": recording.clock.realtime - recording.clock.monotonic,
                "functions probed": len(recording.plan.functions),
                "functions not probed": len(recording.plan.unseen),
                "polls": tally.polls,
                "exits without an entry": tally.unmatched_exits,
                "remarks": remarks,
            }
            self._file.write(f'\n],"otherData":{json.dumps(other)}}}\n'.encode())
            self._file.commit()
        except BaseException:
            self.abort()
            raise
        return WrittenTrace(
            path=self._file.path,
            bytes=self._file.size,
            slices=self._slices,
            merged=self._undrawn.merged,
            omitted=self._undrawn.omitted,
            remarks=remarks,
        )

    def abort(self) -> None:
        """Remove what was written."""
        self._file.abort()


def _text(text: str) -> str:
    return json.dumps(printable(text))


def _metadata(kind: str, pid: int, tid: int, args: dict[str, object]) -> str:
    return json.dumps({"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": args})
