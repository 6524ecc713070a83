"""The rule between rooms: who may import whom, and which third-party package lives where."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "tracer"

PIPELINE = ("target", "rust", "snapshot", "probe", "capture", "assemble", "output")
SEAM = frozenset(
    {"model", "stacks", "errors", "children", "ownership", "privileges", "beneath", "surroundings", "terminal"}
)
"""Below all rooms, and importing none of them."""

SEAM_IMPORTS = {
    "stacks": {"model"},
    "children": {"errors"},
    "ownership": {"beneath"},
    "privileges": {"ownership", "errors", "children"},
}
"""... and of each other: the values of a snapshot are made of the model's."""

COMPOSERS = frozenset({"commands", "cli", "__main__"})

OWNERS = {
    "elftools": {"target"},
    "zstandard": {"target"},
    "cxxfilt": {"rust"},
    "pycxxfilt": {"rust"},
    "capstone": {"rust"},
    "bcc": {"probe"},
    "google": {"capture", "capture_pb2", "pprof_pb2"},
    "perfetto": {"output"},
    "rich": {"output"},
    "numpy": {*PIPELINE, *COMPOSERS, "model", "stacks"},
}

GENERATED = {"capture": {"capture_pb2"}, "output": {"pprof_pb2"}}
"""What protoc makes of proto/, and the room that it is for."""

FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """The full names of all modules that a file imports, at the top or inside functions and TYPE_CHECKING."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative imports hide which room is meant"
            if node.module == "tracer":
                yield from (f"tracer.{alias.name}" for alias in node.names)
            else:
                yield node.module or ""


def rooms_imported(path: Path) -> set[str]:
    names = (name.split(".") for name in imported(path))
    found = {parts[1] for parts in names if parts[0] == "tracer" and len(parts) > 1}
    return {room for room in found if (PACKAGE / room).is_dir() or (PACKAGE / f"{room}.py").is_file()}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports(path: Path) -> None:
    room = room_of(path)
    if room in SEAM or room == "__init__":
        assert rooms_imported(path) <= {room, *SEAM_IMPORTS.get(room, ())}
    elif room in PIPELINE:
        earlier = PIPELINE[: PIPELINE.index(room)]
        generated = GENERATED.get(room, set())
        assert rooms_imported(path) <= {*earlier, room, *SEAM, *generated}
    elif room.endswith("_pb2"):
        assert rooms_imported(path) == set()


def test_what_a_capture_needs_is_no_live_process() -> None:
    """A capture can be replayed anywhere: the rooms from `capture` on know none of those that need the process."""
    replaying = PIPELINE[PIPELINE.index("capture") :]
    live = {"target", "rust", "snapshot", "probe"}
    assert not {path for path in FILES if room_of(path) in replaying and rooms_imported(path) & live}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_package_is_imported_in_one_room(path: Path) -> None:
    for name in imported(path):
        package = name.split(".")[0]
        if package == "tracer" or package in sys.stdlib_module_names:
            continue
        assert room_of(path) in OWNERS[package], f"{package} belongs to {OWNERS[package]}"


def test_no_file_is_a_place_for_everything() -> None:
    forbidden = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
    assert not [path for path in FILES if path.stem in forbidden]
