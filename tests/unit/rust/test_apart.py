"""A binary that a child without rights reads is the same, and what goes wrong there is said."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tracer.errors import NotTraceable
from tracer.rust import Cache, read_apart, read_binary
from tracer.target.elf import open_elf

PROGRAM = Path(__file__).parents[2] / "fuzz" / "corpus" / "elf" / "dwarf5"


@pytest.fixture(autouse=True)
def as_root() -> None:
    if os.geteuid() != 0:
        pytest.fail("what root gives up is tested as root (sudo scripts/test)")


def test_it_is_what_this_process_would_have_read() -> None:
    with open_elf(PROGRAM) as image:
        here = read_binary(image, display_path="program")
        assert here.functions
        assert read_binary(image, display_path="program", apart=True) == here


def test_what_is_remembered_needs_no_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path / "cache")
    with open_elf(PROGRAM) as image:
        first = read_binary(image, display_path="program", cache=cache, apart=True)
        monkeypatch.setattr(os, "fork", None)
        assert read_binary(image, display_path="program", cache=cache, apart=True) == first


def test_its_refusals_arrive(tmp_path: Path) -> None:
    with open_elf(Path("/bin/true")) as image, pytest.raises(NotTraceable, match="x is not a Rust program"):
        read_binary(image, display_path="x", apart=True)


def test_an_answer_that_nobody_can_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracer.rust.apart.encode", lambda binary: b"rubbish")
    with open_elf(PROGRAM) as image, pytest.raises(NotTraceable, match="program could not be read"):
        read_binary(image, display_path="program", apart=True)


def test_a_reader_that_crashes_ends_nothing_but_itself() -> None:
    with open_elf(PROGRAM) as image, pytest.raises(NotTraceable) as caught:
        read_apart(lambda: os.kill(os.getpid(), signal.SIGUSR1), image, "program", None)  # type: ignore[arg-type, return-value]
    assert "SIGUSR1" in caught.value.why
