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

_BLOCKING = "tokio::runtime::blocking::task::BlockingTask<"
BLOCKING_REASON = "it runs a blocking job, or a worker's whole loop, not a future"


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
    """Whether tokio runs this on its blocking pool: a closure under a future's guise."""
    return type_path.startswith(_BLOCKING)


def task_name(type_path: str | None, runtime: str) -> str:
    """`task my_crate::serve`, or `tokio task` where the future is not known."""
    if type_path is None:
        return f"{runtime} task"
    name = coroutine_name(type_path, None) if is_closure(type_path) else display_name(type_path)
    return f"task {name}"
