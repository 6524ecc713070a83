"""Where coroutines wait, told by the code and the line tables, against what types tell of the same source."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from tests.building import WORKSPACE
from tests.cells import LINED
from tests.e2e.trace import plain
from tests.running import Targets
from tests.sources import is_made_by, source, statement
from tracer.model import FIRST_SUSPEND, AwaitPoint, Binary, FunctionKind, PollFunction
from tracer.rust import read_binary
from tracer.rust.dispatch import Dispatches
from tracer.rust.scan import CodeScan
from tracer.target.elf import open_elf

UNTELLABLE = {
    ("constructs::combinators::endless", 4),
    ("constructs::ends::parked", 4),
    ("cut_short::self_aborted", 4),
}
"""Functions and states of optimised builds that no code and no line tells.

They await `core::future::pending()`.  Its poll is always Pending, so that no code is left of it: the state leads
straight to the end that all suspensions of the function share, to which the line table gives line 0.  (Where all else
is gone, too, the end has the await's line and is known: `cut_short::loser`, `cut_short::parked`.)
"""

_SUFFIX = re.compile(r"\.llvm\.\d+$")


def coroutines(binary: Binary) -> list[PollFunction]:
    return [function for function in binary.functions if function.kind is FunctionKind.COROUTINE]


def looked_up(path: Path) -> list[PollFunction]:
    with open_elf(path) as image:
        return coroutines(read_binary(image, display_path="program"))


def by_symbols(functions: list[PollFunction]) -> dict[tuple[str, ...], list[PollFunction]]:
    found: defaultdict[tuple[str, ...], list[PollFunction]] = defaultdict(list)
    for function in functions:
        found[tuple(sorted({_SUFFIX.sub("", name) for name in function.names}))].append(function)
    return found


def same_type(mine: str, other: str) -> bool:
    """Types tell the path of a type only where some unit does; without one its own name has to do."""
    one, two = plain(mine), plain(other)
    return one == two if "::" in two else one.rpartition("::")[2] == two


def wrong(mine: PollFunction, truth: PollFunction) -> list[tuple[AwaitPoint, AwaitPoint | None]]:
    """What is told otherwise; nothing told is not wrong."""
    expected = {point.state: point for point in truth.awaits}
    found: list[tuple[AwaitPoint, AwaitPoint | None]] = []
    for point in mine.awaits:
        right = expected.get(point.state)
        if right is None:
            found.append((point, right))
        elif right.location is None and point.location is not None:
            # Types know only the place inside the macro, the code knows where the user wrote it.
            if not re.search(
                r"\b(select(_biased)?|join|try_join)!", statement(point.location.file, point.location.line)
            ):
                found.append((point, right))
        elif (point.location, point.macro) != (right.location, right.macro) or (
            # Symbols name a hand-written future with the parameters of its impl: `a::F<T>`.
            point.awaitee is not None and not same_type(point.awaitee, right.awaitee or "")
        ):
            found.append((point, right))
    return found


def compare(
    mine: list[PollFunction], truth: list[PollFunction], untellable: Collection[tuple[str, int]] = ()
) -> tuple[int, int]:
    """(how many suspend states are known, how many there are) of the functions in both; none may be told wrong.

    untellable: names of functions and states that must not be told at all; they do not count.
    """
    known = count = 0
    expected = by_symbols(truth)
    for symbols, functions in by_symbols(mine).items():
        for function in functions:
            others = expected.get(symbols, [])
            if not others:
                continue
            # Several instances of one generic function have one name.
            assert any(not wrong(function, other) for other in others), (function.awaits, others[0].awaits)
            assert function.state_offset in {other.state_offset for other in others}
            told = {point.state for point in function.awaits if point.location or point.macro}
            there = {point.state for point in others[0].awaits}
            hidden = {state for name, state in untellable if name == function.name}
            assert hidden <= there - told, (function.name, hidden, there, told)
            known += len(told)
            count += len(there - hidden)
    return known, count


@pytest.mark.parametrize(
    ("lines", "types", "untellable"), [("release-lines", "release-debug", UNTELLABLE), ("dev-lines", "dev", ())]
)
def test_lines_tell_what_types_tell(
    targets: Targets, lines: str, types: str, untellable: Collection[tuple[str, int]]
) -> None:
    """Every state of every coroutine of these targets, dependencies included: the same line or none."""
    known = count = 0
    names: set[str] = set()
    for target in LINED:
        mine = looked_up(targets.path(target, lines))
        one = compare(mine, looked_up(targets.path(target, types)), untellable)
        known, count = known + one[0], count + one[1]
        names.update(function.name for function in mine)
    assert {name for name, _ in untellable} <= names
    assert count > 100
    assert known >= 0.98 * count


@pytest.mark.parametrize("target", ["server", "tokio_multi", "smol_log", "async_std_log"])
@pytest.mark.parametrize("profile", ["dev-lines", "release-lines"])
def test_the_source_awaits_there(targets: Targets, target: str, profile: str) -> None:
    checked = 0
    for function in looked_up(targets.path(target, profile)):
        if function.location is None or str(WORKSPACE / target) not in function.location.file:
            continue
        assert function.awaits or "async {}" in source(function.location.file)[function.location.line - 1]
        for point in function.awaits:
            if point.location is not None:
                words = statement(point.location.file, point.location.line)
                checked += 1
                if "select!" in words:
                    continue  # what it awaits is its own
                assert ".await" in words, (function.name, point)
                assert point.awaitee is None or is_made_by(point.awaitee, words), (function.name, point, words)
    assert checked >= 2


@pytest.mark.parametrize("profile", ["dev-lines", "release-lines"])
def test_a_task_is_where_its_future_is(targets: Targets, profile: str) -> None:
    """Not in the runtime's own poll of it."""
    with open_elf(targets.path("server", profile)) as image:
        functions = read_binary(image, display_path="server").functions
    places = {one.location for one in functions if one.kind is FunctionKind.TASK and one.location is not None}
    assert len(places) >= 2
    for place in places:
        assert str(WORKSPACE / "server") in place.file
        assert "async" in source(place.file)[place.line - 1]


def test_so_is_one_whose_future_is_inlined(targets: Targets) -> None:
    with open_elf(targets.path("trouble_smol", "release-debug")) as image:
        functions = read_binary(image, display_path="x").functions
    (task,) = (one for one in functions if one.kind is FunctionKind.TASK and "faults::session" in one.name)
    assert task.location is not None
    assert source(task.location.file)[task.location.line - 1].startswith("pub async fn session")


@pytest.mark.parametrize("build", ["limited", "lines"])
def test_the_sample_waits_where_its_types_say(build: str, read: Callable[[str], Binary]) -> None:
    known, count = compare(coroutines(read(build)), coroutines(read("release")))
    assert known == count > 5


@pytest.mark.parametrize(
    ("target", "profile"),
    [
        ("server", "dev"),
        ("server", "release-debug"),
        ("deep", "release-debug"),
        ("tokio_multi", "fat-lto"),
        ("tokio_multi", "abort"),
    ],
)
def test_the_code_has_the_states_that_the_types_have(targets: Targets, target: str, profile: str) -> None:
    path = targets.path(target, profile)
    with open_elf(path) as image:
        functions = coroutines(read_binary(image, display_path="program"))
        dispatches = Dispatches(image, CodeScan(image, image).is_resumption)
        for function in functions:
            dispatch = dispatches.of(function.address, function.size)
            assert dispatch is not None, function.name
            assert dispatch.state_offset == function.state_offset
            states = [state for state in sorted(dispatch.targets) if state >= FIRST_SUSPEND]
            assert states == [point.state for point in function.awaits], function.name


@pytest.mark.parametrize("build", ["release-small", "release-static", "release-abort"])
def test_comparisons_and_absolute_tables(build: str, samples: dict[str, Path], read: Callable[[str], Binary]) -> None:
    """Small code compares, static code has tables of addresses."""
    with open_elf(samples[build]) as image:
        dispatches = Dispatches(image, CodeScan(image, image).is_resumption)
        known = 0
        for function in coroutines(read(build)):
            dispatch = dispatches.of(function.address, function.size)
            if dispatch is not None:
                states = {state for state in dispatch.targets if state >= FIRST_SUSPEND}
                assert states <= {point.state for point in function.awaits}, function.name
                known += len(states)
    assert known > 5
