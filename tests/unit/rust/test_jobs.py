"""Which tasks are blocking jobs, which workers' loops, by the names of their types and in real binaries."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.running import Targets
from tracer.model import Binary
from tracer.rust import read_binary
from tracer.rust.named_functions import functions_named
from tracer.rust.runtimes import WORKER_LOOP, is_blocking_job, job_name, job_of
from tracer.rust.scan import CodeScan
from tracer.rust.task_types import dropped_task
from tracer.target.elf import open_elf

_TASK = "tokio::runtime::blocking::task::BlockingTask<"
_MULTI = "tokio::runtime::scheduler::multi_thread::worker"
_CLOSURE = "app::zip::{closure_env#0}<app::A>"

LOOPS = [
    f"{_TASK}{_MULTI}::{{impl#0}}::launch::{{closure_env#0}}>",
    f"{_TASK}{_MULTI}::Launch::launch::{{{{closure}}}}>",
    f"{_TASK}<{_MULTI}::Launch>::launch::{{closure#0}}>",
    f"{_TASK}{_MULTI}::maybe_move_runtime::{{closure_env#0}}::{{closure_env#0}}>",
    f"{_TASK}tokio::runtime::thread_pool::worker::Launch::launch::{{{{closure}}}}>",
    WORKER_LOOP,
]


@pytest.mark.parametrize("path", LOOPS)
def test_workers_loops_are_no_jobs(path: str) -> None:
    assert is_blocking_job(path)
    assert job_of(path, "tokio") is None


@pytest.mark.parametrize(
    ("path", "runtime", "closure"),
    [
        (f"{_TASK}{_CLOSURE}>", "tokio", _CLOSURE),
        (f"{_TASK}alloc::boxed::Box<{_CLOSURE}, alloc::alloc::Global>>", "tokio", _CLOSURE),
        (f"tracing::instrument::Instrumented<{_TASK}{_CLOSURE}>>", "tokio", _CLOSURE),
        (f"{_TASK}app::f<tokio::runtime::handle::Handle>::{{{{closure}}}}>", "tokio", None),
        (f"{_TASK}tokio::fs::read::read::{{closure#0}}::{{closure_env#0}}<&str>>", "tokio", None),
        ("blocking::unblock::{async_block_env#0}<u64, app::{closure_env#0}>", "async-task", "app::{closure_env#0}"),
        ("blocking::unblock<u64,app::zip::{{closure}}>::{{closure}}", "async-task", "app::zip::{{closure}}"),
        ("blocking::unblock::<u64, app::zip::{closure#1}>::{closure#0}", "async-task", "app::zip::{closure#1}"),
        ("blocking::{impl#12}::with_mut::{async_block_env#0}<std::fs::File>", "async-task", None),
    ],
)  # fmt: skip
def test_the_closure_of_a_job(path: str, runtime: str, closure: str | None) -> None:
    expected = closure if closure is not None else path.removeprefix(_TASK).removesuffix(">" if _TASK in path else "")
    assert job_of(path, runtime) == expected


@pytest.mark.parametrize(
    "path", ["app::zip::{async_fn_env#0}", "blocking_queue::run::{async_fn_env#0}", "app::blocking::unblock"]
)
def test_other_tasks_are_no_jobs(path: str) -> None:
    assert job_of(path, "tokio") is None
    assert job_of(path, "async-task") is None


def test_names() -> None:
    assert job_name(_CLOSURE) == "blocking job app::zip::{closure#0}<app::A>"
    assert job_name("_") == "blocking job"


def _read(targets: Targets, target: str, profile: str) -> Binary:
    program = targets.path(target, profile)
    with open_elf(program) as image:
        return read_binary(image, display_path=str(program))


@pytest.mark.parametrize("profile", ["dev", "release", "size"])
def test_jobs_are_probed_and_workers_loops_are_not(targets: Targets, profile: str) -> None:
    binary = _read(targets, "jobs_tokio", profile)
    jobs = [one for one in binary.functions if one.is_job]
    assert len(jobs) == 2
    # Their drop glue is the same code; without debug information nothing else tells which closure is whose.
    names = {
        "blocking job jobs::flood::{closure#0}<jobs_tokio::Tokio>",
        "blocking job jobs::flood::{closure#1}<jobs_tokio::Tokio>",
    }
    assert {one.name for one in jobs} == (names if profile == "dev" else {"blocking job"})
    loops = [one.name for one in binary.refusals if one.name.startswith("task tokio::runtime::blocking")]
    assert len(loops) == 2
    assert all("multi_thread::worker" in name for name in loops)


@pytest.mark.parametrize("profile", ["dev", "release-debug"])
def test_a_function_that_is_a_job_goes_by_its_path(targets: Targets, profile: str) -> None:
    """Of which debug information has the signature alone, which many have."""
    jobs = [one.name for one in _read(targets, "parked_tokio", profile).functions if one.is_job]
    assert "blocking job parked::under_way::blocks_thread" in jobs


@pytest.mark.parametrize(
    "dropped",
    [
        "alloc::boxed::Box<tokio::runtime::task::core::Cell<app::T, app::S>>",
        "tokio::runtime::task::core::Stage<app::T>",
        "tokio::runtime::task::harness::poll_future::{{closure}}::Guard<app::T,app::S>",
    ],
)
def test_what_is_dropped_tells_the_type_of_a_task(dropped: str) -> None:
    assert dropped_task(f"core::ptr::drop_in_place<{dropped}>") == "app::T"
    assert dropped_task(f"core::ptr::drop_in_place<{dropped.replace('tokio', 'app')}>") is None


@pytest.mark.parametrize("profile", ["dev", "release"])
@pytest.mark.parametrize("target", ["jobs_smol", "jobs_async_std"])
def test_tasks_of_the_pool_are_jobs(targets: Targets, target: str, profile: str) -> None:
    binary = _read(targets, target, profile)
    jobs = {one.name for one in binary.functions if one.is_job}
    assert jobs
    assert all(name.startswith("blocking job jobs::flood") for name in jobs)


def test_a_function_that_only_jumps_is_a_caller(tmp_path: Path) -> None:
    """As `block_in_place` without any LTO: what it jumps to is the one to be probed, not both."""
    program = tmp_path / "program"
    source = """
        core::arch::global_asm!(
            ".type outer,@function", "outer:", ".byte 0xe9", ".long inner - . - 4", ".size outer, . - outer",
            ".type inner,@function", "inner:", "call other", "ret", ".size inner, . - inner",
            ".type other,@function", "other:", "ret", ".size other, . - other",
        );
        fn main() {}
    """
    command = ["rustc", "--edition", "2021", "--crate-name", "program", "-Clink-dead-code", "-", "-o", str(program)]
    subprocess.run(command, input=source, text=True, check=True, timeout=60)
    with open_elf(program) as image:
        functions = {one.name: one for one in functions_named(image, (re.compile(rb"outer"), re.compile(rb"inner")))}
        outer, inner = functions["outer"], functions["inner"]
        sizes = {one.address: one.size for one in (outer, inner)}
        assert CodeScan(image, image).callers(sizes, {outer.address, inner.address}) == {outer.address}
        assert outer.size < 6
