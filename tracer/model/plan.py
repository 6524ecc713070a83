"""What is probed, and what not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from tracer.model.binary import Binary
from tracer.model.functions import IN_PART, FunctionKind, InstructionCost, PollFunction, Refusal
from tracer.model.layouts import Layout
from tracer.model.points import CallSite, EndPoint, SpawnPoint, WakePoint


class ExitMode(StrEnum):
    """How the end of a poll is seen."""

    DEFAULT = "default"  # futures in their callers, else by exit instructions; tokio's task poll by a return probe
    AUTO = "auto"  # the same; where that costs too much, futures get entries only for a while
    RET = "ret"  # everything by exit instructions
    TASK = "task"  # task polls have exits; futures below get entries only
    URETPROBE = "uretprobe"  # everything by return probes; only where the binary cannot unwind


class Site(StrEnum):
    ENTRY = "entry"
    CALL = "call"  # an entry, at a call
    EXIT = "exit"
    RETURN = "return"
    RETURNED = "returned"  # an exit, at an instruction of the caller
    END = "end"  # where a life ends: the entry of a function that is no poll
    SPAWN = "spawn"  # where a task is spawned: the entry of a function
    SPAWNED = "spawned"  # ... its return
    WAKE = "wake"  # where a task is woken: the entry of a function


class Group(StrEnum):
    """What is attached and detached together."""

    TASKS = "tasks"
    FUTURES = "futures"
    WAKES = "wakes"
    SCHEDULING = "scheduling"  # no probes: tracepoints of the kernel's scheduler


@dataclass(frozen=True, slots=True)
class Probe:
    """One probed place of one binary.  id = its index in Plan.probes, sent in every event.

    enters / leaves: index into Plan.functions of the function that begins / ends here, or None; an
    address can be both (a function whose first instruction is its `ret`: it begins, then ends).
    is_tail: the function is left by a jump, so that a callee runs on in its frame.
    after: of Site.RETURNED, how many bytes after the latest call it is.
    ends: index into Plan.ends, where a life ends here; then nothing enters or leaves.  spawns, wakes: the same of
    Plan.spawns and Plan.wakes.
    """

    id: int
    binary: int
    offset: int
    site: Site
    group: Group
    enters: int | None
    leaves: int | None
    is_tail: bool = False
    cost: InstructionCost = InstructionCost.STEPPED
    ends: int | None = None
    spawns: int | None = None
    wakes: int | None = None
    after: int = 0


@dataclass(frozen=True, slots=True)
class PlannedSpawn:
    """A SpawnPoint of one binary."""

    binary: int
    point: SpawnPoint


@dataclass(frozen=True, slots=True)
class PlannedWake:
    """A WakePoint of one binary."""

    binary: int
    point: WakePoint


@dataclass(frozen=True, slots=True)
class PlannedEnd:
    """An EndPoint of one binary.  functions: whose futures end here, as indexes into Plan.functions."""

    binary: int
    point: EndPoint
    functions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """One position in the tree of futures that can be below a poll function's own.

    Its number, which the kernel sends, is 1 + its index in Plan.places.  parent: number of the place above;
    0: it is the function's own future.  function: index into Plan.functions, whose tree it is in.  layout: index
    into Plan.layouts; None: a pointer on the way.  state: the discriminant of the place above with which this one
    is there; None: always.  is_polled: polls of it have a probe of their own.
    """

    parent: int
    function: int
    layout: int | None
    state: int | None
    is_polled: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be attached, and what will not, with the reason.

    functions: of all binaries, in one list; function_binary[i] is the index of i's binary.  layouts: of all
    binaries, one after the other.  scheduling: when threads leave and get their CPUs is recorded, too.
    no_scheduling: why it is not, though it was wanted.
    """

    binaries: tuple[Binary, ...]
    functions: tuple[PollFunction, ...]
    function_binary: tuple[int, ...]
    probes: tuple[Probe, ...]
    refusals: tuple[Refusal, ...]
    exit_mode: ExitMode
    layouts: tuple[Layout, ...] = ()
    places: tuple[Place, ...] = ()
    ends: tuple[PlannedEnd, ...] = ()
    spawns: tuple[PlannedSpawn, ...] = ()
    wakes: tuple[PlannedWake, ...] = ()
    scheduling: bool = False
    no_scheduling: str | None = None

    @property
    def groups(self) -> frozenset[Group]:
        """Those of its probes, and SCHEDULING."""
        groups = frozenset(probe.group for probe in self.probes)
        return groups | {Group.SCHEDULING} if self.scheduling else groups

    @property
    def unseen(self) -> tuple[Refusal, ...]:
        """Those of functions of which no poll is seen."""
        return tuple(one for one in self.refusals if one.reason != IN_PART)

    @property
    def seen_in_part(self) -> tuple[Refusal, ...]:
        """Those of functions that are probed, and have inlined copies, too."""
        return tuple(one for one in self.refusals if one.reason == IN_PART)

    @property
    def leaves_out_tasks(self) -> bool:
        """Whether there are task polls, or blocking jobs, that are not probed because nobody wants to see them."""
        planned = {(number, one.address) for number, one in zip(self.function_binary, self.functions, strict=True)}
        return any(
            one.kind is FunctionKind.TASK and (number, one.address) not in planned
            for number, binary in enumerate(self.binaries)
            for one in binary.functions
        )

    @property
    def own_folders(self) -> tuple[str, ...]:
        """Those of all binaries that have one, see Binary."""
        return tuple(folder for binary in self.binaries for folder in binary.own_folders)

    @property
    def sites(self) -> tuple[CallSite, ...]:
        """Those of all binaries, one after the other."""
        return tuple(site for binary in self.binaries for site in binary.sites)


def exits_apart(plan: Plan) -> dict[int, frozenset[int]]:
    """The probes (ids) at the exits of each future's function (index into Plan.functions) that can come and go while
    its entry stays.

    None of a blocking call in place: how long that lasts is all that it tells.  None either where a probe has two
    roles, of one function or of two.
    """
    exits: dict[int, set[int]] = {}
    mixed: set[int] = set()
    for probe in plan.probes:
        if probe.leaves is not None and probe.group is Group.FUTURES:
            exits.setdefault(probe.leaves, set()).add(probe.id)
            if probe.enters is not None:
                mixed |= {probe.enters, probe.leaves}
    kinds = (FunctionKind.COROUTINE, FunctionKind.FUTURE)
    return {
        function: frozenset(ids)
        for function, ids in sorted(exits.items())
        if function not in mixed and plan.functions[function].kind in kinds
    }


def functions_of(probe: Probe, plan: Plan) -> frozenset[int]:
    """The functions (indexes into Plan.functions) for whose sake it is there; none: it is no function's."""
    own = {index for index in (probe.enters, probe.leaves) if index is not None}
    return frozenset(own if probe.ends is None else plan.ends[probe.ends].functions)


def costs_by_function(plan: Plan, costs: Sequence[float]) -> tuple[list[float], list[float]]:
    """(of entering, of leaving) each function what a hit takes, of what it does at each of Plan.probes; where one of
    them can be seen in several places, which differ, the mean; where nowhere, or as far as nothing is told, 0."""
    enters: list[list[float]] = [[] for _ in plan.functions]
    leaves: list[list[float]] = [[] for _ in plan.functions]
    for probe, cost in zip(plan.probes, costs, strict=False):
        if probe.enters is not None:
            enters[probe.enters].append(cost)
        elif probe.leaves is not None:
            leaves[probe.leaves].append(cost)
    ways_in, ways_out = ([sum(one) / len(one) if one else 0.0 for one in ways] for ways in (enters, leaves))
    return ways_in, ways_out
