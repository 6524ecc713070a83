"""Where coroutines wait and for what: as pyelftools reads the same DWARF, and as the source text has it."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from elftools.dwarf.compileunit import CompileUnit
from elftools.dwarf.die import DIE
from elftools.elf.elffile import ELFFile

from tests.building import WORKSPACE
from tests.cells import OLD
from tests.e2e.trace import plain
from tests.running import Targets
from tests.sources import is_made_by, source, statement
from tracer.model import Binary, FunctionKind, PollFunction
from tracer.rust import read_binary
from tracer.rust.implementations import Implementations
from tracer.rust.naming import display_name, split_path
from tracer.target.elf import open_elf

Await = tuple[int, str, int, str]
"""State, file, line, path of the awaitee's type as DWARF nests it."""


def coroutines(path: Path) -> list[PollFunction]:
    with open_elf(path) as image:
        binary = read_binary(image, display_path=str(path))
    return [function for function in binary.functions if function.kind is FunctionKind.COROUTINE]


# ---------------------------------------------------------------- pyelftools


def layouts(path: Path) -> dict[int, list[Await]]:
    """Address → the suspend states of the coroutine that runs there, by a walk over all but the standard library."""
    found = {}
    with path.open("rb") as file:
        for unit in ELFFile(file).get_dwarf_info().iter_CUs():
            if "/library/" in text(unit.get_top_DIE()) or text(unit.get_top_DIE()).startswith("library/"):
                continue
            for die in unit.iter_DIEs():
                if die.tag != "DW_TAG_subprogram" or "DW_AT_low_pc" not in die.attributes:
                    continue
                coroutine = _coroutine_of(die)
                if coroutine is not None:
                    low = die.attributes["DW_AT_low_pc"]
                    is_plain = low.form == "DW_FORM_addr"
                    address = low.value if is_plain else unit.dwarfinfo.get_addr(unit, low.raw_value)
                    found[int(address)] = _suspensions(coroutine)
    return found


def _coroutine_of(die: DIE) -> DIE | None:
    """X of the first parameter, Pin<&mut X>, of a function `{async_…}`; up to rustc 1.66 of Pin<&mut GenFuture<X>>."""
    origin = _completed(die)
    is_body = re.match(r"\{async_(fn|block|closure)", text(origin)) is not None
    if not is_body and not text(origin).startswith("poll<"):
        return None
    for entry in (die, origin):
        for child in entry.iter_children():
            if child.tag == "DW_TAG_formal_parameter":
                pin = _completed(child).get_DIE_from_attribute("DW_AT_type")
                if not text(pin).startswith("Pin<&mut "):
                    return None
                pointer = next(one for one in pin.iter_children() if one.tag == "DW_TAG_member")
                future = pointer.get_DIE_from_attribute("DW_AT_type").get_DIE_from_attribute("DW_AT_type")
                if text(future).startswith("GenFuture<"):
                    inside = next(one for one in future.iter_children() if one.tag == "DW_TAG_member")
                    return inside.get_DIE_from_attribute("DW_AT_type")
                return future if is_body else None
    return None


def _completed(die: DIE) -> DIE:
    for key in ("DW_AT_abstract_origin", "DW_AT_specification"):
        if key in die.attributes:
            return _completed(die.get_DIE_from_attribute(key))
    return die


def _suspensions(coroutine: DIE) -> list[Await]:
    part = next(one for one in coroutine.iter_children() if one.tag == "DW_TAG_variant_part")
    found = []
    for variant in part.iter_children():
        if variant.tag == "DW_TAG_variant" and variant.attributes["DW_AT_discr_value"].value >= 3:
            member = next(variant.iter_children())
            suspended = member.get_DIE_from_attribute("DW_AT_type")
            awaitee = next(one for one in suspended.iter_children() if text(one) == "__awaitee")
            place = (declared_in(member), member.attributes["DW_AT_decl_line"].value)
            state = variant.attributes["DW_AT_discr_value"].value
            found.append((state, *place, path_of(awaitee.get_DIE_from_attribute("DW_AT_type"))))
    return sorted(found)


def path_of(type_: DIE) -> str:
    names = [text(type_)]
    parent = type_.get_parent()
    while parent is not None and parent.tag == "DW_TAG_namespace":
        names.insert(0, text(parent))
        parent = parent.get_parent()
    return "::".join(names)


def text(die: DIE) -> str:
    return str(die.attributes["DW_AT_name"].value.decode()) if "DW_AT_name" in die.attributes else ""


def declared_in(member: DIE) -> str:
    assert isinstance(member.cu, CompileUnit)
    program = member.dwarfinfo.line_program_for_CU(member.cu)
    assert program is not None
    entry = program.header.file_entry[member.attributes["DW_AT_decl_file"].value - (program.header.version < 5)]
    return str(entry.name.decode())


@pytest.mark.parametrize(
    ("target", "profile"),
    [
        ("server", "dev"),
        ("server", "release-debug"),
        ("tokio_multi", "dwarf5"),
        ("smol_log", "old-dev"),
        ("tokio_multi", "old-release-debug"),
    ],
)
def test_pyelftools_reads_the_same(targets: Targets, target: str, profile: str) -> None:
    """Every coroutine, every state: file, line and type."""
    path = targets.path(target, profile)
    truth = layouts(path)
    mine = coroutines(path)
    assert {function.address for function in mine} <= truth.keys()
    known = 0
    for function in mine:
        expected = truth[function.address]
        assert [point.state for point in function.awaits] == [state for state, *_ in expected]
        for point, (_, file, line, awaitee) in zip(function.awaits, expected, strict=True):
            place = point.location or point.macro
            assert place is not None
            assert (Path(place.file).name, place.line) == (Path(file).name, line)
            # Up to rustc 1.66 the path of the awaitee can be in another unit than the await.
            bare = display_name(split_path(awaitee)[-1]) if profile.startswith("old-") else None
            known += agree(point.awaitee, awaitee) or point.awaitee == bare
    assert known == sum(len(function.awaits) for function in mine) > 3


def agree(mine: str | None, path: str) -> bool:
    """Whether a display name is that of the type with this path, whatever stands for its `{impl#3}`."""
    if mine is None:
        return False
    path = re.sub(r"^core::future::from_generator::GenFuture<(.*)>$", r"\1", path)
    if path.startswith("core::pin::Pin<alloc::boxed::Box<(dyn "):
        return mine.startswith("dyn Future<") and mine in display_name(path)
    if "{impl#" not in path:
        return mine == display_name(path)
    return plain(mine).rpartition("::")[2] == plain(path).rpartition("::")[2]


# ---------------------------------------------------------------- the source text


@pytest.mark.parametrize(
    ("target", "profile"),
    [
        *product(["server", "tokio_multi", "tokio_current", "smol_log", "async_std_log"], ["dev", "release-debug"]),
        *product(OLD, ["old-dev", "old-release-debug"]),
    ],
)
def test_the_source_awaits_there(targets: Targets, target: str, profile: str) -> None:
    """Each line told has the await, or begins the statement that has it, and names what is awaited."""
    checked = 0
    for function in coroutines(targets.path(target, profile)):
        if function.location is None or WORKSPACE / target not in Path(function.location.file).resolve().parents:
            continue
        assert function.awaits or "async {}" in source(function.location.file)[function.location.line - 1]
        for point in function.awaits:
            if point.location is None:
                assert point.macro is not None
                continue
            words = statement(point.location.file, point.location.line)
            assert ".await" in words, (function.name, point)
            assert point.location.line >= function.location.line
            assert is_made_by(point.awaitee, words), (function.name, point, words)
            checked += 1
    assert checked >= 2


def test_an_await_inside_a_macro_is_not_sold_as_the_users_line(targets: Targets) -> None:
    (stopped,) = [one for one in coroutines(targets.path("server", "dev")) if one.name == "server::stopped"]
    (point,) = stopped.awaits
    assert point.location is None
    assert point.macro is not None
    assert point.macro.file.endswith("tokio-1.54.1/src/macros/select.rs") or "/macros/select.rs" in point.macro.file
    assert stopped.location is not None
    assert "async fn stopped" in source(stopped.location.file)[stopped.location.line - 1]


@pytest.mark.parametrize("build", ["bare", "bare-v0"])
def test_without_lines_awaits_are_numbers(build: str, read: Callable[[str], Binary]) -> None:
    points = [point for function in read(build).functions for point in function.awaits]
    assert points
    assert not any(point.location or point.macro for point in points)


@pytest.mark.parametrize("build", ["debug", "release", "release-lto", "debug-v5", "release-v5"])
def test_the_sample_waits_where_it_says(build: str, read: Callable[[str], Binary]) -> None:
    by_name = {function.name: function for function in read(build).functions}
    awaits = by_name["sample::wide"].awaits
    assert [point.awaitee and point.awaitee.partition("<")[0].rpartition("::")[2] for point in awaits] == ["Logged"] * 2
    assert [point.state for point in awaits] == [3, 4]
    (call,) = by_name["sample::Service::call"].awaits
    assert call.location is not None
    assert call.awaitee is not None
    assert "sample::leaf" in call.awaitee


def test_what_an_impl_stands_for() -> None:
    known = Implementations()
    known.learn("a::m::{impl#10}::lock::{async_fn_env#0}<u8>", "a::m::Mutex<T>::lock::{{closure}}")
    known.learn("a::{impl#1}::call::{async_block_env#0}", "<a::A as a::Svc>::call::{{closure}}")
    known.learn("b::{impl#0}::f::{async_fn_env#0}", "<b::Mutex<u64>>::f::{closure#0}")
    known.learn("b::{impl#1}::f::{async_fn_env#0}", "<b::Mutex<u64> as b::Svc<u8>>::f::{closure#0}")
    assert (
        known.resolved("X<a::m::{impl#10}::get, a::{impl#1}::call>") == "X<a::m::Mutex<T>::get, <a::A as a::Svc>::call>"
    )
    assert known.resolved("b::{impl#0}::g") == "b::Mutex::g"
    assert known.resolved("b::{impl#1}::g") == "<b::Mutex as b::Svc>::g"
    boxed = "core::pin::Pin<alloc::boxed::Box<dyn Future<Output=<M as a::Message>::Reply>>>"
    known.learn("b::{impl#3}::f::{async_block_env#0}<M>", f"<{boxed} as b::Respond<M>>::f::{{{{closure}}}}")
    assert known.resolved("b::{impl#3}::f") == "<core::pin::Pin as b::Respond>::f"
    known.learn("b::{impl#2}::f::{async_fn_env#0}<u8>", "<b::Ticker>::f::<u8>::{closure#0}")
    assert known.resolved("b::{impl#2}::f") == "b::Ticker::f"
    assert known.unknown("a::{impl#2}::f")
    assert known.resolved("a::{impl#2}::f") == "a::{impl#2}::f"
