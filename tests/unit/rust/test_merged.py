"""Poll functions of which the compiler made one: named after one, and said to be others', too."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tracer.model import FunctionKind, PollFunction, Source
from tracer.output.labels import short_name
from tracer.rust import read_binary
from tracer.rust.candidates import Candidate
from tracer.rust.merged import naming_others
from tracer.target.elf import open_elf

SOURCE = Path(__file__).with_name("merged.rs")


def functions_of(program: Path, *options: str) -> tuple[PollFunction, ...]:
    command = ["rustc", "--edition", "2024", "-Ccodegen-units=4", *options, str(SOURCE), "-o", str(program)]
    subprocess.run(command, check=True, timeout=120)
    with open_elf(program) as image:
        return read_binary(image, display_path="program").functions


def shown(kind: FunctionKind, name: str, *symbols: str) -> tuple[str, str]:
    """(name, short name) of a function with these symbols."""
    one = PollFunction(0x1000, 0x1000, 9, name, kind, Source.DWARF, ())
    candidate = Candidate(0x1000, 0x1000, 9, tuple(sorted({*symbols})), frozenset(), symbols)
    (named,) = naming_others([one], {0x1000: candidate})
    return named.name, short_name(named)


@pytest.mark.parametrize("debug", [0, 2])
def test_the_name_tells_both(tmp_path: Path, debug: int) -> None:
    functions = functions_of(tmp_path / "program", "-Copt-level=3", f"-Cdebuginfo={debug}")
    both = [one for one in functions if " or " in one.name]
    assert [one.name for one in both] in (
        ["merged::written::First or merged::written::Second"],
        ["merged::written::Second or merged::written::First"],
    )  # whose name is the first is the compiler's choice
    assert short_name(both[0]) in ("First or Second", "Second or First")
    assert "merged::written::Alone" in {one.name for one in functions}


def test_what_is_not_merged(tmp_path: Path) -> None:
    names = {one.name for one in functions_of(tmp_path / "program", "-Copt-level=0", "-Cdebuginfo=2")}
    assert {"merged::written::First", "merged::written::Second", "merged::written::Alone"} <= names


def test_types_that_symbols_do_not_tell() -> None:
    symbols = ["a::typed::{{closure}}"] * 3
    assert shown(FunctionKind.COROUTINE, "a::typed<a::User>", *symbols) == (
        "a::typed<a::User> or 2 others",
        "a::typed or 2 others",
    )
    assert shown(FunctionKind.COROUTINE, "a::typed", *symbols) == ("a::typed", "a::typed")
    assert shown(FunctionKind.COROUTINE, "a::typed<a::User>", symbols[0]) == ("a::typed<a::User>", "a::typed")


def test_several_names() -> None:
    polls = [f"<a::{name} as core::future::future::Future>::poll" for name in ("One", "Two", "Three")]
    assert shown(FunctionKind.FUTURE, "a::Two", *polls) == ("a::Two or 2 others", "Two or 2 others")
    closure = "a::b::{{closure}}"
    assert shown(FunctionKind.FUTURE, "a::Two", polls[1], closure) == ("a::Two", "Two")
    poll = "tokio::runtime::task::raw::poll"
    assert shown(FunctionKind.TASK, "task a::b", poll, poll) == ("task a::b", "task a::b")
