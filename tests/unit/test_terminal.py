"""Nothing that the target chose reaches the terminal as anything but visible characters."""

from __future__ import annotations

import ast
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text
from rich.tree import Tree

from tests.unit.test_rooms import FILES
from tracer import terminal
from tracer.cli import main
from tracer.errors import NotTraceable
from tracer.output.tables import Column, make_console, make_table, plain_text
from tracer.terminal import printable, remark, say, say_json, shell_word, show_progress

EVIL = (
    "a\x1b]0;title\x07\x1b[2J\x9b31m\r\nrat-ebpf: done"
    "\u202egnp\u2066\u2028x\x00\x7f\udcff\ufeff\U000e0041\xad[red]b[/red]"
)
SEEN = (
    r"a\x1b]0;title\x07\x1b[2J\x9b31m\r\nrat-ebpf: done"
    r"\u202egnp\u2066\u2028x\x00\x7f\udcff\ufeff\U000e0041\xad[red]b[/red]"
)


def test_what_is_shown_of_a_hostile_name() -> None:
    assert printable(EVIL) == SEEN
    assert printable("naïve → ok 日本") == "naïve → ok 日本"


@given(st.text())
def test_all_that_is_shown_is_a_character(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    shown.encode("utf-8")  # raises for a lone surrogate
    assert printable(shown) == shown


@pytest.mark.parametrize("speak", [say, remark])
def test_a_line_stays_one_line(speak: Callable[[str], None], capfd: pytest.CaptureFixture[str]) -> None:
    speak(EVIL)
    assert "".join(capfd.readouterr()) == SEEN + "\n"


def test_progress(capfd: pytest.CaptureFixture[str]) -> None:
    show_progress(EVIL)
    show_progress("", is_over=True)
    assert capfd.readouterr().err == f"\r\x1b[K{SEEN}\r\x1b[K"


def test_json_is_ascii(capfd: pytest.CaptureFixture[str]) -> None:
    say_json({EVIL: [EVIL]})
    out = capfd.readouterr().out
    assert all(character == "\n" or " " <= character <= "~" for character in out)
    assert json.loads(out) == {EVIL: [EVIL]}


def test_a_word_of_an_advised_command() -> None:
    assert shell_word("/tmp/x\n$(reboot); reboot") == r"'/tmp/x\n$(reboot); reboot'"
    assert shell_word("/srv/app") == "/srv/app"


def test_errors(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(arguments: list[str]) -> None:
        raise NotTraceable(EVIL, why=EVIL, fix=f"first\n{shell_word(EVIL)}")

    monkeypatch.setattr("tracer.cli.parse", fail)
    assert main(["x"]) == NotTraceable.code
    lines = capfd.readouterr().err.split("\n")
    assert lines == [f"rat-ebpf: {SEEN}; {SEEN}.", "    first", f"    {shell_word(EVIL)}", ""]


@pytest.mark.parametrize(
    ("what", "why", "said"),
    [
        ("x is JSON.", "only traces carry it", "x is JSON; only traces carry it."),
        ("x is JSON", "Only traces carry it.", "x is JSON. Only traces carry it."),
        ("x is JSON", "/tmp/x has none", "x is JSON. /tmp/x has none."),
        ("x is JSON.", "", "x is JSON."),
    ],
)
def test_a_cause_begins_a_sentence_or_goes_on(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, what: str, why: str, said: str
) -> None:
    def fail(arguments: list[str]) -> None:
        raise NotTraceable(what, why=why)

    monkeypatch.setattr("tracer.cli.parse", fail)
    main(["x"])
    assert capfd.readouterr().err == f"rat-ebpf: {said}\n"


@pytest.mark.parametrize(
    "what",
    [
        EVIL,
        Text(EVIL),
        plain_text(EVIL),
        Tree(EVIL),
        make_table({"a": Column.NAME, "b": Column.PLACE}, [(EVIL, EVIL)], 400),
    ],
)
def test_the_console_is_a_net(what: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is printed by whoever forgot to make it plain: of what a terminal obeys, only the colours of ours."""
    written = io.StringIO()
    monkeypatch.setattr("sys.stdout", written)
    make_console(400).print(what)
    out = written.getvalue()
    assert "[red]b[/red]" in out
    assert all(character == "\n" or character.isprintable() for character in out)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.name))
def test_only_one_file_prints(path: Path) -> None:
    """print() and the streams' write() are in tracer/terminal.py only, and consoles are made in one place."""
    if path == Path(terminal.__file__):
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("print", "sys.stdout.write", "sys.stderr.write", "json.dump"), f"line {node.lineno}"
            assert called != "Console" or path.name == "tables.py"
