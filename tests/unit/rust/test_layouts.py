"""Layouts of coroutines, compared with what pyelftools reads in the same debug information, entry by entry."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from elftools.dwarf.die import DIE
from elftools.elf.elffile import ELFFile

from tests.e2e.trace import plain
from tests.running import Targets
from tests.unit.rust.test_awaits import agree, declared_in, path_of, text
from tracer.model import FIRST_SUSPEND, Binary, Layout, LayoutKind
from tracer.rust import read_binary
from tracer.rust.future_names import future_paths, stream_paths
from tracer.rust.naming import display_name
from tracer.target.elf import open_elf

State = tuple[int, str, int, int]
"""Value, file, line, offset of the awaitee."""

Shape = tuple[int, int, tuple[State, ...]]
"""Size, offset of the state byte, suspend states."""


def shapes(path: Path) -> dict[Shape, set[tuple[str, tuple[tuple[str, int], ...]]]]:
    """(path, (path, size) of each awaitee) of all coroutines of one shape; of all but the standard library."""
    found = defaultdict(set)
    with path.open("rb") as file:
        for unit in ELFFile(file).get_dwarf_info().iter_CUs():
            if "library/" in text(unit.get_top_DIE()).removeprefix("/"):
                continue
            for die in unit.iter_DIEs():
                if die.tag != "DW_TAG_structure_type" or not die.has_children or not text(die).startswith("{async_"):
                    continue
                states, awaitees, offset = [], [], None
                for value, member, awaitee in suspensions(die):
                    type_ = awaitee.get_DIE_from_attribute("DW_AT_type")
                    at = number(member, "DW_AT_data_member_location")
                    at += number(awaitee, "DW_AT_data_member_location")
                    states.append((value, Path(declared_in(member)).name, number(member, "DW_AT_decl_line"), at))
                    awaitees.append(
                        (path_of(type_), 8 if type_.tag == "DW_TAG_pointer_type" else number(type_, "DW_AT_byte_size"))
                    )
                offset = state_offset(die)
                shape = (number(die, "DW_AT_byte_size"), offset, tuple(states))
                found[shape].add((path_of(die), tuple(awaitees)))
    return found


def variant_part(die: DIE) -> DIE:
    (part,) = [one for one in die.iter_children() if one.tag == "DW_TAG_variant_part"]
    return part


def state_offset(die: DIE) -> int:
    discriminant = variant_part(die).get_DIE_from_attribute("DW_AT_discr")
    assert text(discriminant) == "__state"
    return number(discriminant, "DW_AT_data_member_location")


def suspensions(die: DIE) -> Iterator[tuple[int, DIE, DIE]]:
    """(state, its member, the `__awaitee` in that), by state."""
    variants = [one for one in variant_part(die).iter_children() if one.tag == "DW_TAG_variant"]
    for variant in sorted(variants, key=lambda one: number(one, "DW_AT_discr_value")):
        if number(variant, "DW_AT_discr_value") >= FIRST_SUSPEND:
            member = next(variant.iter_children())
            fields = member.get_DIE_from_attribute("DW_AT_type").iter_children()
            yield (
                number(variant, "DW_AT_discr_value"),
                member,
                next(one for one in fields if text(one) == "__awaitee"),
            )


def number(die: DIE, attribute: str) -> int:
    return int(die.attributes[attribute].value)


def shape_of(layout: Layout) -> Shape:
    assert layout.discriminant_offset is not None
    states = []
    for point in layout.awaits:
        place = point.location or point.macro
        assert place is not None
        (edge,) = [edge for edge in layout.edges if edge.value == point.state]
        states.append((point.state, Path(place.file).name, place.line, edge.offset))
    return layout.size, layout.discriminant_offset, tuple(states)


@pytest.mark.parametrize(
    ("target", "profile", "least"),
    [
        ("server", "release-debug", 25),
        ("server", "dev", 25),
        ("tokio_multi", "dwarf5", 10),
        ("smol_log", "v0", 5),
    ],
)
def test_pyelftools_reads_the_same_layouts(targets: Targets, target: str, profile: str, least: int) -> None:
    """Every coroutine, also those that exist only inlined: size, state, each await's line, awaitee and its place."""
    path = targets.path(target, profile)
    truth = shapes(path)
    with open_elf(path) as image:
        layouts = read_binary(image, display_path=str(path)).layouts
    coroutines = [layout for layout in layouts if layout.kind is LayoutKind.COROUTINE]
    assert len(coroutines) >= least
    for layout in coroutines:
        assert layout.discriminant_size == 1
        candidates = truth[shape_of(layout)]
        assert any(is_same(layout, layouts, *candidate) for candidate in candidates), (layout, candidates)


def is_same(layout: Layout, layouts: tuple[Layout, ...], path: str, awaitees: tuple[tuple[str, int], ...]) -> bool:
    if not is_named(layout.name, path):
        return False
    for point, (awaited, size) in zip(layout.awaits, awaitees, strict=True):
        (edge,) = [edge for edge in layout.edges if edge.value == point.state]
        assert edge.child is not None
        child = layouts[edge.child]
        if not is_named(point.awaitee or child.name, awaited):
            return False
        if not edge.is_pointer and (child.size != size or not is_named(child.name, awaited)):
            return False
    return True


def is_named(mine: str, path: str) -> bool:
    """Whether a display name is that of the type; one that nobody points to is known by its own name only."""
    if mine.startswith("{async"):
        return "::{async_" in path
    own = plain(mine).rpartition("::")[2]
    return agree(mine, path) or own == plain(display_name(path)).rpartition("::")[2]


def test_the_layouts_of_a_chain(targets: Targets) -> None:
    """From a task's outermost future down to what it waits for, through functions that exist only inlined."""
    with open_elf(targets.path("server", "release-debug")) as image:
        binary = read_binary(image, display_path="server")
    (function,) = [one for one in binary.functions if one.name == "server::serve_connection"]
    assert function.layout is not None
    names, index = [], function.layout
    for state in (4, 4, 3, 3, 3, 4):
        names.append(plain(binary.layouts[index].name))
        (edge,) = [edge for edge in binary.layouts[index].edges if edge.value == state]
        assert edge.child is not None
        index = edge.child
    names.append(binary.layouts[index].name)
    assert names == [
        "server::serve_connection",
        "server::answer",
        "server::store",
        "tokio::sync::mutex::Mutex::lock",
        "tokio::sync::mutex::Mutex::lock",  # the block in it
        "tokio::sync::mutex::Mutex::acquire",
        "tokio::sync::batch_semaphore::Acquire",
    ]
    assert not binary.layouts[index].edges


def test_both_branches_of_a_select(targets: Targets) -> None:
    with open_elf(targets.path("server", "release-debug")) as image:
        layouts = read_binary(image, display_path="server").layouts
    (stopped,) = [one for one in layouts if one.name == "server::stopped"]
    (poll_fn,) = [layouts[edge.child] for edge in stopped.edges if edge.child is not None]
    (pointer,) = poll_fn.edges
    assert pointer.is_pointer
    assert pointer.child is not None
    branches = layouts[pointer.child]
    assert branches.kind is LayoutKind.GLUE
    names = [layouts[one.child].name for one in branches.edges if one.child is not None]
    assert names == ["tokio::signal::unix::Signal::recv"] * 2
    assert len({one.offset for one in branches.edges}) == 2


@pytest.mark.parametrize("build", ["limited", "lines", "bare", "bare-v0"])
def test_without_types_there_are_no_layouts(build: str, read: Callable[[str], Binary]) -> None:
    binary = read(build)
    assert not binary.layouts
    assert all(function.layout is None for function in binary.functions)


def test_future_paths() -> None:
    paths = (
        "_$LT$tokio..time..sleep..Sleep$u20$as$u20$core..future..future..Future$GT$",
        "_$LT$$RF$mut$u20$F$u20$as$u20$core..future..future..Future$GT$",
        "_$LT$a..Body$LT$T$GT$$u20$as$u20$b..Stream$GT$",
    )
    symbols = [f"_ZN{len(path)}{path}4poll17h0123456789abcdefE" for path in paths]
    symbols += ["_RNvXs_NtC1a1bNtB4_5TimerNtNtNtCs1_4core6future6future6Future4poll", "_ZN4poll17h0123456789abcdefE"]
    strings = "\0".join(["", *symbols, ""]).encode()
    assert future_paths(strings) == {"tokio::time::sleep::Sleep", "a::b::Timer"}


def test_stream_paths() -> None:
    path = "_$LT$a..Map$LT$T$GT$$u20$as$u20$futures_core..stream..Stream$GT$"
    symbols = [f"_ZN{len(path)}{path}9poll_next17h0123456789abcdefE", "_ZN9poll_next17h0123456789abcdefE"]
    symbols += ["_RNvXs_NtC1a1bNtB4_4OnceNtNtCs1_12futures_core6stream6Stream9poll_next"]
    assert stream_paths("\0".join(["", *symbols, ""]).encode()) == {"a::Map", "a::b::Once"}


@pytest.fixture(scope="module")
def own_states(tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, ...]:
    source, program = Path(__file__).parent / "own_states.rs", tmp_path_factory.mktemp("own") / "program"
    subprocess.run(["rustc", "--edition", "2021", "-g", str(source), "-o", str(program)], check=True, timeout=120)
    with open_elf(program) as image:
        return read_binary(image, display_path="program").layouts


def polled(layouts: tuple[Layout, ...], name: str) -> list[tuple[str, ...]]:
    """What the futures of this name poll, the glue between left out; of each of them."""
    return sorted(
        tuple(sorted(below(layouts, layout)))
        for layout in layouts
        if layout.name.partition("<")[0] == f"own_states::{name}"
    )


def below(layouts: tuple[Layout, ...], layout: Layout) -> Iterator[str]:
    for child in (layouts[edge.child] for edge in layout.edges if edge.child is not None):
        yield from below(layouts, child) if child.kind is LayoutKind.GLUE else [child.name]


def test_what_a_future_polls_may_be_in_an_enum_of_its_own(own_states: tuple[Layout, ...]) -> None:
    assert polled(own_states, "Once") == [("core::future::ready::Ready<u64>",), ("dyn Future<Output=u64>",)]


def test_an_option_of_something_else_does_not_hide_it(own_states: tuple[Layout, ...]) -> None:
    assert polled(own_states, "Route") == [("own_states::Once<own_states::Boxes>",)]


def test_a_future_beside_it_does_not_hide_it(own_states: tuple[Layout, ...]) -> None:
    assert polled(own_states, "Request") == [("core::future::ready::Ready<u64>", "dyn Future<Output=u64>")]


def test_what_a_future_is_generic_over_comes_before_a_future_beside_it(own_states: tuple[Layout, ...]) -> None:
    (limited,) = (layout for layout in own_states if layout.name.startswith("own_states::Limited<"))
    assert list(below(own_states, limited)) == ["dyn Future<Output=u64>", "core::future::ready::Ready<u64>"]


def test_a_vec_of_pairs_behind_a_reference_is_a_container(own_states: tuple[Layout, ...]) -> None:
    (next_of,) = (layout for layout in own_states if layout.name.startswith("own_states::NextOf<"))
    (container,) = next_of.containers
    assert own_states[container.child].name == "dyn Future<Output=u64>"
    assert (container.stride, container.item, container.is_certain) == (24, 8, False)


def test_an_enum_without_a_future_leads_nowhere(own_states: tuple[Layout, ...]) -> None:
    assert polled(own_states, "Leaf") == [()]
