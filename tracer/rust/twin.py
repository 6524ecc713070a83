"""Layouts and lines for a binary without debug information, from its twin.

The twin is the same source, lock file and profile built again with debug information.  Layouts of types do not depend
on that; addresses do.  So the running binary says where its functions are, how they are left and what their first
instructions show, and the twin's functions of the same names what those mean.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tracer.errors import TwinRefused
from tracer.model import AwaitPoint, Binary, FunctionKind, Layout, PollFunction, Source, SourceLocation
from tracer.rust.code_shape import CodeShape
from tracer.rust.functions import find_functions
from tracer.rust.naming import coroutine_name, display_name, is_closure
from tracer.rust.twin_evidence import Contradiction, Evidence, contradictions
from tracer.rust.twin_exits import with_results_kept
from tracer.rust.twin_lines import Trust, TwinLines
from tracer.target.elf import ElfImage

BUILD_TWIN = "CARGO_PROFILE_RELEASE_DEBUG=2 cargo build --release --target-dir target-twin"
"""The command that builds one."""

_LEAST_KNOWN = 0.8
"""The share of the running binary's names of poll functions that its twin has at least."""

_Key = tuple[FunctionKind, str, tuple[str, ...]]


def with_twin(binary: Binary, image: ElfImage, twin: Binary, twin_image: ElfImage) -> Binary:
    """`binary` with what its twin knows of its functions; `image` and `twin_image` are the files of both.

    Raises TwinRefused when the twin has no debug information, or is a build of another program.
    """
    if twin.symbols != "dwarf":
        raise TwinRefused(
            f"{twin.path} has no debug information that could be used.",
            why="A twin is the same program, built once more with debug = 2.",
            fix=BUILD_TWIN,
        )
    if None not in (binary.rustc, twin.rustc) and binary.rustc != twin.rustc:
        raise TwinRefused(
            f"{twin.path} is no build of {binary.path}.",
            why=f"rustc {binary.rustc} built the one that runs, rustc {twin.rustc} the twin: layouts may differ.",
            fix=BUILD_TWIN.replace("cargo", f"cargo +{binary.rustc}"),
        )
    running, other = Evidence(image), Evidence(twin_image)
    match = _Match(binary, running, twin, twin_image, other)
    found = [*match.contradictions(), *contradictions(running, other)]
    if found:
        contradiction = min(found, key=lambda one: one.order)
        raise TwinRefused(
            f"{twin.path} is no build of {binary.path}.",
            why=f"{contradiction.function}: {contradiction.difference}.",
            fix=f"Check out the source that was deployed, with its Cargo.lock, and build that:\n{BUILD_TWIN}",
        )
    lines = TwinLines(running.locations, other.locations)
    taken = [_taken_over(function, match.facts(function), lines, twin.layouts) for function in binary.functions]
    known = {name for function in binary.functions for name in function.names}
    inlined = tuple(
        replace(refusal, location=_trusted(refusal.location, lines))
        for refusal in twin.refusals
        if refusal.address is None and refusal.name not in known
    )
    return replace(
        binary,
        functions=tuple(with_results_kept(binary.functions, taken, image)),
        refusals=binary.refusals + inlined,
        layouts=tuple(_trusted_layout(layout, lines) for layout in twin.layouts),
        twin=twin.path,
        # Another block of thread-local variables has them in other places.
        current_task=twin.current_task if image.thread_local_block == twin_image.thread_local_block else None,
        own_folder=binary.own_folder or twin.own_folder,
    )


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the twin knows of a function.  is_same_code: its code is the running function's."""

    functions: tuple[PollFunction, ...]
    is_same_code: bool


class _Match:
    """Which functions of the twin are which of the running binary's.

    Both are looked at without debug information first, so that names of the same making are compared.
    """

    def __init__(
        self, binary: Binary, evidence: Evidence, twin: Binary, twin_image: ElfImage, twin_evidence: Evidence
    ) -> None:
        self._binary = binary
        self._evidence, self._twin_evidence = evidence, twin_evidence
        self._described = {function.address: function for function in twin.functions}
        self._plain: defaultdict[_Key, list[PollFunction]] = defaultdict(list)
        for function in find_functions(twin_image, None, without_debug_info=True).functions:
            if function.address in self._described:
                self._plain[_key(function)].append(function)

    def contradictions(self) -> Iterator[Contradiction]:
        """Functions whose state is elsewhere than in any of that name in the twin, or has other values; lost names."""
        for function in self._binary.functions:
            if function.kind is not FunctionKind.COROUTINE or function.state_offset is None:
                continue
            offsets = {self._state_offset(plain) for plain in self._plain[_key(function)]}
            if offsets and None not in offsets and function.state_offset not in offsets:
                there = " or ".join(f"+{one}" for one in sorted(one for one in offsets if one is not None))
                difference = f"its code reads its state at +{function.state_offset}, the twin has it at {there}"
                yield Contradiction(function.name, difference, function.state_offset, is_future=True)
            states = self._evidence.suspensions(function.address, function.size)
            others = [self._twin_evidence.suspensions(one.address, one.size) for one in self._plain[_key(function)]]
            if states is not None and others and None not in others and states not in others:
                there = " or ".join(
                    str(count) for count in sorted({len(other) for other in others if other is not None})
                )
                difference = f"its code goes on at {len(states)} awaits, the twin's at {there}"
                yield Contradiction(function.name, difference, function.state_offset, is_future=True)
        ours = {name for function in self._binary.functions for name in function.names}
        theirs = {name for found in self._plain.values() for function in found for name in function.names}
        missing = sorted(ours - theirs)
        if len(missing) > (1 - _LEAST_KNOWN) * len(ours):
            name = missing[0]
            shown = coroutine_name(name, None) if is_closure(name) else display_name(name)
            difference = f"the twin does not have it (of {len(ours)} poll functions it lacks {len(missing)})"
            yield Contradiction(shown, difference, 0, is_future=False)

    def _state_offset(self, plain: PollFunction) -> int | None:
        return self._described[plain.address].state_offset

    def facts(self, function: PollFunction) -> _Facts:
        """What the twin knows of one function of the running binary: of several that fit all."""
        found = self._plain.get(_key(function), [])
        if function.state_offset is not None:
            found = [one for one in found if self._state_offset(one) in (function.state_offset, None)]
        ours = self._shape(function)
        same = [one for one in found if _same_code(ours, self._twin_shape(one))]
        if not same:
            alike = [one for one in found if _same_offsets(ours, self._twin_shape(one))]
            # Symbols leave out type arguments: of another code it may be a function of the same name for other types.
            # Of what is hand-written those may have their fields in the same places; coroutines differ in their states.
            if not alike or function.kind is not FunctionKind.COROUTINE:
                alike = [one for one in alike or found if "<" not in self._described[one.address].name]
            found = alike
        return _Facts(tuple(self._described[one.address] for one in same or found), bool(same))

    def _shape(self, function: PollFunction) -> CodeShape | None:
        return self._evidence.shapes.of(function.address, function.size)

    def _twin_shape(self, function: PollFunction) -> CodeShape | None:
        return self._twin_evidence.shapes.of(function.address, function.size)


def _key(function: PollFunction) -> _Key:
    """A task's poll has the same name whatever it runs: what it runs is in its display name."""
    return function.kind, function.name if function.kind is FunctionKind.TASK else "", function.names


def _same_code(one: CodeShape | None, other: CodeShape | None) -> bool:
    return one is not None and other is not None and one.digest == other.digest


def _same_offsets(one: CodeShape | None, other: CodeShape | None) -> bool:
    return one is not None and other is not None and one.offsets == other.offsets


# ---------------------------------------------------------------- taking over


def _taken_over(function: PollFunction, facts: _Facts, lines: TwinLines, layouts: Sequence[Layout]) -> PollFunction:
    found = facts.functions
    if not found:
        return function
    location = _trusted(_agreed((one.location for one in found), None), lines)
    function = replace(
        function,
        name=_agreed((one.name for one in found), function.name),
        crate=_agreed((one.crate for one in found), function.crate),
        location=location or function.location,
    )
    function = _with_registers(function, facts)
    layout = _agreed((one.layout for one in found), None)
    if layout is None and function.kind is FunctionKind.TASK:
        layout = _alike((one.layout for one in found), layouts)
    if function.kind is not FunctionKind.COROUTINE:
        return function if layout is None else replace(function, layout=layout, layout_source=Source.TWIN)
    state_offset = _agreed((one.state_offset for one in found), None)
    if state_offset is None or function.state_offset not in (state_offset, None):
        return function
    if function.state_offset is None and not facts.is_same_code:
        return function
    return replace(
        function,
        state_offset=state_offset,
        awaits=tuple(_trusted_await(point, lines) for point in _common(found)),
        layout=layout,
        layout_source=Source.TWIN,
    )


def _with_registers(function: PollFunction, facts: _Facts) -> PollFunction:
    """With the twin's registers and result, where the code is the same or shows the same registers."""
    registers = _agreed(((one.self_register, one.context_register) for one in facts.functions), None)
    if registers is None or registers[0] is None:
        return function
    if not facts.is_same_code and function.self_register is not registers[0]:
        return function
    return replace(
        function,
        self_register=registers[0],
        context_register=registers[1],
        result=_agreed((one.result for one in facts.functions), None),
    )


def _agreed(values: Iterable[Any], otherwise: Any) -> Any:
    """What all of them are; `otherwise` when they differ."""
    first, *others = values
    return first if all(one == first for one in others) else otherwise


def _alike(indexes: Iterable[int | None], layouts: Sequence[Layout]) -> int | None:
    """The first layout, if all differ in nothing but their names: a task's cells for different schedulers."""
    first, *others = indexes
    if first is None or None in others:
        return None
    bare = replace(layouts[first], name="", path=None)
    same = all(replace(layouts[one], name="", path=None) == bare for one in others if one is not None)
    return first if same else None


def _common(functions: Sequence[PollFunction]) -> list[AwaitPoint]:
    first, *others = functions
    return [point for point in first.awaits if all(point in other.awaits for other in others)]


def _trusted(location: SourceLocation | None, lines: TwinLines) -> SourceLocation | None:
    return location if location is not None and lines.trust(location) is Trust.SAME else None


def _trusted_layout(layout: Layout, lines: TwinLines) -> Layout:
    return replace(
        layout,
        source=Source.TWIN,
        awaits=tuple(_trusted_await(point, lines) for point in layout.awaits),
        location=_trusted(layout.location, lines),
    )


def _trusted_await(point: AwaitPoint, lines: TwinLines) -> AwaitPoint:
    """Without lines that are known to be others; marked where nothing tells."""
    trusts = {place: lines.trust(place) for place in (point.location, point.macro) if place is not None}

    def kept(place: SourceLocation | None) -> SourceLocation | None:
        return place if place is not None and trusts[place] is not Trust.OTHER else None

    return replace(
        point,
        location=kept(point.location),
        macro=kept(point.macro),
        is_verified=Trust.UNKNOWN not in trusts.values(),
    )
