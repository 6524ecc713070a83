"""A made-up async server, its polls and waits as assembly would give them.  Deterministic."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from tracer.model import (
    FIRST_SUSPEND,
    POLL,
    UNRESUMED,
    WAIT,
    Array,
    AwaitPoint,
    Binary,
    CallSite,
    ClockReading,
    ExitMode,
    FunctionKind,
    Group,
    Outcome,
    Plan,
    PlannedSpawn,
    PollFlag,
    PollFunction,
    Probe,
    Process,
    Recording,
    Refusal,
    Register,
    Site,
    Source,
    SourceLocation,
    Spans,
    SpawnPoint,
    SpawnStep,
    Thread,
    WaitFlag,
)
from tracer.model import TASK as TASK_RECORD

START = 5_000_000_000_000
PID = 4242
WORKERS = [4243, 4244, 4245]

_FUNCTIONS = [
    (FunctionKind.TASK, "task echo::conn::handle", SourceLocation("src/conn.rs", 12)),
    (FunctionKind.COROUTINE, "echo::conn::handle", SourceLocation("src/conn.rs", 12)),
    (FunctionKind.COROUTINE, "echo::db::query", SourceLocation("src/db.rs", 77)),
    (FunctionKind.FUTURE, "tokio::sync::oneshot::Receiver<echo::Row>", None),
    (FunctionKind.COROUTINE, "echo::accept_loop", SourceLocation("src/main.rs", 31)),
    (FunctionKind.COROUTINE, "echo::stats::tick::{async block#0}", SourceLocation("src/stats.rs", 8)),
]
TASK, HANDLE, QUERY, ROW, ACCEPT, TICK = range(6)
_AWAITS = {
    QUERY: (
        AwaitPoint(3, SourceLocation("/srv/echo/src/db.rs", 80), "tokio::sync::mutex::Mutex<T>::lock<echo::db::Pool>"),
        AwaitPoint(
            4, None, "core::future::poll_fn::PollFn<echo::db::query::{closure#0}>", SourceLocation("select.rs", 7)
        ),
        AwaitPoint(5, SourceLocation("/srv/echo/src/db.rs", 84), None),
    )
}
_MADE = PlannedSpawn(0, SpawnPoint(0x8000, 0x8000, "bind_inner", SpawnStep.MADE, Register.RSI))
_CHAINS = {"handle": (TASK, HANDLE, QUERY, ROW), "accept": (TASK, ACCEPT), "tick": (TASK, TICK)}


def make_recording(**options: str) -> Recording:
    """The header that goes with the spans below."""
    functions = tuple(
        PollFunction(
            address=0x1000 * (index + 1),
            offset=0x1000 * (index + 1),
            size=64,
            name=name,
            kind=kind,
            source=Source.DWARF,
            exits=(),
            crate="tokio" if name.startswith("tokio") else "echo",
            location=location,
            awaits=_AWAITS.get(index, ()),
        )
        for index, (kind, name, location) in enumerate(_FUNCTIONS)
    )
    probes = tuple(
        Probe(
            index,
            0,
            one.offset,
            Site.ENTRY,
            Group.TASKS if one.kind is FunctionKind.TASK else Group.FUTURES,
            index,
            None,
        )
        for index, one in enumerate(functions)
    )
    refusals = (
        Refusal("echo::frame::read", "exists only inlined into its callers"),
        Refusal("echo::frame::write", "exists only inlined into its callers"),
        Refusal("echo::tls::accept", "its first instruction cannot be probed"),
    )
    return Recording(
        version="0.1.0",
        clock=ClockReading(START - 1000, START + 3_600_000_000_000, 1_790_000_000_000_000_000),
        start=START,
        processes=(
            Process(PID, 1, "echo-server", ("./echo-server", "--port", "80"), "/srv/echo-server", 0, 0x5555_0000),
        ),
        plan=Plan((), functions, (0,) * len(functions), probes, refusals, ExitMode.DEFAULT, spawns=(_MADE,)),
        transport="ring",
        kernel="6.18.0",
        max_overhead=0.05,
        options=options,
    )


def make_threads() -> list[Thread]:
    """The runtime's threads."""
    return [Thread(tid, PID, f"tokio-worker-{index}") for index, tid in enumerate(WORKERS)]


@dataclass
class _Task:
    number: int
    chain: tuple[int, ...]
    instances: list[int]
    state: int = UNRESUMED
    pending_since: int | None = None
    polls_left: int = field(default=12)


def simulate(seconds: float = 0.04, tasks: int = 9, seed: int = 7) -> Spans:
    """Worker threads that poll tasks; each poll runs down a chain of futures, waits between."""
    rnd = random.Random(seed)
    free = dict.fromkeys(WORKERS, START + 1000)
    kinds = ["accept", "tick"] + ["handle"] * (tasks - 2)
    instance = iter(range(1, 1 << 40))
    queue: list[tuple[int, int, _Task]] = []
    for number, kind in enumerate(kinds):
        chain = _CHAINS[kind]
        task = _Task(number, chain, [next(instance) for _ in chain], polls_left=rnd.randrange(3, 30))
        heapq.heappush(queue, (START + 40_000 * number, number, task))
    polls: list[tuple[int, ...]] = []
    waits: list[tuple[int, ...]] = []
    while queue:
        ready, number, task = heapq.heappop(queue)
        tid = min(free, key=lambda one: free[one])
        at = max(free[tid], ready) + rnd.randrange(1_000, 9_000)
        if at > START + seconds * 1e9:
            break
        task.polls_left -= 1
        done = task.polls_left == 0
        _poll_chain(task, at, tid, done, rnd, polls, waits)
        free[tid] = polls[-1][1]
        if done:
            chain = task.chain
            task = _Task(number, chain, [next(instance) for _ in chain], polls_left=rnd.randrange(3, 30))
        heapq.heappush(queue, (free[tid] + rnd.randrange(200_000, 4_000_000), number, task))
    wait_array = np.zeros(len(waits), WAIT)
    for name, column in zip(WAIT.names or (), zip(*waits, strict=True), strict=False):  # no places
        wait_array[name] = column
    poll_array = np.zeros(len(polls), POLL)
    for name, column in zip(POLL.names or (), zip(*polls, strict=True), strict=False):  # nothing of scheduling
        poll_array[name] = column
    return _spans(poll_array, wait_array)


def _spans(polls: Array, waits: Array) -> Spans:
    """In the order of their ends; with the tasks that they are of, whose ids are 100 above their numbers."""
    polls, waits = polls[np.argsort(polls["end"], kind="stable")], waits[np.argsort(waits["end"], kind="stable")]
    of_tasks = polls[polls["function"] == TASK]
    numbers, first, at = np.unique(of_tasks["instance"], return_index=True, return_inverse=True)
    over = np.zeros(len(numbers), TASK_RECORD)
    over["task"], over["id"], over["header"] = numbers, numbers + 100, of_tasks["self"][first]
    over["function"], over["tid"], over["first"] = TASK, of_tasks["tid"][first], of_tasks["start"][first]
    np.maximum.at(over["last"], at, of_tasks["end"])
    over["until"] = over["last"]
    np.add.at(over["polls"], at, np.uint64(1))
    np.add.at(over["busy"], at, of_tasks["end"] - of_tasks["start"])
    np.maximum.at(over["longest"], at, of_tasks["end"] - of_tasks["start"])
    done = of_tasks["instance"][(of_tasks["flags"] & int(PollFlag.PENDING)) == 0]
    over["outcome"] = np.where(np.isin(numbers, done), Outcome.FINISHED, Outcome.WAITING)
    begun = over.copy()
    for name in ("last", "until", "polls", "busy", "longest", "outcome"):
        begun[name] = 0
    return Spans(polls, waits, begun, over)


def _poll_chain(
    task: _Task,
    at: int,
    tid: int,
    done: bool,
    rnd: random.Random,
    polls: list[tuple[int, ...]],
    waits: list[tuple[int, ...]],
) -> None:
    """One poll of a task: its futures' polls, innermost first, and the waits that these polls end."""
    header = 0x7F00_0000_1000 + 0x200 * task.number
    flags = int(PollFlag.RESULT | PollFlag.STATE) | (0 if done else int(PollFlag.PENDING))
    starts = [at + 1_500 * depth for depth in range(len(task.chain))]
    end = starts[-1] + rnd.randrange(10_000, 250_000)
    after = FIRST_SUSPEND + rnd.randrange(3)
    for depth in reversed(range(len(task.chain))):
        own, function = task.instances[depth], task.chain[depth]
        around, parent = task.instances[0] if depth else 0, task.instances[depth - 1] if depth > 1 else 0
        address = header + 0x40 + 8 * depth
        polls.append(
            (
                starts[depth],
                end,
                end,
                address,
                own,
                around,
                parent,
                function,
                tid,
                depth,
                flags,
                task.state,
                1 if done else after,
            )
        )
        if task.pending_since is not None:
            since = task.pending_since + 900 * (len(task.chain) - 1 - depth)
            waits.append(
                (
                    since,
                    starts[depth],
                    address,
                    own,
                    task.instances[0] if depth else 0,
                    function,
                    tid,
                    int(WaitFlag.STATE),
                    task.state,
                    0,
                    0,
                )
            )
        end += 900
    task.state = after
    task.pending_since = None if done else end - 900 * len(task.chain)


def many(polls: int, *, threads: int = 4, tasks: int = 500, nested: int = 2, churn: int = 0, seed: int = 5) -> Spans:
    """So many polls, `nested` deep, on so many threads, made by numpy.  churn: an instance is new after so many
    polls (0: never).  Waits run from one poll of an instance to its next."""
    rng = np.random.default_rng(seed)
    groups = polls // nested
    thread = np.arange(groups) % threads
    slot = np.arange(groups) // threads
    length = rng.integers(300 * nested, 20_000, groups) ** 2 // 10_000 + 400 * nested
    rows = int(slot.max()) + 1
    gaps = np.zeros((rows, threads), np.int64)
    gaps[slot, thread] = length + rng.integers(100, 2_000, groups)
    ends = START + 2_000 + np.cumsum(gaps, axis=0)[slot, thread]
    task = np.arange(groups) % tasks
    turn = np.arange(groups) // tasks
    life = turn // churn if churn else np.zeros(groups, np.int64)
    out = np.zeros((groups, nested), POLL)
    for depth in range(nested):
        column = out[:, nested - 1 - depth]
        column["start"] = ends - length + 100 * depth
        column["end"] = column["end_latest"] = ends - 100 * depth
        column["instance"] = (life * tasks + task) * nested + depth + 1
        column["self"] = 0x7F00_0000_0000 + task * 0x400 + depth * 0x40
        column["task"] = column["instance"] - depth if depth else 0
        column["parent"] = np.where(depth, column["instance"] - 1, 0)
        column["function"] = depth % len(_FUNCTIONS)
        column["tid"] = WORKERS[0] + thread
        column["depth"] = depth
        last = (turn % churn == churn - 1) if churn else np.zeros(groups, np.bool_)
        column["flags"] = int(PollFlag.RESULT | PollFlag.STATE) | np.where(last, 0, int(PollFlag.PENDING))
        column["state"] = np.where((turn % churn if churn else turn) == 0, UNRESUMED, FIRST_SUSPEND + depth)
        column["state_after"] = FIRST_SUSPEND + depth
    waits = np.zeros((max(groups - tasks, 0), nested), WAIT)
    for depth in range(nested):
        before, after = out[: len(waits), nested - 1 - depth], out[tasks:, nested - 1 - depth]
        column = waits[:, nested - 1 - depth]
        for name in ("self", "instance", "task", "function", "tid"):
            column[name] = after[name]
        column["start"], column["end"] = before["end"], after["start"]
        column["state"], column["flags"] = after["state"], int(WaitFlag.STATE)
        column["instance"][before["instance"] != after["instance"]] = 0
    flat, waiting = out.reshape(-1), waits.reshape(-1)
    # A wait of no sense (another instance, or a next poll on another thread that began before) does not exist.
    waiting = waiting[(waiting["instance"] != 0) & (waiting["end"] >= waiting["start"])]
    return _spans(flat, waiting)


SITES = (CallSite(0x900, "src/main.rs", 40, 9), CallSite(0x918, "/srv/echo/src/conn.rs", 7, 21))


def with_sites(recording: Recording) -> Recording:
    """The recording of a program that says where in it tasks are spawned."""
    binary = Binary("echo", None, "x86_64", 4096, "dwarf", True, recording.plan.functions, sites=SITES)
    return replace(recording, plan=replace(recording.plan, binaries=(binary,)))


def with_spawns(spans: Spans) -> Spans:
    """The first task spawned the others, but for every fifth one; every third place is not known."""
    begun, over = spans.begun.copy(), spans.over.copy()
    parent = spans.polls[spans.polls["instance"] == begun["task"][0]]
    for number, task in enumerate(begun[1:], 1):
        before = parent[parent["start"] + number < task["first"]]
        task["spawned"], task["spawned_on"], task["spawned_at"] = START + number, WORKERS[0], number % 3
        if number % 5 and len(before):
            poll = before[-1]
            task["spawned"], task["spawned_on"] = poll["start"] + number, poll["tid"]
            task["spawned_by"], task["spawned_by_id"] = poll["instance"], poll["instance"] + np.uint64(100)
            task["spawned_by_function"] = TASK
    for name in (name for name in begun.dtype.names or () if name.startswith("spawned")):
        over[name] = begun[name]
    return Spans(spans.polls, spans.waits, begun, over)


def without_exits(spans: Spans, which: npt.NDArray[np.bool_], seen: int = 0) -> Spans:
    """These polls, with none inside, were over nobody knows when; seen: ns for which they certainly went on."""
    polls = spans.polls.copy()
    polls["end"][which] = np.minimum(polls["end"], polls["start"] + seen)[which]
    polls["flags"][which] |= int(PollFlag.INFERRED_END)
    return replace(spans, polls=polls[np.argsort(polls["end"], kind="stable")])


def blocks(spans: Spans, count: int) -> list[Spans]:
    """The same spans in so many steps, cut at times as assembly would."""
    cuts = np.linspace(START, int(spans.polls["end"].max()) + 1, count + 1)[1:]
    polls = np.split(spans.polls, np.searchsorted(spans.polls["end"], cuts[:-1]))
    waits = np.split(spans.waits, np.searchsorted(spans.waits["end"], cuts[:-1]))
    first = np.searchsorted(cuts[:-1], spans.begun["first"], side="right")
    last = np.searchsorted(cuts[:-1], spans.over["last"], side="right")
    return [
        Spans(one, other, spans.begun[first == step], spans.over[last == step])
        for step, (one, other) in enumerate(zip(polls, waits, strict=True))
    ]
