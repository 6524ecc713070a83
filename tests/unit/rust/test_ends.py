"""The functions at which lives end, found in real binaries."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.running import Targets
from tracer.model import Binary, EndKind, EndPoint, FunctionKind
from tracer.rust import read_binary
from tracer.rust.code_functions import FunctionTable
from tracer.rust.demangle import demangle
from tracer.rust.ends import TOKIO_ABORTED, _plain
from tracer.target.elf import open_elf


def read(targets: Targets, target: str, profile: str) -> Binary:
    program = targets.path(target, profile)
    with open_elf(program) as image:
        return read_binary(image, display_path=str(program))


def kinds(binary: Binary) -> Counter[EndKind]:
    return Counter(point.kind for point in binary.ends)


def futures(binary: Binary, point: EndPoint) -> set[str]:
    return {one.name for one in binary.functions if one.address in point.futures}


@pytest.mark.parametrize("profile", ["dev", "release", "release-debug", "v0"])
def test_tokios_ends_are_in_every_build(targets: Targets, profile: str) -> None:
    binary = read(targets, "tokio_current", profile)
    found = kinds(binary)
    assert found[EndKind.COMPLETE] == found[EndKind.CAUGHT] == 1
    assert found[EndKind.SHUTDOWN] >= 2 <= found[EndKind.FREED]
    assert {one.aborted for one in binary.functions if one.kind is FunctionKind.TASK} == {TOKIO_ABORTED}
    tests = {one for point in binary.ends for one in (point.only_if, point.done, point.undone) if one is not None}
    assert {test.offset for test in tests} == {0}


@pytest.mark.parametrize("profile", ["release", "release-debug", "fat-lto"])
def test_catches_of_users_are_told_from_tokios(targets: Targets, profile: str) -> None:
    """Each of the five ways in which that program catches has a place of its own."""
    (point,) = (one for one in read(targets, "catches", profile).ends if one.kind is EndKind.CAUGHT)
    assert len(point.others) >= 5
    (point,) = (one for one in read(targets, "tokio_current", "release").ends if one.kind is EndKind.CAUGHT)
    path = targets.path("tokio_current", "release")
    with open_elf(path) as image:
        functions = FunctionTable(image)
        callers = [functions.at(point.address + distance - 1) for distance in point.others]
        names = {demangle(name) for one in callers if one is not None for name in functions.names(one[0])}
    assert not any(name.startswith(("tokio::runtime::task::raw", "tokio::runtime::task::harness")) for name in names)


@pytest.mark.parametrize("profile", ["dev", "release"])
def test_async_tasks_ends(targets: Targets, profile: str) -> None:
    found = read(targets, "smol_log", profile).ends
    assert {point.kind for point in found} >= {EndKind.CLOSED, EndKind.FREED, EndKind.CAUGHT}
    tests = {one for point in found for one in (point.only_if, point.done, point.undone) if one is not None}
    assert {test.offset for test in tests} == {8}


def test_drop_glue_belongs_to_the_future_that_it_drops(targets: Targets) -> None:
    binary = read(targets, "tokio_multi", "dev")
    drops = [futures(binary, point) for point in binary.ends if point.kind is EndKind.DROPPED]
    names = {name for several in drops for name in several}
    generic = {"tokio_multi::carry<u8, String>", "tokio_multi::carry<String, u64>"}
    assert names >= {"tokio_multi::outer", "tokio_multi::nested", *generic}
    assert all(not several >= generic for several in drops)
    states = {one.address: one.state_offset for one in binary.functions}
    assert all({states[one] for one in point.futures} == {point.state_offset} for point in binary.ends if point.futures)


def test_without_debug_information_only_clear_names_count(targets: Targets) -> None:
    binary = read(targets, "tokio_multi", "release")
    drops = [futures(binary, point) for point in binary.ends if point.kind is EndKind.DROPPED]
    assert {"tokio_multi::boxed"} in drops
    assert not any("carry" in name for several in drops for name in several)


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        ("a::carry<u8,alloc::string::String>::{{closure}}", "a::carry::{{closure}}"),
        ("<a::B<u8> as c::D<e::F>>::g::{{closure}}", "<a::B as c::D>::g::{{closure}}"),
        ("a::f::{closure#0}::<u8>", "a::f::{closure#0}"),
        ("a::Map<fn(u8) -> u8>", "a::Map"),
        ("&mut F", "&mut F"),
    ],
)
def test_generic_arguments_do_not_count(path: str, plain: str) -> None:
    assert _plain(path) == plain
