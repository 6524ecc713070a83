"""A program whose path, and so its name and its threads' names, holds what a terminal obeys."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.command import Done, rat
from tests.running import Running, Targets

pytestmark = pytest.mark.e2e

NAME = "s\x1b[2J\n\u202eX"
"""12 bytes: a thread's name has room for 15."""


@pytest.fixture
def hostile(targets: Targets, tmp_path: Path) -> Iterator[Running]:
    folder = tmp_path / "bin\x1b]0;pwned\x07\nrat-ebpf: all is well [red]"
    folder.mkdir()
    program = folder / NAME
    shutil.copy(targets.path("spin", "release"), program)
    with targets.start(program, "nested", "60") as running:
        assert Path(f"/proc/{running.pid}/comm").read_text() == NAME + "\n"
        running.go()
        yield running


def assert_plain(done: Done) -> None:
    assert done.code == 0, done.err
    said = done.out + done.err
    assert all(character == "\n" or character.isprintable() for character in said), ascii(said)
    assert not any(line.lstrip().startswith("rat-ebpf: all is well") for line in said.splitlines())


def test_no_command_sends_them_to_the_terminal(hostile: Running, tmp_path: Path) -> None:
    output = tmp_path / "x.pftrace"
    done = rat("--pid", hostile.pid, "-d", 0.5, "-v", "-o", output, "--max-overhead", 100)
    assert_plain(done)
    assert r"s\x1b[2J\n\u202eX" in done.out
    for command in (("report", output), ("list", hostile.pid), ("ps", hostile.pid), ("tree", hostile.pid)):
        assert_plain(rat(*command))
    sampled = rat("sample", hostile.pid, "-d", 0.5, "-o", tmp_path / "y.pftrace")
    assert_plain(sampled)
    assert json.loads(rat("report", "--json", output).out)["processes"][0]["name"] == NAME


def test_neither_does_an_error(hostile: Running) -> None:
    done = rat("--pid", hostile.pid, "-d", 1, "-F", "no_such_future")
    assert done.code != 0
    assert all(character == "\n" or character.isprintable() for character in done.err), ascii(done.err)
    advice = [line for line in done.err.splitlines() if line.startswith("    ")]
    assert len(advice) == 1
    assert advice[0].startswith("    rat-ebpf list '")


def test_the_default_output_is_a_file_here(hostile: Running, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    assert_plain(rat("--pid", hostile.pid, "-d", 0.3, "-q", cwd=here))
    (made,) = here.iterdir()
    assert made.name.isprintable()
