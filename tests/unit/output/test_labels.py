"""Names as a timeline shows them."""

from __future__ import annotations

import pytest

from tracer.model import (
    FunctionKind,
    Group,
    PlanChange,
    PollFlag,
    PollFunction,
    Source,
    SourceLocation,
    WaitFlag,
    is_foreign,
    is_library,
)
from tracer.output.labels import (
    duration_words,
    place_words,
    poll_notes,
    probed_words,
    short_awaitee,
    short_name,
    short_name_of,
    state_words,
    wait_name,
    wait_notes,
    without_kind,
)


@pytest.mark.parametrize(
    ("kind", "name", "short"),
    [
        (FunctionKind.COROUTINE, "my_test", "my_test"),
        (FunctionKind.COROUTINE, "a::b::c::handle", "c::handle"),
        (FunctionKind.COROUTINE, "tokio::sync::mutex::Mutex<T>::lock<u64>", "Mutex::lock"),
        (FunctionKind.COROUTINE, "tk::cycle::{async block#5}", "tk::cycle {block 5}"),
        (FunctionKind.COROUTINE, "<tk::A as tk::Svc>::call::{async block#0}", "A::call {block 0}"),
        (FunctionKind.COROUTINE, "<tk::A<dyn Fn() -> u8> as tk::Svc>::call", "A::call"),
        (
            FunctionKind.COROUTINE,
            "<F as H<M>>::call::{async block#0}<fn(a::B) -> s::slow<u8>, s::slow>",
            "F::call<slow> {block 0}",
        ),
        (
            FunctionKind.COROUTINE,
            "<T as h::Handler<M>>::call::{async block#0}<h::Own<u8>, u8>",
            "T::call<Own> {block 0}",
        ),
        (FunctionKind.COROUTINE, "tokio::sync::mutex::Mutex<T>::lock::{async block#0}<()>", "Mutex::lock {block 0}"),
        (FunctionKind.COROUTINE, "<F as h::Handler<M>>::call", "F::call"),
        (FunctionKind.TASK, "task tk::server::{async block#0}", "task tk::server {block 0}"),
        (FunctionKind.TASK, "raw::poll", "raw::poll"),
        (FunctionKind.FUTURE, "tokio::time::sleep::Sleep", "Sleep"),
        (FunctionKind.FUTURE, "&mut tokio::sync::oneshot::Receiver<()>", "&mut Receiver<()>"),
        (FunctionKind.FUTURE, "f::join::Join<tk::deep<X>, tk::g::{async block#1}>", "Join<deep, g {block 1}>"),
        (FunctionKind.FUTURE, "Pin<Box<tk::fibr>>", "Pin<Box<fibr>>"),
        (
            FunctionKind.TASK,
            "task (dyn core::future::future::Future<Output=()> + core::marker::Send)",
            "task dyn Future",
        ),
        (
            FunctionKind.FUTURE,
            "a::Map<(dyn b::Service<c::Request> + Send), fn() -> dyn d::T>",
            "Map<dyn Service, fn() -> dyn T>",
        ),
        (FunctionKind.FUTURE, "", ""),
        (FunctionKind.FUTURE, "odd<>>name<", "odd"),
        (FunctionKind.COROUTINE, "bad\x1b[31mred", "bad\\x1b[31mred"),
    ],
)
def test_short_names(kind: FunctionKind, name: str, short: str) -> None:
    assert short_name(PollFunction(1, 1, 1, name, kind, Source.SYMBOLS, ())) == short


def test_names_of_any_length_and_depth() -> None:
    """As captures of somebody else's may have them."""
    several = short_name(PollFunction(1, 1, 1, f"A<{'dyn a::T,' * 3000}>", FunctionKind.FUTURE, Source.SYMBOLS, ()))
    assert several.count("dyn T") == 3000
    nested = "<F as X>::{a}<" * 50 + "T" + ">" * 50
    assert short_name_of(nested, FunctionKind.COROUTINE) == "F<F>"
    references = "&" * 5000
    assert short_name_of(references + "a::X", FunctionKind.FUTURE) == references + "X"
    assert short_awaitee(references + "a::X") == references + "X"
    parts = "closure in " * 5000
    assert short_awaitee(f"{parts}a::x") == f"{parts}a::x"
    for nested in ("<" * 3000, "<&" * 3000 + "X", "A<" * 3000 + "T" + ">" * 3000, "<F as X>::{a}<" * 1500):
        assert {short_name_of(nested, kind) for kind in FunctionKind} == {short_awaitee(nested)} == {nested}


@pytest.mark.parametrize(
    ("awaitee", "short"),
    [
        ("tokio::sync::mutex::Mutex<T>::lock<std::collections::hash::map::HashMap<String, u8>>", "Mutex::lock"),
        ("tokio::net::tcp::listener::{impl#0}::accept", "listener::accept"),
        ("tk::cycle::{async block#5}", "tk::cycle {block 5}"),
        ("<tk::A as tk::Svc>::call::{async block#0}", "A::call {block 0}"),
        ("async fn in <tk::A as tk::Svc>::call", "async fn in A::call"),
        ("closure in tk::serve", "closure in tk::serve"),
        ("leaf", "leaf"),
        ("tokio::time::sleep::Sleep", "Sleep"),
        ("tokio::io::util::read_line::ReadLine<a::b::BufReader<c::TcpStream>>", "ReadLine<BufReader<TcpStream>>"),
        ("core::future::poll_fn::PollFn<server::stopped::{closure#0}>", "PollFn<server::stopped {closure 0}>"),
        ("dyn Future<Output=u64>", "dyn Future"),
        ("Pin<Box<dyn core::future::future::Future+Output = ()+core::marker::Send>>", "Pin<Box<dyn Future>>"),
        ("Pin<Box<(dyn core::future::future::Future<Output=(u8, u8)> + core::marker::Send)>>", "Pin<Box<dyn Future>>"),
        ("Pin<Box<tk::fibr>>", "Pin<Box<fibr>>"),
        ("&mut tokio::sync::oneshot::Receiver<()>", "&mut Receiver<()>"),
        ("bad\x1b[31mred", "bad\\x1b[31mred"),
    ],
)
def test_short_awaitees(awaitee: str, short: str) -> None:
    assert short_awaitee(awaitee) == short


@pytest.mark.parametrize(
    ("ns", "words"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1000, "1.00 µs"),
        (12_345, "12.3 µs"),
        (999_600, "1.00 ms"),
        (1.5e9, "1.50 s"),
        (3.6e12, "3,600 s"),
    ],
)
def test_durations(ns: float, words: str) -> None:
    assert duration_words(ns) == words


def test_places() -> None:
    registry = "/srv/build/.cargo/registry/src/index-1949cf8c6b5b557f/tokio-1.54.1/src/time/sleep.rs"
    assert place_words(SourceLocation(registry, 456)) == "tokio-1.54.1/src/time/sleep.rs:456"
    library = "/rustc/0123456789abcdef0123456789abcdef01234567/library/core/src/future/poll_fn.rs"
    assert place_words(SourceLocation(library, 9)) == "core/src/future/poll_fn.rs:9"
    debians = "/usr/src/rustc-1.85.1/library/core/src/option.rs"
    assert place_words(SourceLocation(debians, 9)) == "core/src/option.rs:9"
    assert all(is_library(path) and is_foreign(path) for path in (library, debians))
    assert not any(map(is_library, ("src/rustc-driver/library/main.rs", registry)))
    assert place_words(SourceLocation("src/main.rs", 7)) == "src/main.rs:7"
    assert place_words(None) == ""


def test_own_folders() -> None:
    folder = "/srv/.cargo/registry/src/x/server-1.0.0"
    assert is_foreign(f"{folder}/src/main.rs")
    assert not is_foreign(f"{folder}/src/main.rs", [folder])
    other = "/srv/.cargo/registry/src/x/tokio-1.54.1/src/lib.rs"
    others = (other, f"{folder}/vendor/tokio/src/lib.rs", f"{folder}-pre/src/lib.rs")
    assert all(is_foreign(path, [folder]) for path in others)


def test_states_and_groups() -> None:
    assert [state_words(s) for s in (None, 0, 1, 2, 3, 7)] == [
        "unknown", "not yet polled", "returned", "panicked", "await #1", "await #5",
    ]  # fmt: skip
    assert [wait_name(s) for s in (None, 0, 3)] == ["waiting", "waiting", "waiting at await #1"]
    whole, polls = frozenset(Group), frozenset({Group.TASKS, Group.FUTURES})
    groups = [whole, polls, frozenset({Group.TASKS}), frozenset[Group]()]
    without = ["all", "all but scheduling and wakes", "tasks only", "paused"]
    changes = [PlanChange(0, active, "") for active in groups]
    assert [probed_words(one, whole) for one in changes] == without
    assert probed_words(PlanChange(0, whole - {Group.WAKES}, ""), whole) == "all but wakes"
    assert [probed_words(one, polls) for one in changes] == ["all", "all", "tasks only", "paused"]
    less = [
        PlanChange(0, whole, "", frozenset({1}), frozenset({2, 3})),
        PlanChange(0, whole, "", frozenset(), frozenset({2})),
    ]
    assert [probed_words(one, whole) for one in less] == [
        "all but 1 function, entries only of 2 functions", "all, entries only of 1 function",
    ]  # fmt: skip


def test_what_is_cut_off_is_not_said_to_last_as_long_as_the_trace() -> None:
    """Its probes can be taken away, and events be lost, at any time.  SQL knows such polls by the first words."""
    polls, waits = poll_notes(int(PollFlag.END_UNKNOWN)), wait_notes(int(WaitFlag.END_UNKNOWN))
    assert polls == "end not seen: drawn as long as it certainly went on"
    assert waits == "no poll followed: drawn as long as its polls were recorded"
    assert poll_notes(int(PollFlag.START_UNKNOWN)) == "was under way when its polls began to be recorded"


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("task app::serve", "app::serve"),
        ("blocking job app::zip", "app::zip"),
        ("blocking job #2", "blocking job #2"),
        ("tokio task #1", "tokio task #1"),
    ],
)
def test_a_name_that_is_but_a_number_keeps_its_kind(name: str, short: str) -> None:
    assert without_kind(name) == short
