"""The stacks that the parked targets say their tasks are in, out of the comments in their source."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.building import WORKSPACE

_STACK = re.compile(r"^\s*//= (?P<task>\w+): (?P<stack>.*)$")
_FUTURE = re.compile(r"^(?P<name>\w+(?:\{(?:block|closure)\})*)(?P<unsure>\?)?(?:@(?P<mark>\w+|\?|!))?$")
_MARK = re.compile(r"//@(\d+)$")
_PLAIN = re.compile(r"^(?:.*::)?(\w+)$")


@dataclass(frozen=True)
class Expected:
    """place: file:line; "macro"; None: of no interest, or a future that has none.  below: in any order.
    is_end: what is below it differs between builds.  is_sure: False: it may be there, but not polled any more."""

    name: str
    place: str | None
    below: tuple[Expected, ...]
    is_end: bool = False
    is_sure: bool = True

    def key(self) -> str:
        """Equal for what is the same but for the order of branches."""
        branches = "|".join(sorted(one.key() for one in self.below))
        return f"{self.name}{'' if self.is_sure else '?'}@{self.place}{{{branches}}}"


def expected_stacks(*packages: str) -> dict[str, Expected]:
    """By name of the task's function."""
    files = [file for package in packages for file in sorted((WORKSPACE / package / "src").glob("*.rs"))]
    marks: dict[str, str] = {}
    stacks: dict[str, str] = {}
    for file in files:
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if (mark := _MARK.search(line)) is not None:
                assert mark[1] not in marks, f"two marks {mark[1]}"
                marks[mark[1]] = f"{file.parent.parent.name}/src/{file.name}:{number}"
            if (stack := _STACK.match(line)) is not None and file.name != "lib.rs":
                stacks[stack["task"]] = stack["stack"]
    return {task: parse(text, marks) for task, text in stacks.items()}


def parse(text: str, marks: dict[str, str]) -> Expected:
    """One stack; marks: the place of each mark.  Raises ValueError where it is none."""
    head, arrow, rest = text.partition(" > ")
    match = _FUTURE.match(head.strip())
    if match is None or (arrow and not rest.strip()):
        raise ValueError(f"no stack: {text}")
    name, is_sure, mark = match["name"], match["unsure"] is None, match["mark"]
    place = {None: None, "?": None, "!": "macro"}.get(mark) or marks.get(mark)
    if place is None and mark not in (None, "?"):
        raise ValueError(f"no line has the mark {mark}: {text}")
    if rest == "?":
        return Expected(name, place, (), is_end=True, is_sure=is_sure)
    below = tuple(parse(branch, marks) for branch in _branches(rest)) if rest else ()
    return Expected(name, place, below, is_sure=is_sure)


def _branches(text: str) -> list[str]:
    """Those of `{a | b}`, which can have branches of their own; else the text."""
    if not text.startswith("{"):
        return [text]
    found, begin, depth = [], 1, 0
    for at, char in enumerate(text):
        depth += {"{": 1, "}": -1}.get(char, 0)
        if depth == 0 and at < len(text) - 1:
            raise ValueError(f"something follows the branches: {text}")
        if (depth == 1 and char == "|") or depth == 0:
            found.append(text[begin:at].strip())
            begin = at + 1
    if depth:
        raise ValueError(f"a brace is open: {text}")
    return found


def seen_stack(frame: dict[str, Any], expected: Expected | None) -> Expected:
    """A frame of the JSON in the words of the expectation: places that are of no interest there are left out."""
    name, is_sure = short_name(frame["future"]), frame["enabled"] is not None
    place = None
    if expected is None or expected.place is not None:
        place = "macro" if frame["macro"] else _from_crate(frame["location"])
    if expected is not None and expected.is_end and expected.name == name:
        return Expected(name, place, (), is_sure=is_sure)
    wanted = list(expected.below) if expected is not None and expected.name == name else []
    below = []
    for child in frame["children"]:
        match = next((one for one in wanted if one.name == short_name(child["future"])), None)
        below.append(seen_stack(child, match))
    return Expected(name, place, tuple(below), is_sure=is_sure)


def _from_crate(place: str | None) -> str | None:
    return "/".join(Path(place).parts[-3:]) if place is not None else None


def short_name(future: str) -> str:
    """`a::b::f::{async block#0}` is f{block}, `x::Map<F, G>` is Map."""
    future = future.replace("->", "")
    while "<" in future and (shorter := re.sub(r"<[^<>]*>", "", future)) != future:
        future = shorter
    suffix = "".join(f"{{{kind}}}" for kind in re.findall(r"::\{(?:async )?(block|closure)#\d+\}$", future))
    bare = re.sub(r"(?:::\{(?:async )?(?:block|closure)#\d+\})+$", "", future)
    match = _PLAIN.match(bare)
    return (match[1] if match else bare) + suffix
