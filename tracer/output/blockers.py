"""What blocked, or never let go of, the threads that polled tasks: the user's own function on their stacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from tracer.model import Array, Frame, Stack, StackKind, Stacks, is_foreign
from tracer.output.labels import place_words
from tracer.terminal import printable

_STANDARD = frozenset({"std", "core", "alloc"})
_RUNTIMES = frozenset(
    {
        *("tokio", "tokio_util", "mio", "parking_lot", "parking_lot_core"),
        *("async_std", "smol", "async_task", "async_executor", "async_io", "async_lock", "blocking", "polling"),
        *("futures", "futures_core", "futures_util", "futures_lite", "crossbeam_utils", "libc"),
    }
)
"""Crates by whose names, where no line is known, a function is taken not to be the user's own."""


def is_own(frame: Frame, own_folders: Collection[str] = (), crates: Collection[str] | None = None) -> bool:
    """Whether a function is the user's own, as far as the path of its source tells, or else its crate.

    own_folders: see Plan.  crates: the user's own, see own_crates.
    """
    if frame.crate in _STANDARD or (frame.crate is None and frame.location is None):
        return False
    if frame.location is not None:
        return not is_foreign(frame.location.file, own_folders)
    return frame.crate in crates if crates is not None else frame.crate not in _RUNTIMES


def own_crates(stack: Stack, own_folders: Collection[str] = ()) -> frozenset[str] | None:
    """The crates of the user's own functions on it; None: of no crate lines are known, so that any may be the user's.

    Where there are lines, a function without one is a dependency's as often as not: generic code of several types.
    """
    told = [one for one in stack.frames if one.location is not None and one.crate not in {*_STANDARD, None}]
    if not told:
        return None
    return frozenset(one.crate for one in told if one.crate is not None and is_own(one, own_folders))


def own_frames(stack: Stack, own_folders: Collection[str] = ()) -> list[bool]:
    """Of each frame, whether it is the user's own."""
    crates = own_crates(stack, own_folders)
    return [is_own(frame, own_folders, crates) for frame in stack.frames]


def blocker_of(stack: Stack, own_folders: Collection[str] = ()) -> Frame | None:
    """The innermost function that is the user's own; None: there is none."""
    own = own_frames(stack, own_folders)
    return next((frame for frame, mine in zip(stack.frames, own, strict=True) if mine), None)


def frame_words(frame: Frame) -> str:
    """One line: the function and where in it."""
    name = (
        printable(frame.function) if frame.function is not None else f"unknown function of {frame.module or 'nowhere'}"
    )
    return f"{name} {place_words(frame.location)}".rstrip()


def stack_words(stack: Stack) -> list[str]:
    """The innermost first."""
    words = [frame_words(frame) for frame in stack.frames]
    return words if stack.is_whole else [*words, "… (what called it is not known)"]


def stack_of(stacks: Stacks | None, number: int) -> Stack | None:
    """By its number in samples (1 + its index); None: the capture does not tell it."""
    known = stacks.stacks if stacks is not None else ()
    return known[number - 1] if 0 < number <= len(known) else None


def period_of(stacks: Stacks | None) -> int:
    """ns of a CPU's time between two looks at what runs there; 0: there are none."""
    return stacks.census.period if stacks is not None else 0


def times_of(looks: Array, stacks: Stacks | None) -> list[int]:
    """How much time each look (dtype LOOK) stands for, in ns.  stacks: of the recording.

    What ran was looked at once a period; those of one poll, which come together, stand for no more than it took.
    """
    period = period_of(stacks)
    is_blocked = (looks["kind"] == StackKind.BLOCKED).tolist()
    lengths = (looks["until"] - looks["time"]).tolist()
    polls = list(zip(looks["tid"].tolist(), looks["start"].tolist(), strict=True))
    counts = Counter(poll for poll, blocked in zip(polls, is_blocked, strict=True) if not blocked)
    in_polls = (looks["until"] - looks["start"]).tolist()
    return [
        max(length, 0) if blocked else min(period, in_poll // counts[poll])
        for blocked, length, in_poll, poll in zip(is_blocked, lengths, in_polls, polls, strict=True)
    ]


_Place = tuple[StackKind, str | None, str | None, int]
"""Kind, function, file; of a thread that blocked the line."""


@dataclass(slots=True)
class Blocker:
    """What was seen of one place: where a thread blocked, a line; where it ran on, a function.

    frame: with the line that was seen most; None: no function on the stack is the user's own.  count: stacks.  polls:
    in which they were.  time: ns that these stand for.  longest: ns of one blocking; of what ran, of one poll.
    stacks: by number, how often.  functions: of the task polls, by index, how often.
    """

    kind: StackKind
    frame: Frame | None = None
    count: int = 0
    polls: int = 0
    time: int = 0
    longest: int = 0
    stacks: Counter[int] = field(default_factory=Counter)
    functions: Counter[int] = field(default_factory=Counter)


class Blockers:
    """By kind and place.  Memory grows with the places only.  own_folders: see Plan."""

    def __init__(self, stacks: Stacks | None, own_folders: Collection[str] = ()) -> None:
        self._stacks = stacks
        self._own_folders = own_folders
        self._frames: dict[int, Frame | None] = {}
        self._found: dict[_Place, Blocker] = {}

    def add(self, looks: Array) -> None:
        """Count these in (dtype LOOK); those of one poll come together."""
        polls: Counter[tuple[int, int, _Place]] = Counter()
        for look, time in zip(looks, times_of(looks, self._stacks), strict=True):
            kind, number = StackKind(int(look["kind"])), int(look["stack"])
            place = self._place(kind, number)
            found = self._found.setdefault(place, Blocker(kind))
            found.count += 1
            found.time += time
            found.stacks[number] += 1
            poll = int(look["tid"]), int(look["start"]), place
            if poll not in polls:
                found.polls += 1
                found.functions[int(look["function"])] += 1
            polls[poll] += time
            found.longest = max(found.longest, time if kind is StackKind.BLOCKED else polls[poll])

    def is_in(self, function: str) -> bool | None:
        """Whether a stack was seen that this one (its own name) is in; None: there is none, or it may be inlined."""
        stacks = [stack_of(self._stacks, number) for one in self._found.values() for number in one.stacks]
        frames = [frame for stack in stacks if stack is not None for frame in stack.frames]
        names = {frame.function.partition("<")[0].rpartition("::")[2] for frame in frames if frame.function is not None}
        if function in names:
            return True
        return False if any(frame.location is not None for frame in frames) else None

    def most(self) -> list[Blocker]:
        """By time, the most first."""
        for one in self._found.values():
            lines = Counter[Frame | None]()
            for number, count in one.stacks.items():
                lines[self._frame(number)] += count
            one.frame = lines.most_common(1)[0][0]
        return sorted(self._found.values(), key=lambda one: (-one.time, -one.count))

    def _place(self, kind: StackKind, number: int) -> _Place:
        frame = self._frame(number)
        if frame is None:
            return kind, None, None, 0
        place = frame.location
        line = place.line if place is not None and kind is StackKind.BLOCKED else 0
        return kind, frame.function, place.file if place is not None else None, line

    def _frame(self, number: int) -> Frame | None:
        if number not in self._frames:
            stack = stack_of(self._stacks, number)
            self._frames[number] = blocker_of(stack, self._own_folders) if stack is not None else None
        return self._frames[number]
