"""Where a wait is, down to the leaf: the futures from the one that was polled to the one that is waited for.

A wait is named after the innermost place in the user's own source and what is awaited there: behind
`lock().await` there may be five futures of a library, which the chain shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tracer.model import LayoutKind, Plan, SourceLocation, is_foreign
from tracer.output.awaits import await_point, short_place, wait_title
from tracer.output.labels import POLL_FN, POLLS_ALL, short_awaitee
from tracer.terminal import printable

_MAX_NAMES = 3
_SELECT = "/macros/select.rs"
"""tokio's and futures-util's."""


@dataclass(frozen=True, slots=True)
class Step:
    """One future of a chain.  location, macro: where it awaits the next one, as in AwaitPoint.

    inlined: it has no function of its own, so that nothing but its parent's memory tells of it.
    is_verified: as in AwaitPoint.
    may_be_off: a branch of a select! whose own memory does not tell whether that branch is enabled.
    is_sure: its memory, or that of what has it, tells that it is polled.
    """

    number: int
    name: str
    location: SourceLocation | None
    macro: SourceLocation | None
    inlined: bool
    may_be_off: bool = False
    is_verified: bool = True
    is_sure: bool = False

    @property
    def short(self) -> str:
        return short_awaitee(self.name) + (" (if enabled)" if self.may_be_off else "")

    def __str__(self) -> str:
        words = [self.short]
        place = self.location or self.macro
        if place is not None:
            words.append(f"at {short_place(place)}")
        if self.inlined:
            words.append("(inlined)")
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """What is known of a wait.  title: its name.  location, macro, awaitee, is_verified: as in AwaitPoint, of the
    innermost place in the user's own source.  chain: outer to inner, for people; empty when nothing below is known.
    inlined: the futures on the way that have no function of their own, outer to inner, with their places.
    is_whole: the chain leads to what is waited for, or to futures with polls of their own.
    """

    title: str
    location: SourceLocation | None
    macro: SourceLocation | None
    awaitee: str | None
    chain: tuple[str, ...] = ()
    inlined: tuple[Step, ...] = ()
    is_whole: bool = False
    is_verified: bool = True


class Chains:
    """Of one plan; what was asked once is kept."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._own_folders = plan.own_folders
        self._above = {place.parent for place in plan.places}
        self._known: dict[tuple[int, int | None, int], Whereabouts] = {}

    def waiting(self, function: int, state: int | None, packed: int) -> Whereabouts:
        """packed: the places of a WAIT."""
        known = self._known.get((function, state, packed))
        if known is None:
            known = self._known[function, state, packed] = self._waiting(function, state, packed)
        return known

    def _waiting(self, function: int, state: int | None, packed: int) -> Whereabouts:
        places = [number for shift in (0, 16, 32, 48) if (number := packed >> shift & 0xFFFF)]
        own = self._plan.functions[function]
        point = await_point(own, state)
        plain = Whereabouts(
            wait_title(own, state),
            point.location if point else None,
            point.macro if point else None,
            point.awaitee if point else None,
            is_verified=point.is_verified if point else True,
        )
        ways = [self._steps(number) for number in dict.fromkeys(places) if number <= len(self._plan.places)]
        if not ways:
            return plain
        common = _common(ways)
        chain = [str(step) for step in common]
        chain += [" → ".join(map(str, way[len(common) :])) for way in ways if len(way) > len(common)]
        common, ways = _surely(common, ways)
        tails = [way[len(common) :] for way in ways]
        is_whole = all(number not in self._above for number in places)
        known = Whereabouts(
            plain.title,
            plain.location,
            plain.macro,
            plain.awaitee,
            tuple(chain),
            tuple(step for step in common[1:] if step.inlined),
            is_whole,
            plain.is_verified,
        )
        at = max((place for place, step in enumerate(common) if self._is_own(step)), default=-1)
        if at < 0 and plain.location is None:
            # A task of a dependency: its outermost await.
            at = next((place for place, step in enumerate(common) if step.location is not None), -1)
        if at < 0 or len(common) == 1 == len(ways):
            return known
        names = [common[at + 1]] if at + 1 < len(common) else [tail[0] for tail in tails if tail]
        if not names:
            return known
        return Whereabouts(
            f"waiting: {_listed(names)}",
            common[at].location,
            common[at].macro,
            " | ".join(dict.fromkeys(step.name for step in names)),
            known.chain,
            known.inlined,
            is_whole,
            common[at].is_verified,
        )

    def _steps(self, number: int) -> tuple[Step, ...]:
        """The futures from a function's own down to this place."""
        steps: list[Step] = []
        kinds: list[LayoutKind] = []
        state: int | None = None
        while number:
            place = self._plan.places[number - 1]
            layout = self._plan.layouts[place.layout] if place.layout is not None else None
            if place.state is not None and steps and (layout is None or layout.kind is LayoutKind.GLUE):
                steps[-1] = replace(steps[-1], is_sure=True)
            if layout is not None and layout.kind is not LayoutKind.GLUE:
                point = await_point(layout, state)
                kinds.append(layout.kind)
                steps.append(
                    Step(
                        number,
                        self._plan.functions[place.function].name if not place.parent else layout.name,
                        point.location if point else None,
                        point.macro if point else None,
                        bool(place.parent) and not place.is_polled,
                        is_verified=point.is_verified if point else True,
                        is_sure=place.state is not None or layout.kind is LayoutKind.COROUTINE,
                    )
                )
            state, number = place.state, place.parent
        # A coroutine's own state tells whether it waits; of other branches only select!'s mask does: nobody reads it.
        outer = kinds.index(LayoutKind.COROUTINE) if LayoutKind.COROUTINE in kinds else 0
        if outer > 1 and (macro := steps[outer].macro) is not None and macro.file.endswith(_SELECT):
            steps[0] = replace(steps[0], may_be_off=True)
        return tuple(reversed(steps))

    def _is_own(self, step: Step) -> bool:
        """Whether it awaits in the user's own source."""
        return step.location is not None and not is_foreign(step.location.file, self._own_folders)


def _common(ways: Sequence[tuple[Step, ...]]) -> tuple[Step, ...]:
    """The beginning that all of them have."""
    shared = 0
    for several in zip(*ways, strict=False):
        if any(one != several[0] for one in several):
            break
        shared += 1
    return ways[0][:shared]


def _surely(common: tuple[Step, ...], ways: list[tuple[Step, ...]]) -> tuple[tuple[Step, ...], list[tuple[Step, ...]]]:
    """The same beyond a hand-written future that surely polls one of those it has: the wait is named after that one,
    not after a limit that it has besides, of which nothing tells whether it is polled yet."""
    while len(ways) > 1 and common:
        if POLL_FN.match(common[-1].name) or POLLS_ALL.match(common[-1].name):
            break
        sure = [way for way in ways if any(step.is_sure for step in way[len(common) :])]
        below = {way[len(common)].number for way in sure}
        if len(below) != 1 or len(sure) == len(ways):
            break
        common, ways = _common(sure), sure
    return common, ways


def _listed(steps: Sequence[Step]) -> str:
    short = list(dict.fromkeys(step.short for step in steps))
    more = f" | {len(short) - _MAX_NAMES} more" if len(short) > _MAX_NAMES else ""
    return printable(" | ".join(short[:_MAX_NAMES]) + more)
