"""The runtimes' own polls of a task.

tokio 1.25 to 1.54: `runtime::task::raw::poll<T, S>(NonNull<Header>)`; async-task 4.0 to 4.7:
`RawTask<F, T, S, M>::run(*const ())`.  Both take the task's header pointer as only argument.
"""

from __future__ import annotations

import re

from tracer.rust.generators import unwrapped
from tracer.rust.naming import coroutine_name, display_name, generic_arguments, is_closure

_WRAPPERS = ("async_executor::AsyncCallOnDrop<", "async_std::task::builder::SupportTaskLocals<")
"""What executors wrap a task's future in, as their first type argument."""

_WRAPPING_BLOCK = re.compile(r"^async_executor::(?:\{impl#\d+\}|\w+)::spawn(?:_inner)?::\{async_block(?:_env)?#0\}<")
"""async-executor 1.4 to 1.13, lib.rs: an async block around it, whose last type argument it is."""

_BOXED = re.compile(r"^(?:core::pin::)?Pin<(?:alloc::boxed::)?Box<(?!dyn )")
"""What runtimes make of a large future; of a trait object it is all that is known."""

_BLOCKING = re.compile(r"^(?:tracing::instrument::Instrumented<)?tokio::runtime::blocking::task::BlockingTask<")
_OF_RUNTIME = re.compile(r"^<?tokio::runtime::")
"""tokio's own closures that run so are workers' whole loops: `Launch::launch` and, where a worker's thread blocks,
`block_in_place` (scheduler/multi_thread/worker.rs, thread_pool/worker.rs).  Its fs and net,
which block, stand elsewhere."""

BLOCKING_REASON = "it runs a worker's whole loop, or the function of a blocking job, which is seen as its task's poll"
UNKNOWN_JOB = "tokio::runtime::blocking::task::BlockingTask<_>"
"""One whose closure is not known, but surely no worker's loop."""

WORKER_LOOP = "tokio::runtime::blocking::task::BlockingTask<tokio::runtime::scheduler::multi_thread::worker::run>"

_OF_POOL = re.compile(r"^<?blocking::(?:(?:unblock|Unblock)\b|\{impl#\d+\})")
"""blocking 1.0 to 1.7, lib.rs: all tasks of this crate, whose executor is private, run on its pool."""

_CLOSURE = re.compile(r"::\{(?:\{closure\}|closure#0)\}$")
_WITHIN_JOBS = ("tokio::runtime::blocking::task::BlockingTask<", "alloc::boxed::Box<")
"""tokio boxes large closures."""


def spawned_future(type_path: str) -> str:
    """The future that the user spawned, out of the executor's wrappers."""
    type_path = unwrapped(type_path)
    while arguments := generic_arguments(type_path):
        if type_path.startswith(_WRAPPERS):
            type_path = arguments[0]
        elif _WRAPPING_BLOCK.match(type_path):
            type_path = arguments[-1]
        elif _BOXED.match(type_path):
            type_path = generic_arguments(arguments[0])[0]
        else:
            break
    return type_path


def is_blocking_job(type_path: str) -> bool:
    """Whether tokio runs this on its blocking pool: a closure under a future's guise, perhaps a worker's loop."""
    return _BLOCKING.match(type_path) is not None


def job_of(type_path: str, runtime: str) -> str | None:
    """The closure of the blocking job that a task with this future is; None: it is none, or not surely.

    Where an async block blocks, it is that.
    """
    if runtime != "tokio":
        if not _OF_POOL.match(type_path):
            return None
        arguments = generic_arguments(_CLOSURE.sub("", type_path)) if type_path.startswith("blocking::unblock") else []
        return arguments[-1] if arguments else type_path
    if not is_blocking_job(type_path):
        return None
    while arguments := generic_arguments(type_path):
        type_path = arguments[0]
        if not type_path.startswith(_WITHIN_JOBS):
            break
    return None if _OF_RUNTIME.match(type_path) else type_path


def task_name(type_path: str | None, runtime: str) -> str:
    """`task my_crate::serve`, or `tokio task` where the future is not known."""
    if type_path is None:
        return f"{runtime} task"
    name = coroutine_name(type_path, None) if is_closure(type_path) else display_name(type_path)
    return f"task {name}"


def job_name(closure: str) -> str:
    """`blocking job my_crate::compress::{closure#0}`, of what job_of() yields."""
    return "blocking job" if closure == "_" else f"blocking job {display_name(closure)}"
