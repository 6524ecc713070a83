"""What is said on the terminal: in one place, because names, paths and threads of the target are in it.

A name may hold sequences that colour, move the cursor, set the window's title or turn the direction of writing, and
newlines that make a line of their own.  All of that is shown as escapes and never sent.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from typing import Any

_ERASE_LINE = "\r\x1b[K"


def printable(text: str) -> str:
    """Text with all that is not seen as a character made visible: control and direction characters, line and
    paragraph separators, lone surrogates (bytes of a file name that are no text), private and unassigned ones."""
    if text.isprintable():  # nearly always, and fast
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def shell_word(text: object) -> str:
    """A path or name of the target for a command that somebody is advised to type: it stays one word there."""
    return shlex.quote(printable(str(text)))


def say(words: object = "") -> None:
    """One line on the standard output."""
    print(printable(str(words)))


def say_json(document: Any, *, indent: int = 2) -> None:
    """A document as JSON, in ASCII without control characters, on the standard output."""
    for piece in json.JSONEncoder(indent=indent).iterencode(document):
        sys.stdout.write(piece.replace("\x7f", "\\u007f"))
    sys.stdout.write("\n")


def remark(words: object = "") -> None:
    """One line on the standard error.  Raises OSError when the terminal is gone."""
    print(printable(str(words)), file=sys.stderr, flush=True)


def show_progress(words: str, *, is_over: bool = False) -> None:
    """A line of the standard error that the next one replaces; is_over: it goes.  Never raises: the terminal may be
    gone, whose SIGHUP ends a recording well."""
    with contextlib.suppress(OSError):
        print(f"{_ERASE_LINE}{'' if is_over else printable(words)}", end="", file=sys.stderr, flush=True)
