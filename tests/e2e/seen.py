"""What a trace says about each future and task, and which of the target's own futures that is."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tests.e2e.trace import Trace, plain
from tests.lives import Life, Poll

_POLLS = """
select s.id, s.parent_id, s.ts, t.tid,
  extract_arg(s.arg_set_id, 'debug.function') function,
  extract_arg(s.arg_set_id, 'debug.kind') kind,
  extract_arg(s.arg_set_id, 'debug.result') result,
  extract_arg(s.arg_set_id, 'debug.instance') instance,
  extract_arg(s.arg_set_id, 'debug.self') self,
  extract_arg(s.arg_set_id, 'debug.task number') task,
  extract_arg(s.arg_set_id, 'debug.task') task_id,
  extract_arg(s.arg_set_id, 'debug.note') note
from slice s join thread_track tt on s.track_id = tt.id join thread t using (utid)
where s.category in ('poll', 'job') order by s.ts
"""
_ROWS = """
select s.track_id track, s.category, s.ts, s.dur,
  extract_arg(s.arg_set_id, 'debug.instance') instance,
  extract_arg(s.arg_set_id, 'debug.await') place,
  extract_arg(s.arg_set_id, 'debug.await in a macro') inside,
  extract_arg(s.arg_set_id, 'debug.note') note,
  (select group_concat(key || ' ' || display_value, char(10)) from args a
   where a.arg_set_id = s.arg_set_id and key glob 'debug.chain[[]*') chain
from slice s join process_track t on s.track_id = t.id
where s.category in ('poll', 'job', 'wait', 'ready')
  and not (s.category = 'ready' and extract_arg(s.arg_set_id, 'debug.spawned by') is not null)
order by s.track_id, s.ts, s.id
"""
_SPAWNS = """
select extract_arg(mark.arg_set_id, 'debug.task number') task,
  extract_arg(mark.arg_set_id, 'debug.spawned at') place,
  mark.ts, mark.parent_id around,
  extract_arg(first.arg_set_id, 'debug.instance') instance,
  extract_arg(first.arg_set_id, 'debug.spawned at') told,
  extract_arg(first.arg_set_id, 'debug.spawned by') by,
  extract_arg(first.arg_set_id, 'debug.spawned by task number') by_task,
  extract_arg(first.arg_set_id, 'debug.spawned by task') by_id
from slice mark left join flow on flow.slice_out = mark.id left join slice first on flow.slice_in = first.id
where mark.category = 'spawn'
"""


@dataclass(frozen=True, slots=True)
class SeenSpawn:
    """How a task came.  place: file:line:column, or why it is unknown.  poll: around it on its thread.

    by: the number of the task that spawned it, by_id: ... its id, by_words: ... in words.
    """

    time: int
    place: str
    poll: int | None
    by: int | None
    by_id: int | None
    by_words: str


@dataclass(frozen=True, slots=True)
class SeenPoll:
    """A poll slice of a thread.  above: the polls around it on the thread, the nearest first."""

    start: int
    tid: int
    function: str
    is_task: bool
    result: str
    instance: int | None
    address: int | None
    task: int | None
    task_id: int | None
    note: str | None
    above: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SeenWait:
    """place, macro: file:line of the await, and of the one inside a macro; None where the trace names none.

    chain: the futures from the one that waits to what it waits for, in the trace's words; empty where none is known.
    """

    start: int
    end: int
    place: str | None
    macro: str | None
    note: str | None
    chain: tuple[str, ...]


class Seen:
    """The polls of a trace by function, and the waits of each instance."""

    def __init__(self, trace: Trace) -> None:
        self.polls: dict[int, SeenPoll] = {}
        parents: dict[int, int | None] = {}
        self.by_function: dict[str, list[int]] = {}
        for row in trace.processor.query(_POLLS):
            number, parent = int(str(row["id"])), row["parent_id"]
            parents[number] = above = None if parent is None else int(str(parent))
            around = []
            while above is not None:
                around.append(above)
                above = parents[above]
            self.polls[number] = SeenPoll(
                start=int(str(row["ts"])),
                tid=int(str(row["tid"])),
                function=str(row["function"]),
                is_task=row["kind"] in ("task of the runtime", "blocking job"),
                result=str(row["result"]),
                instance=_number(row["instance"]),
                address=_number(row["self"]),
                task=_number(row["task"]),
                task_id=_number(row["task_id"]),
                note=None if row["note"] is None else str(row["note"]),
                above=tuple(around),
            )
            self.by_function.setdefault(str(row["function"]), []).append(number)
        self.waits: dict[int, list[SeenWait]] = {}
        self._read_waits(trace)
        self.spawns = self._read_spawns(trace)

    def _read_spawns(self, trace: Trace) -> dict[int, SeenSpawn]:
        """By the number of the task.  Each spawn leads to the first poll on the task's row, which tells the same."""
        spawns = {}
        for row in trace.processor.query(_SPAWNS):
            task = int(str(row["task"]))
            assert task not in spawns
            assert task == _number(row["instance"]), "no arrow leads from this spawn to its task"
            assert row["place"] == row["told"]
            spawns[task] = SeenSpawn(
                time=int(str(row["ts"])),
                place=str(row["place"]),
                poll=_number(row["around"]),
                by=_number(row["by_task"]),
                by_id=_number(row["by_id"]),
                by_words=str(row["by"]),
            )
        return spawns

    def _read_waits(self, trace: Trace) -> None:
        """A wait lies on its future's row behind a poll of it; a wait that no poll was seen before, before one.

        A task's wait ends as being ready, which tells the same of it; one that was ready all the time is only that.
        Being ready since its spawn is no wait.
        """
        track: object = None
        instance: int | None = None
        orphans: list[SeenWait] = []
        for row in trace.processor.query(_ROWS):
            if row["track"] != track:
                track, instance, orphans = row["track"], None, []
            if row["category"] in ("poll", "job"):
                instance = _number(row["instance"])
                if instance is not None:
                    self.waits.setdefault(instance, []).extend(orphans)
                orphans = []
                continue
            start, dur = int(str(row["ts"])), int(str(row["dur"]))
            place, macro, note = (None if row[key] is None else str(row[key]) for key in ("place", "inside", "note"))
            wait = SeenWait(start, start + dur, place, macro, note, _chain(str(row["chain"] or "")))
            waits = orphans if instance is None else self.waits.setdefault(instance, [])
            if row["category"] == "ready" and waits and waits[-1].end == start:
                before = waits.pop()
                assert replace(before, end=wait.end) == replace(wait, start=before.start)
                wait = replace(wait, start=before.start)
            waits.append(wait)


def _chain(text: str) -> tuple[str, ...]:
    """Out of `debug.chain[0] words` lines, in whatever order."""
    links = [line.removeprefix("debug.chain[").partition("] ") for line in text.splitlines()]
    return tuple(words for _, _, words in sorted(links, key=lambda link: int(link[0])))


def _number(value: object) -> int | None:
    return None if value is None else int(str(value), 0)


@dataclass(slots=True)
class Match:
    """Which polls of the trace are which of the target's own.

    polls: for each life, by its number, the polls of the trace that are its polls, in order; None: not seen.
    strangers: polls of the trace, of functions that are in the log, that are none of the target's own.
    absent: the lives whose function does not exist in this build.
    """

    polls: dict[int, list[int | None]] = field(default_factory=dict)
    strangers: list[int] = field(default_factory=list)
    absent: set[int] = field(default_factory=set)
    life_of: dict[int, int] = field(default_factory=dict)


def match(lives: tuple[Life, ...], seen: Seen, functions: Mapping[str, set[str]]) -> Match:
    """Find for each poll that the target logged the one of the trace: of its function, address and thread, begun in it.

    functions: the names in the trace by path (tests.e2e.trace.functions_of).
    """
    result = Match()
    at: dict[tuple[str, int | None, int], list[tuple[int, int]]] = {}
    logged = set()
    for life in lives:
        names = functions.get(path_of(life), set())
        logged |= names
        if not names:
            result.absent.add(life.number)
    for name in logged:
        for number in seen.by_function.get(name, []):
            poll = seen.polls[number]
            at.setdefault((name, poll.address, poll.tid), []).append((poll.start, number))
    for life in lives:
        if life.number in result.absent:
            continue
        names = functions[path_of(life)]
        found = [_find(at, names, poll) for poll in life.polls]
        result.polls[life.number] = found
        result.life_of |= {number: life.number for number in found if number is not None}
    result.strangers = [
        number for name in logged for number in seen.by_function.get(name, []) if number not in result.life_of
    ]
    return result


def path_of(life: Life) -> str:
    return plain(life.function)


def _find(at: dict[tuple[str, int | None, int], list[tuple[int, int]]], names: set[str], poll: Poll) -> int | None:
    found = []
    for name in names:
        for address in (poll.address, None):
            polls = at.get((name, address, poll.tid), [])
            first = bisect_left(polls, (poll.begin, 0))
            found += [number for start, number in polls[first : first + 1] if start <= poll.end]
    return found[0] if len(found) == 1 else None
