"""The stacks that the parked targets say their tasks are in, out of the comments in their source."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.building import WORKSPACE

_STACK = re.compile(r"^\s*//= (?P<task>\w+): (?P<stack>.*)$")
_MARK = re.compile(r"//@(\d+)$")
_PLAIN = re.compile(r"^(?:.*::)?(\w+)$")


@dataclass(frozen=True)
class Expected:
    """place: file:line; "macro"; None: of no interest, or a future that has none.  below: in any order.
    is_end: what is below it differs between builds."""

    name: str
    place: str | None
    below: tuple[Expected, ...]
    is_end: bool = False

    def key(self) -> str:
        """Equal for what is the same but for the order of branches."""
        return f"{self.name}@{self.place}{{{'|'.join(sorted(one.key() for one in self.below))}}}"


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
    return {task: _parse(text, marks) for task, text in stacks.items()}


def _parse(text: str, marks: dict[str, str]) -> Expected:
    head, _, rest = text.partition(" > ")
    name, _, mark = head.strip().partition("@")
    place = {"": None, "?": None, "!": "macro"}.get(mark) or marks.get(mark)
    assert place is not None or mark in ("", "?"), text
    below: tuple[Expected, ...] = ()
    if rest == "?":
        return Expected(name, place, (), is_end=True)
    if rest.startswith("{"):
        assert rest.endswith("}"), text
        below = tuple(_parse(branch, marks) for branch in rest[1:-1].split(" | "))
    elif rest:
        below = (_parse(rest, marks),)
    return Expected(name, place, below)


def seen_stack(frame: dict[str, Any], expected: Expected | None) -> Expected:
    """A frame of the JSON in the words of the expectation: places that are of no interest there are left out."""
    name = _short(frame["future"])
    place = None
    if expected is None or expected.place is not None:
        place = "macro" if frame["macro"] else _from_crate(frame["location"])
    if expected is not None and expected.is_end and expected.name == name:
        return Expected(name, place, ())
    children = [child for child in frame["children"] if child["enabled"]]
    wanted = list(expected.below) if expected is not None and expected.name == name else []
    below = []
    for child in children:
        match = next((one for one in wanted if one.name == _short(child["future"])), None)
        below.append(seen_stack(child, match))
    return Expected(name, place, tuple(below))


def _from_crate(place: str | None) -> str | None:
    return "/".join(Path(place).parts[-3:]) if place is not None else None


def _short(future: str) -> str:
    """`a::b::f::{async block#0}` is f{block}, `x::Map<F, G>` is Map."""
    suffix = "".join(f"{{{kind}}}" for kind in re.findall(r"::\{(?:async )?(block|closure)#\d+\}$", future))
    future = future.replace("->", "")
    bare = re.sub(r"(?:::\{(?:async )?(?:block|closure)#\d+\})+$", "", future)
    while "<" in bare and (shorter := re.sub(r"<[^<>]*>", "", bare)) != bare:
        bare = shorter
    match = _PLAIN.match(bare)
    return (match[1] if match else bare) + suffix
