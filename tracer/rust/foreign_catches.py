"""Where panics are caught by others than the runtime, whose task has not panicked then.

Every catch calls one function of std (tracer.rust.ends).  tokio 1.0 to 1.54, runtime/task/harness.rs, catches around
the future's poll (`poll_future`) and around dropping it (`cancel_task`), in code of `Harness::poll` or of `raw::poll`,
where the compiler put it; async-task 4.4 and later, raw.rs, in `RawTask::run`.  A user's own catch is elsewhere,
mostly in a poll function.  Where that was inlined into something that has no probe, `Core::poll`, only the address that
the catch returns to tells the two apart; and where it was inlined into the very function in which the runtime catches,
only the debug information does.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping

from tracer.rust.code_functions import FunctionTable
from tracer.rust.demangle import demangle

_RUNTIME = re.compile(r"^<?(?:tokio::runtime::task::(?:raw|harness)|async_task::raw)::")
_STD = re.compile(r"^<?std::panic(?:king)?::")
"""Of std's own functions around a catch nobody can tell who called them."""

_OWN = frozenset({"poll_future", "cancel_task", "complete", "poll_inner", "shutdown", "drop_join_handle_slow", "run"})
"""The runtimes' functions that catch panics, by their own names."""


def foreign_catches(
    calls: Iterable[tuple[int, int, int]],
    functions: FunctionTable,
    catchers: Callable[[Mapping[tuple[int, int], Collection[int]]], Mapping[int, str]],
) -> dict[int, list[int]]:
    """By function called: the addresses to which calls return that are certainly none of the runtime's, link-time.

    calls: (address, address that it returns to, function called).  catchers: see DebugInformation.catchers().
    """
    found: defaultdict[int, list[int]] = defaultdict(list)
    of_runtimes: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    left = []
    for at, back, called in calls:
        caller = functions.at(at)
        names = [demangle(name) for name in functions.names(caller[0])] if caller is not None else []
        if caller is None or any(map(_STD.match, names)):
            continue
        if any(map(_RUNTIME.match, names)):
            of_runtimes[caller].append(at)
            left.append((at, back, called))
        else:
            found[called].append(back)
    told = catchers(of_runtimes)
    for at, back, called in left:
        if at in told and told[at] not in _OWN:
            found[called].append(back)
    return dict(found)
