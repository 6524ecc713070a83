"""What tasks wait for and hold, in words: who has the lock, whose result is awaited, who waits for whom for good."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence, Set
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tracer.model import LENT, Array, Binary, LinkKind, LinkRole
from tracer.output.labels import duration_words, short_awaitee
from tracer.stacks import LENT_KINDS, LINK_KINDS, LINK_ROLES, Cycle, CycleKind, LinkFlag, Snapshot, TaskLinks

_MOST_OTHERS = 3
_RECEIVES = LINK_ROLES.index(LinkRole.RECEIVES)
_HOLDS = LINK_ROLES.index(LinkRole.HOLDS)
_TIMER = LINK_KINDS.index(LinkKind.TIMER)
_MPSC = LINK_KINDS.index(LinkKind.MPSC)
_WAITS = LINK_ROLES.index(LinkRole.WAITS)
_HOLDING = {LinkKind.SEMAPHORE: "with permits of", LinkKind.TASK: "with the handle of"}


class LinkWords:
    """Of one snapshot.  names: by function of Binary, of the tasks that it polls, in short.  doing: by task, where it
    is, in words; "": not known."""

    def __init__(
        self,
        binary: Binary,
        snapshot: Snapshot,
        links: TaskLinks,
        names: Sequence[str],
        doing: Callable[[int], str] = lambda _: "",
    ) -> None:
        self._binary = binary
        self._snapshot = snapshot
        self._links = links
        self._names = names
        self._doing = doing

    def task(self, index: int) -> str:
        """`task 17 (serve)`."""
        task = self._snapshot.tasks[index]
        number = str(task["id"]) if task["id"] else f"0x{int(task['header']):x}"
        return f"task {number} ({self._names[int(task['function'])]})"

    def of(self, task: int) -> list[tuple[int, str, bool]]:
        """(number of the frame, words, whether it holds it) of what it waits for, of the locks that it holds, and of
        the receivers of channels in which messages wait; by frame.  Of futures of one type that it keeps it is said how
        many wait alike, or for timers."""
        alike: dict[tuple[int, bool, int, int, str], list[tuple[str, Any]]] = defaultdict(list)
        for number, link in self._of(task):
            what = self._what(number, link)
            is_any = link["kind"] == _TIMER and self._kept(link) is not None
            if what:
                how = int(link["future"]), int(link["flags"]), "" if is_any else what
                is_held = link["role"] in (_HOLDS, _RECEIVES)
                alike[int(link["frame"]), is_held, *how].append((what, link))
        return [(frame, self._told(several), is_held) for (frame, is_held, *_), several in alike.items()]

    @cached_property
    def holdings(self) -> npt.NDArray[np.intp]:
        """Of each task a number, equal for those that hold alike: in the same futures locks of the same kinds, or
        permits, whichever they are; 0: none."""
        links = self._links.links
        held = links[(links["role"] == _HOLDS) & np.isin(links["kind"], LENT_KINDS)]
        held["flags"] &= np.uint8(LinkFlag.CERTAIN | LinkFlag.KEPT)
        by_task: dict[int, list[tuple[int, ...]]] = defaultdict(list)
        for task, *how in held[["task", "frame", "kind", "flags", "future"]].tolist():
            by_task[task].append(tuple(how))
        numbers: dict[tuple[tuple[int, ...], ...], int] = {}
        found = np.zeros(len(self._snapshot.tasks), np.intp)
        for task, several in by_task.items():
            found[task] = numbers.setdefault(tuple(sorted(several)), len(numbers) + 1)
        return found

    def keepers_of(self, tasks: Set[int]) -> Array:
        """Who has the handles of these of the tasks that are complete: dtype KEEPER."""
        keepers = self._links.keepers
        found: Array = keepers[np.isin(keepers["finished"], np.array(sorted(tasks), np.int32))]
        return found

    def kept_by(self, task: int) -> str | int | None:
        """Which task has the handle of this one, which is complete, as docs/snapshot.schema.json has tasks; None: not
        known."""
        keepers = self.keepers_of({task})
        return self._id(int(keepers["task"][0])) if len(keepers) else None

    def cycles(self, tasks: Set[int]) -> list[str]:
        """Where some of these tasks wait for good, for each other or others that wait for them: a sentence each."""
        return [self.sentence(cycle) for cycle in self._links.cycles if not tasks.isdisjoint(self._members(cycle))]

    def as_json(self, task: int) -> list[dict[str, Any]]:
        """All links of a task, as docs/snapshot.schema.json has them."""
        return [
            {
                "role": str(LINK_ROLES[link["role"]]),
                "kind": str(LINK_KINDS[link["kind"]]),
                "address": f"0x{int(link['address']):x}",
                "task": self._id(int(link["target"])) if link["target"] >= 0 else None,
                "by": [
                    {"task": self._id(other), "certain": is_certain} for other, is_certain in self._blockers(number)
                ],
                "number": int(link["number"]) if link["number"] >= 0 else None,
                "messages": int(link["messages"]) if link["messages"] >= 0 else None,
                "capacity": int(link["capacity"]) if link["capacity"] >= 0 else None,
                "certain": bool(link["flags"] & LinkFlag.CERTAIN),
                "granted": bool(link["flags"] & LinkFlag.GRANTED),
                "kept": self._kept(link),
            }
            for number, link in self._of(task)
        ]

    def cycles_json(self, tasks: Set[int]) -> list[dict[str, Any]]:
        """The same as docs/snapshot.schema.json has them."""
        return [
            {"kind": cycle.kind.name.lower(), "tasks": [self._id(task) for task in self._members(cycle)],
             "certain": cycle.is_certain}
            for cycle in self._links.cycles
            if not tasks.isdisjoint(self._members(cycle))
        ]  # fmt: skip

    # ------------------------------------------------------------ one link

    def _of(self, task: int) -> list[tuple[int, Any]]:
        """The links of a task, with their numbers: they are in the order of the tasks."""
        first, last = np.searchsorted(self._links.links["task"], [task, task + 1]).tolist()
        return [(number, self._links.links[number]) for number in range(first, last)]

    @cached_property
    def _blocks_of(self) -> dict[int, list[tuple[int, bool, bool, int]]]:
        """By wait: (a task that could end it, whether it surely could, or is only before it, `by` of BLOCK)."""
        found: dict[int, list[tuple[int, bool, bool, int]]] = defaultdict(list)
        for block in self._links.blocks:
            row = int(block["other"]), bool(block["is_certain"]), self._is_in_line(block), int(block["by"])
            found[int(block["link"])].append(row)
        return found

    def _is_in_line(self, block: Any) -> bool:
        """Whether the other one only waits before this one, for the same."""
        by = self._links.links[block["by"]] if block["by"] >= 0 else None
        return by is not None and by["role"] == _WAITS and not by["flags"] & LinkFlag.GRANTED

    def _blockers(self, number: int, *, in_line: bool | None = None) -> list[tuple[int, bool]]:
        """Each task once, though it may have several of what is waited for: senders, permits.

        in_line: only those that wait before it (or only the others).
        """
        found: dict[int, bool] = {}
        for other, is_certain, is_in_line, _ in self._blocks_of.get(number, []):
            if in_line in (None, is_in_line):
                found[other] = found.get(other, False) or is_certain
        return list(found.items())

    def _told(self, several: list[tuple[str, Any]]) -> str:
        """In what they say they differ, if at all, by the number."""
        several = sorted(several, key=lambda one: int(one[1]["number"]))
        (words, link), (last, _) = several[0], several[-1]
        words = words if words == last else f"{words} … {last}"
        kept = self._kept(link)
        if not kept:
            return words
        count = f"{len(several):,} " if len(several) > 1 else ""
        keeps = "keeps" if link["flags"] & LinkFlag.CERTAIN or link["role"] == _HOLDS else "perhaps keeps"
        return f"{words}, by {count}{short_awaitee(kept)}, which it {keeps} but does not poll"

    def _what(self, number: int, link: Any) -> str:
        kind, role = LINK_KINDS[link["kind"]], LINK_ROLES[link["role"]]
        if role is LinkRole.WAITS:
            return self._waiting(number, kind, link)
        if role is LinkRole.HOLDS and kind in LENT:
            is_certain = bool(link["flags"] & LinkFlag.CERTAIN)
            having = _HOLDING.get(kind, "holding")
            return f"{'' if is_certain else 'perhaps '}{having} the {kind} at 0x{int(link['address']):x}"
        if role is LinkRole.RECEIVES and link["messages"] > 0 and not self._waits_at(link):
            perhaps = "" if link["flags"] & LinkFlag.CERTAIN else "perhaps "
            return f"{perhaps}with the receiver of the {kind} at 0x{int(link['address']):x}, {backlog_words(link)}"
        return ""

    def _waits_at(self, receiver: Any) -> bool:
        """Whether the same task waits for a message of this channel: then it is said there what waits in it."""
        return any(
            link["role"] == _WAITS and link["address"] == receiver["address"] and not link["flags"] & LinkFlag.KEPT
            for _, link in self._of(int(receiver["task"]))
        )

    def _waiting(self, number: int, kind: LinkKind, link: Any) -> str:
        if kind is LinkKind.TASK:
            return f"→ {self.task(int(link['target']))}" if link["target"] >= 0 else ""
        if kind is LinkKind.TIMER:
            return self._timer(int(link["number"]))
        if kind is LinkKind.IO:
            return f"file descriptor {int(link['number'])}" if link["number"] >= 0 else ""
        words = ", ".join(filter(None, [f"{kind} at 0x{int(link['address']):x}", backlog_words(link)]))
        if link["flags"] & LinkFlag.GRANTED:
            return f"{words}, which it has been given"
        blockers = self._blockers(number, in_line=False)
        having = self._listed("held by" if kind in LENT else "→", blockers)
        if len(blockers) == 1 and self._is_for_room(number):
            having += [f"which {doing}"] if (doing := self._doing(blockers[0][0])) else []
        before = self._listed("in line behind", self._blockers(number, in_line=True))
        return ", ".join([words, *having, *before])

    def _is_for_room(self, number: int) -> bool:
        """Whether this is a wait for one that receives."""
        return any(by >= 0 and self._links.links["role"][by] == _RECEIVES for *_, by in self._blocks_of[number])

    def _listed(self, how: str, blockers: list[tuple[int, bool]]) -> list[str]:
        others = [("" if is_certain else "perhaps ") + self.task(other) for other, is_certain in blockers]
        if not others:
            return []
        more = f" and {len(others) - _MOST_OTHERS} more" if len(others) > _MOST_OTHERS else ""
        return [f"{how} {', '.join(others[:_MOST_OTHERS])}{more}"]

    def _timer(self, deadline: int) -> str:
        if deadline < 0 or not self._links.time:
            return ""
        left = deadline - self._links.time
        return f"for another {duration_words(left)}" if left > 0 else f"due {duration_words(-left)} ago"

    def _kept(self, link: Any) -> str | None:
        is_kept = link["flags"] & LinkFlag.KEPT and link["future"] >= 0
        return self._binary.layouts[int(link["future"])].name if is_kept else None

    def _id(self, task: int) -> int | str:
        one = self._snapshot.tasks[task]
        return int(one["id"]) or f"0x{int(one['header']):x}"

    # ------------------------------------------------------------ cycles

    def _members(self, cycle: Cycle) -> list[int]:
        return [int(self._links.blocks[block]["task"]) for block in cycle.blocks]

    def sentence(self, cycle: Cycle) -> str:
        """Who waits for whom."""
        perhaps = "" if cycle.is_certain else "perhaps a "
        if cycle.kind is CycleKind.FUTURELOCK:
            block = self._links.blocks[cycle.blocks[0]]
            link, held = self._links.links[block["link"]], self._links.links[block["by"]]
            kept = self._kept(held)
            holder = (
                f"{short_awaitee(kept)}, a future that it keeps but does not poll" if kept else "a future of its own"
            )
            what = f"the {LINK_KINDS[link['kind']]} at 0x{int(link['address']):x}"
            return f"{perhaps}futurelock: {self.task(int(block['task']))} waits for {what}, which {holder}, has"
        steps = []
        for number in cycle.blocks:
            block = self._links.blocks[number]
            link = self._links.links[block["link"]]
            kind = LINK_KINDS[link["kind"]]
            room = "room in " if block["by"] >= 0 and self._links.links["role"][block["by"]] == _RECEIVES else ""
            what = "" if kind is LinkKind.TASK else f" for {room}the {kind} at 0x{int(link['address']):x}"
            waits = "waits in line" if self._is_in_line(block) else "waits"
            steps.append(f"{self.task(int(block['task']))} {waits}{what}")
        words = " → ".join([*steps, self.task(self._members(cycle)[0])])
        return f"{perhaps}deadlock: {words}{self._branches(cycle)}"

    def _branches(self, cycle: Cycle) -> str:
        """`; their other branches wait for: a timer (for another 4.00 s), notify at 0x…`."""
        found: list[str] = []
        for number in cycle.others:
            link = self._links.links[number]
            kind = LINK_KINDS[link["kind"]]
            words = self._waiting(number, kind, link) or str(kind)
            found.append(f"a timer ({words})" if kind is LinkKind.TIMER else words)
        several = [*dict.fromkeys(found)]
        if not several:
            return ""
        more = [f"{len(several) - _MOST_OTHERS} more"] if len(several) > _MOST_OTHERS else []
        return f"; their other branches wait for: {', '.join([*several[:_MOST_OTHERS], *more])}"


def backlog_words(link: Any) -> str:
    """How many messages wait in the channel that a link (dtype LINK) is about; nothing where that is not known."""
    messages, capacity = int(link["messages"]), int(link["capacity"])
    if messages < 0 or link["kind"] != _MPSC:
        return ""
    wait = f"{'message waits' if messages == 1 else 'messages wait'} in it"
    if 0 < capacity <= messages:
        return f"full: {messages:,} {wait}"
    most = f" of at most {capacity:,}" if capacity >= 0 else ""
    return f"{messages:,}{most} {wait}" if messages else "empty"
