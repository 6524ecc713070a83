"""Tasks that wait for what another one has, a lock, a permit or room in its channel, while that one waits itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tracer.model import LOCKS, Binary, LinkKind, LinkRole, SourceLocation, Stuck, StuckKind
from tracer.output.awaits import short_place
from tracer.output.findings.held_locks import is_lock_of_work
from tracer.output.frames import parked
from tracer.output.labels import short_awaitee
from tracer.output.tables import some
from tracer.output.task_list import TaskView
from tracer.stacks import LENT_KINDS, LINK_KINDS, LINK_ROLES, LinkFlag, Snapshot, TaskLinks, TaskState

_Thing = tuple[LinkKind, int]
"""What tasks have and wait for: its kind and its address."""

_MOST_PLACES = 3
"""That are told one by one."""

_HOLDS, _RECEIVES, _WAITS = (LINK_ROLES.index(role) for role in (LinkRole.HOLDS, LinkRole.RECEIVES, LinkRole.WAITS))
_MPSC, _SEMAPHORE = (LINK_KINDS.index(kind) for kind in (LinkKind.MPSC, LinkKind.SEMAPHORE))

Indexes = npt.NDArray[np.int32]

_Place = tuple[int, int, int]
"""Where a task has it: its function, its stack, and the frame of that whose future has it."""


@dataclass(slots=True)
class _Had:
    """Who has a thing, by the frame of its stack, and who waits for it: indexes into Snapshot.tasks.

    is_certain: the first surely do.
    """

    by: dict[int, int] = field(default_factory=dict)
    waiting: set[int] = field(default_factory=set)
    is_certain: bool = True


def waiting_for_waiting(view: TaskView, links: TaskLinks) -> Iterator[Stuck]:
    """One for all that have a thing of a kind and wait in the same stack; of deadlocks none."""
    things = _things(view.binary, view.snapshot, links)
    of_task: dict[int, list[_Thing]] = defaultdict(list)
    wanted = {task for one in things.values() for task in one.waiting}
    for thing, one in things.items():
        for task in one.by:
            of_task[task].append(thing)
    alike: dict[tuple[LinkKind, frozenset[_Place]], list[_Thing]] = defaultdict(list)
    for thing, one in things.items():
        if not one.by.keys() & wanted:  # else what those wait for is what all wait for
            alike[thing[0], frozenset(_place(view.snapshot, *having) for having in one.by.items())].append(thing)
    for (kind, _), several in alike.items():
        having = {having for thing in several for having in things[thing].by.items()}
        by: dict[_Place, list[int]] = defaultdict(list)
        for task, frame in sorted(having):
            by[_place(view.snapshot, task, frame)].append(task)
        is_certain = all(things[thing].is_certain for thing in several)
        behind = sorted(_behind(several, things, of_task))
        is_one = kind is LinkKind.MUTEX and len(several) == 1
        yield _stuck(view, kind, by, behind, is_certain=is_certain, is_one=is_one)


def waiting_for_nobody(view: TaskView, links: TaskLinks) -> Iterator[Stuck]:
    """One for each semaphore for which tasks wait that no task has a permit of, as far as that is known: who had them
    may have forgotten them, or keeps them where no task is."""
    permits = links.links[links.links["kind"] == _SEMAPHORE]
    held = permits["address"][permits["role"] == _HOLDS]
    is_meant = (permits["role"] == _WAITS) & ((permits["flags"] & np.uint8(LinkFlag.GRANTED)) == 0)
    is_meant &= ~np.isin(permits["address"], held)
    is_meant &= view.snapshot.tasks["state"][permits["task"]] == TaskState.WAITING
    waits = permits[is_meant]
    unknown = int(np.count_nonzero(~links.is_known))
    but_for = f" (what {some(unknown, 'task')} may keep is not known)" if unknown else ""
    for address in np.unique(waits["address"]).tolist():
        mine = waits[waits["address"] == address]
        tasks = np.unique(mine["task"]).tolist()
        function, location = view.waiting_at(view.snapshot.tasks[mine["task"][0]], int(mine["frame"][0]))
        who = f"{len(tasks):,} tasks wait" if len(tasks) > 1 else "a task waits"
        yield Stuck(
            StuckKind.LENT_OUT,
            (),
            False,
            f"{who} for permits of a semaphore; no task that was found keeps one{but_for}",
            function,
            location,
            tuple(view.snapshot.tasks["header"][tasks].tolist()),
        )


def _place(snapshot: Snapshot, task: int, frame: int) -> _Place:
    return int(snapshot.tasks["function"][task]), int(snapshot.tasks["stack"][task]), frame


def _things(binary: Binary, snapshot: Snapshot, links: TaskLinks) -> dict[_Thing, _Had]:
    """What tasks wait for that tasks have that wait for something else."""
    waits = snapshot.tasks["state"] == TaskState.WAITING
    in_cycles = links.blocks["task"][[block for cycle in links.cycles for block in cycle.blocks]]
    blocks = links.blocks[links.blocks["by"] >= 0]
    wait, had = links.links[blocks["link"]], links.links[blocks["by"]]
    is_had = (had["role"] == _HOLDS) & np.isin(had["kind"], LENT_KINDS)
    is_had |= (had["role"] == _RECEIVES) & (had["kind"] == _MPSC) & (wait["kind"] == _MPSC)
    is_had &= waits[blocks["task"]] & waits[blocks["other"]] & (blocks["task"] != blocks["other"])
    is_had &= ~np.isin(blocks["task"], in_cycles) & ~np.isin(blocks["other"], in_cycles)
    is_had &= ~_for_work(binary, snapshot, blocks["task"], wait["frame"])
    found: dict[_Thing, _Had] = defaultdict(_Had)
    columns = blocks["task"], blocks["other"], blocks["is_certain"], had["kind"], had["address"], had["frame"]
    for task, other, is_certain, kind, address, frame in zip(*(one[is_had].tolist() for one in columns), strict=True):
        one = found[LINK_KINDS[kind], address]
        one.by[other] = frame
        one.waiting.add(task)
        one.is_certain &= is_certain
    # Who reads can stand behind one that waits to write, while others that read have the lock.
    is_behind = (
        (had["role"] == _WAITS)
        & ((had["flags"] & np.uint8(LinkFlag.GRANTED)) == 0)
        & waits[blocks["task"]]
        & ~np.isin(blocks["task"], in_cycles)
    )
    for task, kind, address in zip(*(one[is_behind].tolist() for one in (columns[0], *columns[3:5])), strict=True):
        if (LINK_KINDS[kind], address) in found:
            found[LINK_KINDS[kind], address].waiting.add(task)
    # Of a permit's holders a wait is told of some only, and any of them could end it.
    held = links.links[(links.links["role"] == _HOLDS) & (links.links["kind"] == _SEMAPHORE)]
    surely = (held["flags"] & np.uint8(LinkFlag.CERTAIN)) != 0
    having = held["task"], held["address"], held["frame"], surely
    for task, address, frame, is_certain in zip(*(one.tolist() for one in having), strict=True):
        if (LinkKind.SEMAPHORE, address) in found:
            one = found[LinkKind.SEMAPHORE, address]
            one.by[task] = frame
            one.is_certain &= is_certain
    return {thing: one for thing, one in found.items() if waits[sorted(one.by)].all()}


def _for_work(binary: Binary, snapshot: Snapshot, tasks: Indexes, frames: Indexes) -> npt.NDArray[np.bool_]:
    """Whether these tasks wait, by these frames of their stacks, for their turn at where work comes from."""
    places, which = np.unique(np.stack([snapshot.tasks["stack"][tasks], frames], axis=1), axis=0, return_inverse=True)
    told = [is_lock_of_work(_waiting_by(binary, snapshot, *place)) for place in places.tolist()]
    return np.array(told, np.bool_)[which.reshape(-1)]


def _waiting_by(binary: Binary, snapshot: Snapshot, stack: int, frame: int) -> list[str]:
    """The names of the futures of this frame of a stack and of those above it."""
    frames = snapshot.stacks[stack].frames if stack >= 0 else ()
    names = []
    while 0 <= frame < len(frames):
        one = frames[frame]
        if one.layout is not None:
            names.append(binary.layouts[one.layout].name)
        frame = one.parent
    return names


def _behind(first: list[_Thing], things: dict[_Thing, _Had], of_task: dict[int, list[_Thing]]) -> set[int]:
    """All that wait for these, for what those have that wait for them, and so on."""
    behind: set[int] = set()
    left, seen = list(first), set(first)
    while left:
        for task in things[left.pop()].waiting - behind:
            behind.add(task)
            left += [thing for thing in of_task.get(task, ()) if thing not in seen]
            seen.update(left)
    return behind


def _stuck(
    view: TaskView,
    kind: LinkKind,
    by: dict[_Place, list[int]],
    behind: list[int],
    *,
    is_certain: bool,
    is_one: bool,
) -> Stuck:
    """by: the tasks that have it, by place.  is_one: there is one thing, which one of them alone can have."""
    places = sorted(by, key=lambda place: len(by[place]))
    tasks = [task for place in places for task in by[place]]
    function, location, waits_for = _holder(view, places[0])
    many, perhaps = len(tasks) > 1, "" if is_certain else "perhaps "
    if kind is LinkKind.SEMAPHORE:
        has, wanted = (f"{perhaps}have permits", f"{perhaps}has a permit"), "a permit"
    elif kind is LinkKind.MPSC:
        has, wanted = (f"{perhaps}do not receive", f"{perhaps}does not receive"), "room in the channel"
    else:
        has, wanted = (f"{perhaps}keep locks", f"{perhaps}keeps a lock"), "the locks" if many else "the lock"
    if many and is_one:
        who = f"one of {len(tasks):,} tasks perhaps keeps a lock and waits: {_listed(view, by, places)}"
        wanted = "the lock"
    elif len(places) > 1:
        who = f"{len(tasks):,} tasks {has[0]} and wait: {_listed(view, by, places)}"
    elif many:
        who = f"{len(tasks):,} tasks in {short_awaitee(function)} {has[0]} and wait{waits_for}"
    else:
        who = f"{short_awaitee(function)} {has[1]} and waits{waits_for}"
    waiting = f"{len(behind):,} tasks wait" if len(behind) > 1 else "a task waits"
    header = view.snapshot.tasks["header"]
    return Stuck(
        StuckKind.HELD if kind in LOCKS else StuckKind.IN_LINE,
        tuple(header[tasks].tolist()),
        is_certain,
        f"{who}; {waiting} for {wanted}",
        function,
        location,
        tuple(header[behind].tolist()),
    )


def _listed(view: TaskView, by: dict[_Place, list[int]], places: list[_Place]) -> str:
    """`2 in fetch (src/db.rs:7), 5 in store (src/db.rs:17)`."""
    words = []
    for place in places[:_MOST_PLACES]:
        function, location, _ = _holder(view, place)
        where = f" ({short_place(location)})" if location is not None else ""
        words.append(f"{len(by[place]):,} in {short_awaitee(function)}{where}")
    left = sum(len(by[place]) for place in places[_MOST_PLACES:])
    return ", ".join([*words, *([f"{left:,} elsewhere"] if left else [])])


def _holder(view: TaskView, place: _Place) -> tuple[str, SourceLocation | None, str]:
    """(name, the line where it waits, "" or " for …" in short) of the future that has it; of its task, where that is
    not known."""
    function, stack, frame = place
    begins = view.binary.functions[function].location
    left = list(view.frames[stack]) if stack >= 0 else []
    while left:
        one = left.pop()
        if one.number != frame:
            left += one.children
            continue
        awaitee = one.point.awaitee if one.point is not None and one.location is not None else None  # else a macro's
        return one.name, one.location or one.begins or begins, _for(short_awaitee(awaitee or ""), parked((one,)).leaf)
    at = view.parked[stack] if stack >= 0 else None
    waits_for = _for(at.awaited, at.leaf) if at is not None else ""
    return view.future(function), (at.location if at is not None else None) or begins, waits_for


def _for(awaited: str, leaf: str) -> str:
    end = f" (in the end for {leaf})" if awaited and leaf and leaf != awaited else ""
    return f" for {awaited or leaf}{end}" if awaited or leaf else ""
