"""Where tasks are spawned, found in real binaries, and which register has the place of the call."""

from __future__ import annotations

import linecache
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.building import WORKSPACE
from tests.running import Targets
from tracer.model import Binary, FunctionKind, PollFunction, Register, Source, SpawnStep
from tracer.rust import read_binary
from tracer.rust.scan import CodeScan
from tracer.rust.spawns import Spawns, _Arguments
from tracer.target.elf import open_elf

PROFILES = ["dev", "release", "release-debug"]


def read(targets: Targets, target: str, profile: str) -> Binary:
    program = targets.path(target, profile)
    with open_elf(program) as image:
        return read_binary(image, display_path=str(program))


def points(binary: Binary, step: SpawnStep) -> Counter[str]:
    return Counter(point.name.split("::<")[0] for point in binary.spawns if point.step is step)


@pytest.mark.parametrize("profile", PROFILES)
def test_each_kind_of_future_has_a_spawn_function(targets: Targets, profile: str) -> None:
    binary = read(targets, "short_tasks", profile)
    of_tasks = [one for one in binary.spawns if one.step is SpawnStep.CALLED and "blocking" not in one.name]
    assert {one.name for one in of_tasks} <= {"tokio::task::spawn::spawn", "tokio::task::spawn::spawn_inner"}
    assert len(of_tasks) == 4
    assert {point.register for point in of_tasks} == {Register.RSI}
    made = [point for point in binary.spawns if point.step is SpawnStep.MADE]
    assert made
    assert all(point.register is (Register.RAX if point.is_return else Register.RSI) for point in made)


@pytest.mark.parametrize("profile", PROFILES)
def test_a_task_of_a_local_set_is_made_where_a_function_returns(targets: Targets, profile: str) -> None:
    binary = read(targets, "tokio_current", profile)
    called = [name for name in points(binary, SpawnStep.CALLED).elements() if "blocking" not in name]
    assert len(called) == 1
    local = [point for point in binary.spawns if "LocalOwnedTasks" in point.name]
    assert {(point.step, point.register, point.is_return) for point in local} == {(SpawnStep.MADE, Register.RAX, True)}
    with open_elf(targets.path("tokio_current", profile)) as image:
        assert {image.read(point.address, 1) for point in local} == {b"\xc3"}
        assert {image.offset_of(point.address) for point in local} == {point.offset for point in local}


@pytest.mark.parametrize("profile", ["dev", "release"])
def test_a_blocking_job_is_made_where_it_is_queued(targets: Targets, profile: str) -> None:
    binary = read(targets, "jobs_tokio", profile)
    (queue,) = [one for one in binary.spawns if one.name == "tokio::runtime::blocking::pool::Spawner::spawn_task"]
    assert (queue.step, queue.register, queue.is_return) == (SpawnStep.MADE, Register.RSI, False)
    called = [one for one in binary.spawns if one.step is SpawnStep.CALLED and "spawn_blocking" in one.name]
    assert len(called) >= 2
    assert all(one.register is not None for one in called)
    words = [linecache.getline(str(WORKSPACE / one.file), one.line) for one in binary.sites]
    assert sum("tokio::task::spawn_blocking(" in line for line in words) == 1


@pytest.mark.parametrize("profile", ["dev", "release"])
def test_crate_blocking_queues_its_jobs_in_one_place(targets: Targets, profile: str) -> None:
    binary = read(targets, "jobs_smol", profile)
    (queue,) = [one for one in binary.spawns if one.step is SpawnStep.QUEUED]
    assert (queue.name, queue.register, queue.is_return) == ("blocking::Executor::schedule", Register.RSI, False)


def test_async_task_tells_no_place_of_itself(targets: Targets) -> None:
    binary = read(targets, "smol_log", "release")
    assert points(binary, SpawnStep.MADE)
    assert not points(binary, SpawnStep.CALLED)
    assert binary.sites == ()


@pytest.mark.parametrize("profile", ["dev", "release-debug", "release-lines"])
def test_the_debug_information_tells_who_calls(targets: Targets, profile: str) -> None:
    binary = read(targets, "smol_log", profile)
    assert points(binary, SpawnStep.CALLED)
    assert all(one.tells_caller and one.register is None for one in binary.spawns if one.step is SpawnStep.CALLED)
    own = {(site.file, site.line) for site in binary.sites if site.file == "smol_log/src/main.rs"}
    assert own
    assert all("smol::spawn(" in linecache.getline(str(WORKSPACE / file), line) for file, line in own)


@pytest.mark.parametrize("profile", ["release-debug", "release-lines"])
def test_the_debug_information_tells_of_inlined_spawn_functions(targets: Targets, profile: str) -> None:
    binary = read(targets, "tokio_multi", profile)
    inner = [one for one in binary.spawns if one.step is SpawnStep.CALLED and one.tells_caller]
    called = [one for one in binary.spawns if one.step is SpawnStep.CALLED and not one.tells_caller]
    called = [one for one in called if "blocking" not in one.name]
    assert len(called) + len({one.name for one in inner}) // 2 == 9  # kinds of futures
    sites = [site for site in binary.sites if site.file == "tokio_multi/src/main.rs"]
    words = [linecache.getline(str(WORKSPACE / site.file), site.line)[site.column - 1 :] for site in sites]
    assert sum(one.startswith("spawn(apart(") for one in words) >= 9


@pytest.mark.parametrize("profile", PROFILES)
def test_the_sites_of_spawns_are_in_the_source(targets: Targets, profile: str) -> None:
    sites = read(targets, "short_tasks", profile).sites
    assert list(sites) == sorted(sites, key=lambda site: site.address)
    own = {(site.file, site.line, site.column) for site in sites if site.file == "short_tasks/src/main.rs"}
    words = [linecache.getline(str(WORKSPACE / file), line)[column - 1 :] for file, line, column in own]
    assert sum(one.startswith("tokio::spawn(") for one in words) == 4
    assert not any(site.file.startswith("/rustc/") for site in sites)


@pytest.mark.parametrize("mangling", [(), ("-Csymbol-mangling-version=v0",)])
def test_a_task_may_be_made_inside_of_a_function_that_spawns(mangling: tuple[str, ...], tmp_path: Path) -> None:
    """There it is seen where its cell was just made, and not yet scheduled."""
    source, program = Path(__file__).parent / "made_inside.rs", tmp_path / "tokio"
    flags = ["--crate-name", "tokio", "-Copt-level=1", "-Ccodegen-units=1", *mangling]
    subprocess.run(["rustc", "--edition", "2021", *flags, str(source), "-o", str(program)], check=True, timeout=120)
    poll = PollFunction(0, 0, 0, "poll", FunctionKind.TASK, Source.SYMBOLS, (), runtime="tokio")
    with open_elf(program) as image:
        found, _ = Spawns(image, image, CodeScan(image, image)).points([poll], None)
        cells = [one for one in image.symbols().table if "Cell" in image.symbols().name_at(int(one["name"]))]
        calls = [image.read(one.address - 5, 5) for one in found if "bind_new_task" in one.name]
    made = {one.name.split("::<")[0].split("::")[-1]: one for one in found if one.step is SpawnStep.MADE}
    assert made.keys() == {"bind_inner", "bind_new_task"}
    one = made["bind_new_task"]
    assert (one.register, one.is_return, one.tells_caller) == (Register.RAX, False, False)
    (call,) = calls
    assert call is not None
    assert call[0] == 0xE8
    led = one.address + int.from_bytes(call[1:], "little", signed=True)
    assert led in {int(cell["address"]) for cell in cells}


@pytest.mark.parametrize(
    ("code", "register"),
    [
        ("4889f3 e800000000 c3", Register.RSI),  # mov rbx, rsi; call; ret
        ("4889f3 4889d5 e800000000 c3", Register.RDX),  # a future in two registers
        ("48897c2408 31c0 c3", Register.RDI),  # one without a size: mov [rsp+8], rdi
        ("4889f3 31d2 4889d5 c3", Register.RSI),  # xor edx, edx reads nothing
        ("4889f3 ba01000000 4889d5 c3", Register.RSI),  # mov edx, 1
        ("4889f3 e800000000 4889d5 c3", Register.RSI),  # a call leaves nothing in them
        ("7403 4889f3 48890c24 c3", Register.RCX),  # behind a branch: je +3
        ("4889f3 eb03 4889d5 c3", Register.RSI),  # a jump over it
        ("31c0 c3", None),
    ],
)
def test_the_last_argument_is_the_last_one_read(code: str, register: Register | None) -> None:
    content = bytes.fromhex(code)

    class Image:
        def read(self, address: int, size: int) -> bytes | None:
            return (
                content[address - 0x1000 : address - 0x1000 + size] if address + size <= 0x1000 + len(content) else None
            )

    image: Any = Image()
    assert _Arguments(image).last_read(0x1000, len(content)) is register


def test_a_loop_of_code_ends(targets: Targets) -> None:
    class Image:
        def read(self, address: int, size: int) -> bytes | None:
            return (b"\xeb\xfe" * 8)[:size]  # jmp to itself

    image: Any = Image()
    assert _Arguments(image).last_read(0x1000, 2) is None
