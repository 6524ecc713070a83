"""Every construct in every build and runtime, as data: what a trace knows of it, and what it cannot know and why.

Rows are the constructs that tests/targets/constructs goes through, columns are builds and runtimes.  Whatever is not
listed here as unknown is compared with the target's own log, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Aspect(StrEnum):
    """What is compared."""

    INSTANCES = "instances"  # each future is one instance of the trace, and no other is the same one
    POLLS = "polls"  # each poll is one of the trace, and there are no others
    RESULTS = "results"  # what each poll returned
    PARENTS = "parents"  # which future polled it
    AWAITS = "awaits"  # where it waited, between its polls and after the last one
    TASKS = "tasks"  # each spawned future is a task, with the runtime's own id
    SPAWNS = "spawns"  # where each task was spawned, and by which task


@dataclass(frozen=True, slots=True)
class Column:
    """A build of a runtime's target, in one of its modes."""

    target: str
    profile: str
    mode: str = ""

    def __str__(self) -> str:
        return "-".join(filter(None, (self.target.removeprefix("constructs_"), self.mode, self.profile)))

    @property
    def has_lines(self) -> bool:
        """cargo's own release profile has no debug information."""
        return self.profile != "release"

    @property
    def is_optimised(self) -> bool:
        return self.profile != "dev"


COLUMNS = (
    Column("constructs_tokio", "dev", "multi"),
    Column("constructs_tokio", "dev", "current"),
    Column("constructs_tokio", "dev", "local"),
    Column("constructs_async_std", "dev"),
    Column("constructs_smol", "dev"),
    Column("constructs_tokio", "release-debug", "multi"),
    Column("constructs_tokio", "release-debug", "local"),
    Column("constructs_async_std", "release-debug"),
    Column("constructs_smol", "release-debug"),
    Column("constructs_tokio", "release", "multi"),
    Column("constructs_async_std", "release"),
    Column("constructs_smol", "release"),
)

SHARED = (
    "23 tasks",
    "1,000 short tasks",
    "spawn from a task",
    "between workers",
    "blocking",
    "recursion",
    "address reuse",
    "address reuse after a cancel",
    "address reuse, hand-written",
    "moved",
    "generics",
    "never polled",
    "inlined",
    "join!",
    "join",
    "try_join!",
    "select!",
    "select_all",
    "timeout elapsed",
    "timeout in time",
    "FuturesUnordered",
    "Shared",
    "boxed dyn",
    "pinned dyn",
    "async_trait",
    "stream next",
    "buffer_unordered",
    "cancelled",
    "panic caught",
    "task panics",
    "abort",
    "shutdown",
    "block_on root",
)
"""What every runtime has."""

ONLY_TOKIO = ("tokio::join!", "tokio::try_join!", "tokio::select!", "JoinSet", "ways to spawn")

COUNTS = {"23 tasks": (23, 47), "1,000 short tasks": (1000, None)}
"""How many tasks of one function the log itself must have, with how many polls each; a log of less proves nothing."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """What a trace does not say.  function: of which function of the construct; None: of all (see `where`).

    profiles: in which builds.  is_shown: how the test sees in the trace that it is unknown.
    """

    aspect: Aspect
    where: str
    profiles: tuple[str, ...]
    reason: str
    is_shown: str


_ALL = ("dev", "release-debug", "release")

UNKNOWN = (
    Unknown(
        Aspect.AWAITS,
        "every future",
        ("release",),
        "there is no debug information: the state's number is all there is",
        "the wait names no line",
    ),
    Unknown(
        Aspect.RESULTS,
        "hand-written futures",
        ("release",),
        "where a result is returned depends on its type, which only debug information describes",
        "the result is `unknown`",
    ),
    Unknown(
        Aspect.INSTANCES,
        "hand-written futures",
        ("release",),
        "nobody knows that the one before at this address was Ready, so the next one there looks like the same",
        "the wait between them is marked ambiguous",
    ),
    Unknown(
        Aspect.INSTANCES,
        "hand-written futures that took the place of one that was Pending",
        _ALL,
        "no state says that it was never polled, and nothing is called to drop the one before",
        "they are one instance",
    ),
    Unknown(
        Aspect.AWAITS,
        "the end of a future that was dropped, and is no task's",
        ("release-debug", "release"),
        "the optimiser made the drop a part of whoever drops it",
        "its last wait is drawn to the end of the trace, marked as such; where another one of its function took its "
        "place, it ends there at the latest, marked as cancelled",
    ),
    Unknown(
        Aspect.AWAITS,
        "the end of a hand-written future that was dropped",
        ("dev", "release-debug"),
        "it owns nothing, so that there is no code that drops it",
        "its last wait is drawn to the end of the trace, marked as such",
    ),
    Unknown(
        Aspect.AWAITS,
        "the last wait of a hand-written future that was dropped",
        ("release",),
        "its last result is unknown",
        "there is no wait after the last poll",
    ),
    Unknown(
        Aspect.AWAITS,
        "functions that await in a macro",
        ("dev", "release-debug"),
        "the line table has the macro's own lines there",
        "the wait names the place in the macro and no line of the function",
    ),
    Unknown(
        Aspect.RESULTS,
        "polls that a panic ended",
        _ALL,
        "they return nothing",
        "the result is `unknown`, and the poll is marked as unwound",
    ),
    Unknown(
        Aspect.INSTANCES,
        "futures without a function of their own",
        ("release-debug", "release"),
        "the optimiser made them parts of the function that polls them",
        "there is no poll of them; what they poll has the next function above as its parent, and the chain of that "
        "one's waits has their places",
    ),
    Unknown(
        Aspect.TASKS,
        "tasks in the place of another of their type",
        _ALL,
        "async-task gives its tasks no ids, and what a task's poll returned is known only where its future has a "
        "function of its own",
        "they are one task, and a wait between them is marked ambiguous",
    ),
    Unknown(
        Aspect.TASKS,
        "polls of a task that was aborted while it stood in a queue",
        _ALL,
        "the task has ended, and the runtime looks at it once more",
        "the poll is another task's, without an id and without a future",
    ),
    Unknown(
        Aspect.TASKS,
        "ids of tasks",
        _ALL,
        "async-task gives its tasks none",
        "tasks have a number of the trace's own, and no id",
    ),
    Unknown(
        Aspect.SPAWNS,
        "places of tasks of tokio by some of the ways to spawn",
        ("release",),
        "the compiler made the spawn function a part of its caller, or left the place out, which is for panics only; "
        "without debug information nothing tells of it",
        "the place is `unknown`, with the reason; the task that spawned it is known",
    ),
    Unknown(
        Aspect.SPAWNS,
        "places of tasks of async-std and smol",
        ("release",),
        "their spawn functions are not told who calls them, and there is no debug information to tell it",
        "the place is `unknown`, with the reason; the task that spawned it is known",
    ),
)

IN_MACRO = {
    "join!": "constructs::combinators::join",
    "try_join!": "constructs::combinators::try_join",
    "select!": "constructs::combinators::select",
    "tokio::join!": "constructs_tokio::own::join",
    "tokio::try_join!": "constructs_tokio::own::try_join",
    "tokio::select!": "constructs_tokio::own::select",
}
"""The function of each construct that awaits inside a macro."""

HAND_WRITTEN = ("constructs::turns::Turns",)
MERGED = {"address reuse, hand-written"}
"""Constructs in which hand-written futures take the place of Pending ones."""

INLINED = ("constructs::plain::around", "constructs::plain::inside")

BLOCKING_JOBS = {"constructs_tokio": 2, "constructs_async_std": 2, "constructs_smol": 2}
"""How often the target hands work to the threads for blocking work."""

FOR_BLOCKING_JOBS = {"constructs_async_std": "task async_task::task::Task<u64"}
"""Where another task waits for such a job, how its name begins."""


def rows(column: Column) -> tuple[str, ...]:
    """The constructs of a column's target."""
    return SHARED + (ONLY_TOKIO if column.target == "constructs_tokio" else ())
