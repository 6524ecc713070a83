"""From symbols and DWARF paths to the names that users know."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.rust.demangle import demangle
from tracer.rust.naming import (
    bare_name,
    coroutine_name,
    crate_of,
    display_name,
    future_type_of,
    generic_arguments,
    is_closure,
    own_name,
    stream_type_of,
    with_items,
)
from tracer.rust.runtimes import spawned_future, task_name


@pytest.mark.parametrize(
    ("symbol", "readable"),
    [
        ("_ZN1a5outer28_$u7b$$u7b$closure$u7d$$u7d$17h01030389b6b8813bE", "a::outer::{{closure}}"),
        ("_ZN1a5outer28_$u7b$$u7b$closure$u7d$$u7d$17h01030389b6b8813bE.llvm.123", "a::outer::{{closure}}"),
        (
            "_ZN57_$LT$a..Yield$u20$as$u20$core..future..future..Future$GT$4poll17h051261b3b72f81f6E",
            "<a::Yield as core::future::future::Future>::poll",
        ),
        (
            "_RNvXCs6xxl1lAjzDf_1aNtB2_5YieldNtNtNtCsgEmfK2I1SDS_4core6future6future6Future4poll",
            "<a::Yield as core::future::future::Future>::poll",
        ),
        ("_RNCNvCs6xxl1lAjzDf_1a5outer0B3_", "a::outer::{closure#0}"),
        ("_RNgarbage", "_RNgarbage"),
        ("_ZN3", "_ZN3"),
        ("main", "main"),
        ("_ZN3std4main17h0123456789abcdefE", "std::main"),
        (
            "_ZN4core3ptr63drop_in_place$LT$a..Job$LT$fn$LP$$RP$$u20$.$GT$$u20$u64$GT$$GT$17h0123456789abcdefE",
            "core::ptr::drop_in_place<a::Job<fn() -> u64>>",
        ),
        ("_ZN3std4main17h0123456789abcdeE", "_ZN3std4main17h0123456789abcdeE"),
        ("_ZN3stdE", "_ZN3stdE"),
        (f"_ZN1a2000{'b' * 2000}17h0123456789abcdefE", f"a::{'b' * 2000}"),
        ("", ""),
    ],
)
def test_demangle(symbol: str, readable: str) -> None:
    assert demangle(symbol) == readable


def test_names_that_unfold_without_end_stay_as_they_are() -> None:
    """Each tuple holds the one before twice: thirty of them would be ten gigabytes."""
    digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

    def back(target: int) -> str:
        target -= 1
        return "B" + (digits[target // 62] if target >= 62 else "") + digits[target % 62] + "_"

    symbol, previous = "_RINvC1a1bTuuE", 8
    for _ in range(30):
        begin = len(symbol) - 2
        symbol += f"T{back(previous)}{back(previous)}E"
        previous = begin
    assert demangle(symbol + "E") == symbol + "E"
    assert demangle("_RINvC1a1bTuuETB7_B7_EE") == "a::b::<((), ()), (((), ()), ((), ()))>"
    assert demangle("_ZN1aIS_S_E1bE") == "_ZN1aIS_S_E1bE"
    half = demangle("_ZN1a12e$ud800$item17h01030389b6b8813bE")
    assert half.encode("utf-8")  # no character


@given(st.one_of(st.text(), st.text("_RZNCvXs0123456789abE$.u7b", min_size=2).map(lambda text: "_R" + text)))
def test_demangle_never_raises(symbol: str) -> None:
    assert isinstance(demangle(symbol), str)


@pytest.mark.parametrize(
    ("symbol", "path", "name"),
    [
        ("a::f::{{closure}}", "a::f::{async_fn_env#0}", "a::f"),
        ("a::f::{{closure}}", "a::f::{async_fn_env#0}<u64, alloc::string::String>", "a::f<u64, String>"),
        ("a::f::{{closure}}::{{closure}}", "a::f::{async_fn#0}::{async_block_env#2}", "a::f::{async block#2}"),
        ("<a::S as a::T>::m::{{closure}}", "a::{impl#3}::m::{async_fn_env#0}", "<a::S as a::T>::m"),
        ("a::S::m::{{closure}}", "a::{impl#3}::m::{async_fn_env#0}", "a::S::m"),
        ("<a::S>::m::{closure#0}", "a::{impl#3}::m::{async_fn_env#0}", "a::S::m"),
        ("a::f::{{closure}}", None, "a::f"),
        ("a::f::{{closure}}::{{closure}}", None, "a::f::{async block}"),
        ("a::f::{closure#0}", None, "a::f"),
        ("a::f::<u64>::{closure#0}::{closure#1}", None, "a::f<u64>::{async block#1}"),
    ],
)
def test_coroutine_names(symbol: str, path: str | None, name: str) -> None:
    assert coroutine_name(symbol, path) == name


def test_a_block_is_told_by_the_name_that_line_tables_keep() -> None:
    assert coroutine_name("a::main::{{closure}}", None, "{async_block#0}") == "a::main::{async block#0}"


def test_long_names_are_cut_in_the_middle_of_their_generics() -> None:
    path = (
        "a::Select<"
        + ", ".join(["core::pin::Pin<alloc::boxed::Box<dyn core::future::future::Future<T<u8>>>>"] * 5)
        + ">"
    )
    name = display_name(path)
    assert len(name) <= 120
    assert name.startswith("a::Select<Pin<")
    assert name.count("<") == name.count(">")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("poll<a::B<C, D>, fn(x) -> E<F>>", ["a::B<C, D>", "fn(x) -> E<F>"]),
        ("poll", []),
        ("poll<(u8, [u8; 4]), T>", ["(u8, [u8; 4])", "T"]),
        (">", []),
    ],
)
def test_generic_arguments(name: str, arguments: list[str]) -> None:
    assert generic_arguments(name) == arguments


def test_future_types() -> None:
    assert future_type_of("<a::B as core::future::future::Future>::poll") == "a::B"
    assert future_type_of("core::future::future::<impl core::future::future::Future for &mut F>::poll") == "&mut F"
    assert future_type_of("<a::B as a::Stream>::poll") is None
    assert future_type_of("<a::B as core::future::future::Future>::poll_next") is None
    assert stream_type_of("<a::B<T> as futures_core::stream::Stream>::poll_next") == "a::B<T>"
    assert stream_type_of("<a::B as core::future::future::Future>::poll") is None
    assert own_name("a::b::C<d::E, F>") == "C<d::E, F>"
    assert is_closure("a::{{closure}}")
    assert not is_closure("a::{{closure}}::b")
    assert crate_of("<&mut a::B as c::D>::e") == "a"
    assert crate_of("main") is None


@given(st.text("<>(){}[]:,- abF#_0", max_size=60))
def test_names_of_any_shape_do_no_harm(text: str) -> None:
    display_name(text)
    coroutine_name(text, text)
    coroutine_name(text, None)
    generic_arguments(text)
    crate_of(text)


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("core::future::from_generator::GenFuture<a::f::{async_fn_env#0}<u8, b::C>>", "a::f<u8, b::C>"),
        ("GenFuture<a::f::{async_block_env#1}>", "a::f::{async block#1}"),
        (
            "a::Apart<core::future::from_generator::GenFuture<a::f::{async_fn_env#0}<fn() -> u8>>, B<GenFuture<a::g>>>",
            "a::Apart<a::f<fn() -> u8>, B<a::g>>",
        ),
        ("core::future::from_generator::GenFuture<T>", "core::future::from_generator::GenFuture<T>"),
        ("a::GenFuture<a::f>", "a::GenFuture<a::f>"),
        ("GenFuture<a::f", "GenFuture<a::f"),
    ],
)
def test_what_older_compilers_put_around_a_body_is_not_shown(path: str, shown: str) -> None:
    assert display_name(path) == shown


@pytest.mark.parametrize(
    "path",
    [
        "async_executor::{impl#4}::spawn::{async_block_env#0}<u64, a::Apart<GenFuture<a::f::{async_fn_env#0}>>>",
        "GenFuture<async_executor::Executor::spawn_inner::{async_block_env#0}<(), a::Apart<a::f>>>",
        "async_executor::AsyncCallOnDrop<a::Apart<a::f>, async_executor::{impl#5}::spawn_inner::{closure_env#0}>",
    ],
)
def test_what_executors_put_around_a_future_is_not_shown(path: str) -> None:
    assert task_name(spawned_future(path), "async-task") == "task a::Apart<a::f>"


@pytest.mark.parametrize(
    ("name", "bare"),
    [
        ("a::f<b::C<u8>, fn(u8) -> d::E>::{async block#12}", "a::f::{async block}"),
        ("<a::B<c::D<u8>> as e::F<u16>>::g<h::I>::{async block}", "<a::B as e::F>::g::{async block}"),
        ("a::Mutex<T>::lock", "a::Mutex::lock"),
    ],
)
def test_bare_names(name: str, bare: str) -> None:
    assert bare_name(name) == bare


@pytest.mark.parametrize(
    ("path", "symbol", "named"),
    [
        ("fn() -> u64", "app::zip", "app::zip"),
        ('unsafe extern "C" fn(i32)', "app::zip", "app::zip"),
        ("t::Task<fn() -> u64>", "t::Task<app::zip>", "t::Task<app::zip>"),
        (
            "t::Of<t::Task<fn() -> u64>, app::A<u8>>",
            "t::Of<t::Task<app::zip>,app::A>",
            "t::Of<t::Task<app::zip>, app::A<u8>>",
        ),
        ("app::f::{closure_env#1}<app::A>", "app::f<app::A>::{{closure}}", "app::f::{closure_env#1}<app::A>"),
        ("t::Task<fn() -> u64, u8>", "t::Task<app::zip>", "t::Task<fn() -> u64, u8>"),  # another type
    ],
)
def test_signatures_become_the_functions_that_symbols_name(path: str, symbol: str, named: str) -> None:
    assert with_items(path, symbol) == named


def test_of_types_nested_as_no_program_has_them_the_path_stays() -> None:
    path, symbol = ("a::B<" * 1000 + inside + ">" * 1000 for inside in ("fn() -> u64", "a::zip"))
    assert with_items(path, symbol) == path
