"""The source text of the targets, to hold against it what a trace or a binary says of their awaits."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from tests.e2e.trace import plain

_VARIABLE = re.compile(r"(?<![.\w])[a-z_]+\.await")


@lru_cache(maxsize=16)
def source(file: str) -> list[str]:
    return Path(file).read_text().splitlines()


def statement(file: str, line: int) -> str:
    """The source from this line on up to the end of the statement, or to the block that its head opens."""
    text = ""
    for one in source(file)[line - 1 :]:
        text += one.strip() + "\n"
        if one.rstrip().endswith((";", "{", "}", ",")):
            break
    return text


def is_made_by(awaitee: str | None, words: str) -> bool:
    """Whether the text names the async fn that is awaited, or what returns this type; a variable can hold anything."""
    assert awaitee is not None
    name = plain(awaitee).rpartition("::")[2]
    name = {"dyn Future": "boxed", "Yield": "default"}.get(name, re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower())
    return name in words.lower() or _VARIABLE.search(words) is not None
