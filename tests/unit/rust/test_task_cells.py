"""Where in a task's memory its future is."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.running import Targets
from tracer.model import FunctionKind
from tracer.rust import read_binary
from tracer.rust.dwarf import Dwarf
from tracer.rust.forms import At
from tracer.rust.task_cells import find_cells
from tracer.target.elf import open_elf


@pytest.fixture(
    scope="module",
    params=[
        "-Cdwarf-version=4",
        "-Cdwarf-version=5",
        # These let a name be the tail of a longer one.
        "-Clink-arg=-fuse-ld=bfd",
        "-Clink-arg=-Wl,-O2",
    ],
)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, program = Path(__file__).parent / "cell_apart.rs", tmp_path_factory.mktemp("cells") / "program"
    command = ["rustc", "--edition", "2021", "--crate-name", "tokio", "-Copt-level=1", "-Cdebuginfo=2"]
    command += ["-Ccodegen-units=16", request.param, str(source), "-o", str(program)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return program


def test_the_type_of_a_task_is_found_in_any_unit(program: Path) -> None:
    """The compiler describes it where it is used, which need not be where a poll is."""
    with open_elf(program) as image:
        binary = read_binary(image, display_path="program")
    (task,) = (one for one in binary.functions if one.kind is FunctionKind.TASK)
    assert task.name == "task tokio::work"
    assert task.layout is not None
    assert binary.layouts[task.layout].edges


@pytest.mark.parametrize("profile", ["release-debug", "bfd", "old-dev", "old-release-debug"])
def test_where_the_future_is_in_each_task_is_told(targets: Targets, profile: str) -> None:
    """By each linker: the old compiler's is GNU ld, too."""
    path = targets.path("tokio_multi", profile)
    with open_elf(path) as image:
        binary = read_binary(image, display_path=str(path))
    tasks = [one for one in binary.functions if one.kind is FunctionKind.TASK]
    assert len(tasks) >= 8
    for task in tasks:
        assert task.layout is not None, task.name
        assert binary.layouts[task.layout].edges


def test_a_type_that_a_unit_only_declares_is_found_in_another(program: Path) -> None:
    """Whichever is looked at first: the declaration has a function of the type's inside, and looks whole."""
    name = "Cell<tokio::work::{async_fn_env#0}, u32>"
    with open_elf(program) as image:
        dwarf = Dwarf(image)
        units = list(dwarf.units)
        for several in (units, units[::-1]):
            (found,) = find_cells(dwarf, several, {0: name}).values()
            assert dwarf.die(found).integer(At.BYTE_SIZE)


def test_bytes_that_look_like_the_type_by_chance_are_not_it(program: Path, tmp_path: Path) -> None:
    name = "Cell<tokio::work::{async_fn_env#0}, u32>"
    with open_elf(program) as image:
        dwarf = Dwarf(image)
        info = bytes(dwarf.info)
        (true,) = find_cells(dwarf, dwarf.units, {0: name}).values()
        unit = dwarf.unit_of(true)
        # The code, which is one byte, and the name's place, or index, over the address that the unit itself begins at.
        over = info.index(bytes(8), unit.first_die)
        assert over + 8 < true
    path = tmp_path / "program"
    content = bytearray(program.read_bytes())
    at = content.index(info) + over
    content[at + 3 : at + 8] = info[true : true + 5]
    path.write_bytes(content)
    with open_elf(path) as image:
        dwarf = Dwarf(image)
        assert list(find_cells(dwarf, dwarf.units, {0: name}).values()) == [true]
