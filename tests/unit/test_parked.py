"""The notation in which the parked targets say their stacks."""

from __future__ import annotations

import pytest

from tests.parked import Expected, expected_stacks, parse, seen_stack, short_name

MARKS = {"1": "a/src/b.rs:10", "2": "a/src/b.rs:20"}


def frame(future: str, *children: object, location: str | None = None, **others: object) -> dict[str, object]:
    return {"future": future, "location": location, "macro": None, "enabled": True, "children": children, **others}


def test_one_future_below_the_other() -> None:
    assert parse("a@1 > b > c@?", MARKS) == Expected(
        "a", "a/src/b.rs:10", (Expected("b", None, (Expected("c", None, ()),)),)
    )
    assert parse("a@!", MARKS) == Expected("a", "macro", ())


def test_branches_have_branches() -> None:
    found = parse("a > {b > {c | d} | e{block}@2 > f | g?}", MARKS)
    first, second, third = found.below
    assert [one.name for one in first.below] == ["c", "d"]
    assert (second.name, second.place, second.below[0].name) == ("e{block}", "a/src/b.rs:20", "f")
    assert (third.name, third.is_sure) == ("g", False)


def test_an_end_that_differs() -> None:
    assert parse("a@1 > ?", MARKS).is_end
    assert not parse("a@1 > b", MARKS).is_end


def test_the_order_of_branches_does_not_matter_and_all_else_does() -> None:
    def key(text: str) -> str:
        return parse(text, MARKS).key()

    assert key("a > {b > c | d}") == key("a > {d | b > c}")
    different = ["a > {b > c | d}", "a > {b | d}", "a > {b > c | d?}", "a > {b > c | d@1}", "a > {b | d > c}", "a > d"]
    assert len({key(text) for text in different}) == len(different)


@pytest.mark.parametrize(
    "text", ["a@3", "a >", "a > ", "a > {b", "a > {b} c", "a > {b | }", "a b", "", "{a | b}", "a > > b"]
)
def test_what_is_no_stack_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse(text, MARKS)


def test_names() -> None:
    assert short_name("a::b::f") == "f"
    assert short_name("a::b::f::{async block#0}") == "f{block}"
    assert short_name("a::R<u64>::f::{async block#1}<x::Y>") == "f{block}"
    assert short_name("f::{async closure#0}") == "f{closure}"
    assert short_name("x::Map<F<u8>, fn(u64) -> a::g::{async block#0}>") == "Map"


def test_what_is_seen_in_the_words_of_what_is_expected() -> None:
    expected = parse("a@1 > {b | c > ?}", MARKS)
    seen = frame("x::a", frame("y::c", frame("y::d")), frame("y::b", location="y.rs:3"), location="work/a/src/b.rs:10")
    assert seen_stack(seen, expected).key() == expected.key()
    unsure = frame("x::a", frame("y::c"), frame("y::b", enabled=None), location="work/a/src/b.rs:10")
    assert seen_stack(unsure, expected).key() == parse("a@1 > {b? | c > ?}", MARKS).key()
    other = frame("x::a", frame("y::b"), location="work/a/src/b.rs:11")
    assert seen_stack(other, expected).key() != expected.key()


@pytest.mark.parametrize(("target", "least"), [("parked_tokio", 180), ("parked_smol", 145), ("parked_async_std", 140)])
def test_the_targets_say_many(target: str, least: int) -> None:
    assert len(expected_stacks("parked", target)) >= least
