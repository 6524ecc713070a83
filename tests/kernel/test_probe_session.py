"""Real probes on a program that counts its own polls."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.kernel.turns import EVENTS, POLLS, TASKS, TURN_POLLS, YIELD_POLLS, Turns, started, with_callers
from tracer.errors import NoSuchProcess, NotTraceable
from tracer.model import Array, Binary, EventFlag, ExitMode, Group, Loss, Plan, PollFunction, Site
from tracer.probe.plan import make_plan
from tracer.probe.program import PollProgram
from tracer.probe.session import Batch, ProbeSession

pytestmark = pytest.mark.kernel

FRAME = np.dtype([("sp", "<u8"), ("self", "<u8"), ("probe", "<u4"), ("epoch", "<u4")])
NEAR_FRAMES = 64
"""struct frame and NEAR_FRAMES of bpf/events.h."""

WAYS = [
    pytest.param({"transport": "ring"}, id="ring"),
    pytest.param({"transport": "perf"}, id="perf"),
    pytest.param({"transport": "ring", "by_bcc": True}, id="bcc"),
]


@contextmanager
def session_on(turns: Turns, plan: Plan, **options: Any) -> Iterator[ProbeSession]:
    with ProbeSession(plan, [turns.process], executables=[turns.exe], **options) as session:
        session.attach()
        yield session


def collect(session: ProbeSession) -> tuple[Array, list[Loss]]:
    """Everything there is, read as a recording does and then detached."""
    first = session.read()
    last = session.detach()
    return np.concatenate([first.events, last.events]), first.losses + last.losses


def of(plan: Plan, events: Array, name: str, *, entry: bool) -> Array:
    """The events of the named function's entries or exits."""
    ids = [
        probe.id
        for probe in plan.probes
        if (index := probe.enters if entry else probe.leaves) is not None and plan.functions[index].name == name
    ]
    return events[np.isin(events["probe"], ids)]


@pytest.fixture
def plan(turns_binary: Binary) -> Plan:
    return make_plan([turns_binary], exit_mode=ExitMode.DEFAULT)


@pytest.fixture
def return_plan(turns_binary: Binary) -> Plan:
    """Return probes, which this program's polls allow as long as nobody asks it to panic."""
    return make_plan([replace(turns_binary, can_unwind=False)], exit_mode=ExitMode.URETPROBE)


@pytest.fixture
def caller_plan(turns_binary: Binary) -> Plan:
    """Entries and exits of Yield::poll are seen in its callers."""
    plan = make_plan([with_callers(turns_binary)], exit_mode=ExitMode.DEFAULT)
    assert {probe.site for probe in plan.probes} == {Site.ENTRY, Site.EXIT, Site.CALL, Site.RETURNED}
    return plan


@pytest.mark.parametrize("options", WAYS)
def test_exits_in_callers_beside_return_probes(
    turns: Turns, caller_plan: Plan, return_plan: Plan, options: dict[str, Any]
) -> None:
    """A return probe takes the place of the return address that the call leaves."""
    with session_on(turns, return_plan, **options) as other, session_on(turns, caller_plan, **options) as session:
        assert turns.run() == (TURN_POLLS, YIELD_POLLS)
        events, _ = collect(session)
        assert len(collect(other)[0]) == EVENTS
    assert len(of(caller_plan, events, "yield", entry=False)) == YIELD_POLLS
    assert len(events) == EVENTS


@pytest.mark.parametrize("options", WAYS)
@pytest.mark.parametrize("plan_name", ["plan", "return_plan", "caller_plan"])
def test_every_poll_is_seen_once(
    turns: Turns, plan_name: str, options: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    plan: Plan = request.getfixturevalue(plan_name)
    with session_on(turns, plan, **options) as session:
        assert turns.run() == (TURN_POLLS, YIELD_POLLS)
        events, losses = collect(session)
        assert (session.sent, session.received, session.lost, losses) == (EVENTS, EVENTS, 0, [])
        threads = session.threads()
    for name, polls in (("turns", TURN_POLLS), ("yield", YIELD_POLLS)):
        assert len(of(plan, events, name, entry=True)) == polls
        assert len(of(plan, events, name, entry=False)) == polls
    assert [(thread.tid, thread.pid, thread.name) for thread in threads] == [(turns.pid, turns.pid, "turns")]
    assert set(events["tid"]) == {turns.pid}


@pytest.mark.parametrize("options", WAYS)
@pytest.mark.parametrize("plan_name", ["plan", "return_plan", "caller_plan"])
def test_entries_and_exits_pair_by_stack_pointer(
    turns: Turns, plan_name: str, options: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    plan: Plan = request.getfixturevalue(plan_name)
    with session_on(turns, plan, **options) as session:
        turns.run()
        events, _ = collect(session)
    is_entry = np.array([probe.enters is not None for probe in plan.probes])
    function = [probe.enters if probe.enters is not None else probe.leaves for probe in plan.probes]
    open_frames: list[tuple[int, int | None, int]] = []
    for event in events:
        frame = (int(event["sp"]), function[event["probe"]], int(event["self"]))
        if is_entry[event["probe"]]:
            assert event["flags"] & EventFlag.SELF
            assert not open_frames or frame[0] < open_frames[-1][0]
            open_frames.append(frame)
        else:
            entered = open_frames.pop()
            assert entered[:2] == frame[:2]
            assert frame[2] == (entered[2] if event["flags"] & EventFlag.SELF else 0)
    assert open_frames == []
    assert np.all(np.diff(events["time"].astype(np.int64)) >= 0)


@pytest.mark.parametrize("options", WAYS)
@pytest.mark.parametrize("plan_name", ["plan", "caller_plan"])
def test_state_and_result_tell_where_a_future_is(
    turns: Turns, plan_name: str, options: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    plan: Plan = request.getfixturevalue(plan_name)
    with session_on(turns, plan, **options) as session:
        turns.run()
        events, _ = collect(session)
    known = EventFlag.SELF | EventFlag.STATE
    entries = of(plan, events, "turns", entry=True)
    assert Counter(zip(entries["state"].tolist(), entries["flags"].tolist(), strict=True)) == {
        (0, known): TASKS,
        (3, known): TASKS * (POLLS - 1),
    }
    exits = of(plan, events, "turns", entry=False)
    assert Counter(zip(exits["state"].tolist(), exits["flags"].tolist(), strict=True)) == {
        (3, known | EventFlag.RESULT | EventFlag.PENDING): TASKS * (POLLS - 1),
        (1, known | EventFlag.RESULT): TASKS,
    }
    # A future without a state byte: its result is in rax.
    assert Counter(of(plan, events, "yield", entry=False)["flags"].tolist()) == {
        EventFlag.RESULT | EventFlag.PENDING: YIELD_POLLS // 2,
        EventFlag.RESULT: YIELD_POLLS // 2,
    }
    assert len(np.unique(of(plan, events, "turns", entry=True)["self"])) == TASKS


def test_an_unreadable_state_is_unknown_and_not_zero(turns: Turns, turns_binary: Binary) -> None:
    """An offset beyond user memory: the read faults."""
    functions = tuple(replace(f, state_offset=0x7FFFFFFF) for f in turns_binary.functions if f.name == "turns")
    plan = make_plan([replace(turns_binary, functions=functions)], exit_mode=ExitMode.DEFAULT)
    with session_on(turns, plan) as session:
        turns.run()
        events, _ = collect(session)
    assert len(events) == 2 * TURN_POLLS
    assert set(events["flags"].tolist()) == {EventFlag.SELF}


@pytest.mark.parametrize("transport", ["ring", "perf"])
def test_what_does_not_fit_is_counted_exactly(turns: Turns, plan: Plan, transport: str) -> None:
    rounds = 7
    with session_on(turns, plan, transport=transport, buffer_size=64 << 10) as session:
        turns.run(f"go {rounds}")  # nobody reads meanwhile
        first = session.read()
        turns.run()
        events, losses = collect(session)
        events = np.concatenate([first.events, events])
        losses = first.losses + losses
        assert session.sent == (rounds + 1) * EVENTS
        assert session.received + session.lost == session.sent
        assert session.received == len(events)
        assert sum(loss.count for loss in losses) == session.lost > 0
        times = [loss.after for loss in losses if loss.after] + [loss.before for loss in losses if loss.before]
    for loss in losses:
        assert loss.after is not None
        assert loss.before is not None
        inside = (events["time"] > loss.after) & (events["time"] < loss.before) & (events["cpu"] == loss.cpu)
        assert not inside.any()
    assert times


def test_losses_are_exact_while_reading(turns: Turns, plan: Plan) -> None:
    with session_on(turns, plan, buffer_size=16 << 10) as session:
        turns.send("go 20")
        parts, losses = [], []
        for _ in range(100):
            batch = session.read()
            parts.append(batch.events)
            losses += batch.losses
            time.sleep(0.004)
        turns.answer()
        events, rest = collect(session)
        losses += rest
        assert session.sent == 20 * EVENTS
        assert sum(map(len, parts)) + len(events) == session.received
        assert sum(loss.count for loss in losses) == session.lost == session.sent - session.received
    batches = [part["time"].astype(np.int64) for part in [*parts, events] if len(part)]
    assert np.all(np.diff(np.concatenate(batches)) >= 0)


def test_another_instance_of_the_binary_sends_nothing(turns: Turns, turns_executable: Path, plan: Plan) -> None:
    with started(turns_executable) as other, session_on(turns, plan) as session:
        assert other.run() == (TURN_POLLS, YIELD_POLLS)
        events, _ = collect(session)
        assert session.sent == len(events) == 0


def test_two_processes_of_one_binary(turns: Turns, turns_executable: Path, plan: Plan) -> None:
    with (
        started(turns_executable) as other,
        ProbeSession(plan, [turns.process, other.process], executables=[turns.exe]) as session,
    ):
        session.attach()
        turns.run()
        other.run()
        events, _ = collect(session)
        assert {thread.pid for thread in session.threads()} == {turns.pid, other.pid}
    assert Counter(events["tid"].tolist()) == {turns.pid: EVENTS, other.pid: EVENTS}


@pytest.mark.parametrize("options", WAYS)
def test_detaching_restores_the_code(turns: Turns, turns_binary: Binary, plan: Plan, options: dict[str, Any]) -> None:
    def code(function: PollFunction) -> bytes:
        with Path(f"/proc/{turns.pid}/mem").open("rb") as memory:
            memory.seek(turns.process.load_bias + function.address)
            return memory.read(function.size)

    on_disk = Path(turns_binary.path).read_bytes()
    original = [on_disk[f.offset : f.offset + f.size] for f in turns_binary.functions]
    with session_on(turns, plan, **options):
        turns.run()
        patched = [code(f) for f in turns_binary.functions]
        assert all(before[0] != after[0] == 0xCC for before, after in zip(original, patched, strict=True))
    turns.run()  # pages are restored when their breakpoint is met, or at once
    assert [code(f) for f in turns_binary.functions] == original


def number_of(plan: Plan, name: str) -> int:
    return next(number for number, function in enumerate(plan.functions) if function.name == name)


@pytest.mark.parametrize("options", WAYS)
def test_functions_come_and_go_and_the_others_miss_nothing(
    turns: Turns, turns_binary: Binary, plan: Plan, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the program runs on: the counts are its own, each hit is there once, and what left is whole again."""
    switch = PollProgram.switch_link

    def switch_slowly(program: PollProgram, link: int, is_on: bool) -> None:
        switch(program, link, is_on)
        time.sleep(0.005 if is_on else 0)  # for which two links are on

    monkeypatch.setattr(PollProgram, "switch_link", switch_slowly)
    gaps, parts = [], list[Batch]()
    gone = number_of(plan, "yield")

    def code(function: PollFunction) -> bytes:
        with Path(f"/proc/{turns.pid}/mem").open("rb") as memory:
            memory.seek(turns.process.load_bias + function.address)
            return memory.read(function.size)

    on_disk = Path(turns_binary.path).read_bytes()
    whole = {f.name: on_disk[f.offset : f.offset + f.size] for f in turns_binary.functions}
    with session_on(turns, plan, **options) as session:
        work = Work(turns)
        for _ in range(4):
            began = session.set_active(plan.groups, frozenset({gone}))
            parts += read_until(session, lambda: code(plan.functions[gone]) == whole["yield"])
            assert code(plan.functions[gone]) == whole["yield"]
            assert code(plan.functions[number_of(plan, "turns")]) != whole["turns"]
            gaps.append((began, session.set_active(plan.groups)))
            parts += read_for(session, 0.05)
        rounds = end_while_read(work, session, parts)
        assert session.received + session.lost == session.sent
        assert session.received == sum(len(part.events) for part in parts)
    events = np.concatenate([part.events for part in parts])
    assert not any(part.losses for part in parts)
    for entry in (True, False):
        assert len(of(plan, events, "turns", entry=entry)) == rounds * TURN_POLLS
    yields = of(plan, events, "yield", entry=True)
    assert 0 < len(yields) < rounds * YIELD_POLLS
    for begin, end in gaps:
        assert not np.any((yields["time"] > begin) & (yields["time"] < end))
    assert not np.any(events["flags"] & ~np.uint8(15)), "marks of ours are for nobody else"
    assert {name: code(function) for name, function in zip(whole, turns_binary.functions, strict=True)} == whole


@pytest.mark.parametrize("options", WAYS)
def test_exits_come_and_go_and_the_entries_stay(turns: Turns, plan: Plan, options: dict[str, Any]) -> None:
    """While the program runs on: every entry is there, and every exit but for those in the time without.  What an exit
    tells of its future is of the call that it ends, never of one that ended unseen at the same place."""
    gaps, parts = [], list[Batch]()
    blind = number_of(plan, "turns")
    function = plan.functions[blind]

    def is_probed() -> list[bool]:
        """At its entry, and at its exits."""
        with Path(f"/proc/{turns.pid}/mem").open("rb") as memory:
            bias = turns.process.load_bias + function.address - function.offset
            places = [function.offset, *(site.offset for site in function.exits)]
            return [memory.seek(bias + place) >= 0 and memory.read(1) == b"\xcc" for place in places]

    exits = [True] * len(function.exits)
    without = [True, *(not one for one in exits)]
    with session_on(turns, plan, **options) as session:
        work = Work(turns)
        for _ in range(4):
            began = session.set_active(plan.groups, frozenset(), frozenset({blind}))
            parts += read_until(session, lambda: is_probed() == without)
            assert is_probed() == without
            gaps.append((began, session.set_active(plan.groups)))
            parts += read_for(session, 0.05)
            assert is_probed() == [True, *exits]
        rounds = end_while_read(work, session, parts)
        assert session.received + session.lost == session.sent
    assert not any(part.losses for part in parts)
    events = np.concatenate([part.events for part in parts])
    for entry in (True, False):
        assert len(of(plan, events, "yield", entry=entry)) == rounds * YIELD_POLLS
    assert len(of(plan, events, "turns", entry=True)) == rounds * TURN_POLLS
    left = of(plan, events, "turns", entry=False)
    assert 0 < len(left) < rounds * TURN_POLLS
    for begin, end in gaps:
        assert not np.any((left["time"] > begin) & (left["time"] < end))
    mine = np.concatenate([of(plan, events, "turns", entry=True), left])
    mine = mine[np.argsort(mine["time"], kind="stable")]
    enters = np.isin(mine["probe"], [probe.id for probe in plan.probes if probe.enters == blind])
    known = (mine["flags"] & EventFlag.SELF) != 0
    at = np.flatnonzero(~enters)
    assert np.all(enters[at - 1]), "an exit is behind its entry"
    agrees = mine["self"][at] == mine["self"][at - 1]
    assert np.all(agrees | ~known[at])
    whole = np.ones(len(at), np.bool_)
    for begin, end in gaps:  # what was under way when they came back is told of no future
        whole &= ~((mine["time"][at - 1] < end) & (mine["time"][at] > begin))
    assert np.all(known[at][whole])
    assert whole.any()
    assert np.count_nonzero(~whole) <= len(gaps)


def test_an_exit_without_probe_is_not_waited_for(turns: Turns, plan: Plan) -> None:
    """Nothing is remembered of calls whose exits are not probed, also when the function was away in between."""
    blind = frozenset({number_of(plan, "turns")})
    with session_on(turns, plan) as session:
        turns.run()
        session.set_active(plan.groups, frozenset(), blind)
        session.set_active(plan.groups, blind)
        turns.run()
        session.set_active(plan.groups, frozenset(), blind)
        turns.run()
        assert under_way(session) == 0
        before = session.read().events
        session.set_active(plan.groups)
        turns.run()
        events, losses = collect(session)
    assert not losses
    turn = [len(of(plan, before, "turns", entry=entry)) for entry in (True, False)]
    assert turn == [2 * TURN_POLLS, TURN_POLLS]
    exits = of(plan, events, "turns", entry=False)
    assert len(exits) == TURN_POLLS
    assert np.all(exits["flags"] & EventFlag.SELF)
    assert np.all(exits["flags"] & EventFlag.RESULT)


def test_many_links_become_one(turns: Turns, plan: Plan) -> None:
    """Functions that come back one by one do not leave a link each: a link is slow to close."""
    with session_on(turns, plan) as session:
        before = links_of_ours()
        everything, one_by_one = frozenset(range(len(plan.functions))), range(20)
        for number in one_by_one:
            some = frozenset({number % len(everything)})
            session.set_active(plan.groups, some)
            session.set_active(plan.groups)
        time.sleep(0.5)
        assert 0 < before <= links_of_ours() <= before + 10
        turns.run()
        events, losses = collect(session)
    assert not losses
    assert len(events) == EVENTS


def read_for(session: ProbeSession, seconds: float) -> list[Batch]:
    until, batches = time.monotonic() + seconds, []
    while time.monotonic() < until:
        batches.append(session.read())
        time.sleep(0.005)
    return batches


def read_until(session: ProbeSession, is_done: Callable[[], bool]) -> list[Batch]:
    """A tenth of a second, and on until the kernel has closed a link, which takes it longer now and then."""
    batches = read_for(session, 0.1)
    until = time.monotonic() + 10
    while not is_done() and time.monotonic() < until:
        batches += read_for(session, 0.01)
    return batches


def end_while_read(work: Work, session: ProbeSession, parts: list[Batch]) -> int:
    """How many rounds it worked; what came until then, and with the end of the session, is in `parts` then."""
    work.end()
    while work.thread.is_alive():
        parts += read_for(session, 0.01)
    parts += [session.read(), session.detach()]
    assert (work.polls, work.yields) == (work.rounds * TURN_POLLS, work.rounds * YIELD_POLLS)
    return work.rounds


class Work:
    """The program works round by round, on a thread that waits for its answers, until it is told to end."""

    def __init__(self, turns: Turns) -> None:
        self.rounds = self.polls = self.yields = 0
        self._turns, self._ended = turns, threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def end(self) -> None:
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            polls, yields = self._turns.run("go 5")
            self.rounds, self.polls, self.yields = self.rounds + 5, self.polls + polls, self.yields + yields


def under_way(session: ProbeSession) -> int:
    """Functions that are remembered for their exits."""
    frames = b""
    for name, key_size, places in (("near_frames", 4, NEAR_FRAMES), ("far_frames", 12, 1)):
        table = session._program.bpf.map(name, key_size, places * FRAME.itemsize)
        frames += b"".join(table.lookup(key) or b"" for key in table)
    return int(np.count_nonzero(np.frombuffer(frames, FRAME)["sp"]))


def links_of_ours() -> int:
    names = [Path(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
    return sum("bpf" in str(name.readlink()) and "link" in str(name.readlink()) for name in names if name.is_symlink())


def test_the_first_of_two_processes_ends(turns: Turns, turns_executable: Path, plan: Plan) -> None:
    """What is left of the second can still be detached and attached, though the first gave the file's name."""
    with (
        started(turns_executable) as first,
        ProbeSession(plan, [first.process, turns.process], executables=[first.exe]) as session,
    ):
        session.attach()
        first.running.kill()
        first.running.wait()
        session.set_active(frozenset())
        session.set_active(frozenset(Group))
        turns.run()
        events, _ = collect(session)
        assert len(events) == EVENTS


def test_groups_come_and_go(turns: Turns, turns_binary: Binary) -> None:
    """Futures detached and attached again: their frames of before are not taken for new ones."""
    plan = make_plan([turns_binary], exit_mode=ExitMode.DEFAULT)
    with session_on(turns, plan) as session:
        turns.run()
        session.set_active(frozenset())
        assert session.active == frozenset()
        turns.run()
        session.set_active(frozenset({Group.FUTURES}))
        turns.run()
        collect(session)
        assert session.sent == 2 * EVENTS


def test_a_group_leaves_at_one_moment(turns: Turns, plan: Plan) -> None:
    """Neither entries without exits nor exits without entries while the links are being closed."""
    with session_on(turns, plan) as session:
        turns.send("go 40")
        time.sleep(0.02)
        changed = session.set_active(frozenset())
        batch = session.read()
        turns.answer()
        events, _ = collect(session)
        events = np.concatenate([batch.events, events])
    assert 0 < len(events) < 40 * EVENTS
    # A hit under way at that moment may come a little later, and one frame of each function may be cut.
    assert int(events["time"].max()) < changed + 1_000_000
    for name in ("turns", "yield"):
        entries, exits = (len(of(plan, events, name, entry=entry)) for entry in (True, False))
        assert 0 <= entries - exits <= 1


def test_a_panic_unwinds_through_probed_frames(turns: Turns, plan: Plan) -> None:
    with session_on(turns, plan) as session:
        for _ in range(11):
            turns.send("panic")
            assert turns.answer() == "caught true"
        assert turns.run() == (TURN_POLLS, YIELD_POLLS)
        events, _ = collect(session)
    assert len(of(plan, events, "holds", entry=True)) == 11
    assert len(of(plan, events, "holds", entry=False)) == 0


def test_a_function_that_is_not_as_planned_is_refused(turns: Turns, turns_binary: Binary) -> None:
    """Exits that are no exit instructions, as a stale cache could claim."""
    functions = tuple(
        replace(f, exits=(replace(f.exits[0], offset=f.offset + 1),)) if f.name == "yield" else f
        for f in turns_binary.functions
    )
    plan = make_plan([replace(turns_binary, functions=functions)], exit_mode=ExitMode.DEFAULT)
    with session_on(turns, plan) as session:
        assert [(refusal.name, "expected a return" in refusal.reason) for refusal in session.refusals] == [
            ("yield", True)
        ]
        assert turns.run() == (TURN_POLLS, YIELD_POLLS)
        collect(session)
        assert session.sent == 2 * TURN_POLLS


def test_what_the_kernel_refuses_is_found_by_halves(turns: Turns, turns_binary: Binary) -> None:
    """A link is all or nothing; one place in the middle of nowhere must cost only its own function."""
    yields = next(f for f in turns_binary.functions if f.name == "yield")
    code = Path(turns_binary.path).read_bytes()
    # Bytes that are no 64-bit instruction (06: push es), in the same executable segment.
    invalid = code.index(b"\x06", turns_binary.functions[0].offset & ~0xFFF)
    address = yields.address + invalid - yields.offset
    functions = (*turns_binary.functions, replace(yields, name="invalid", offset=invalid, address=address))
    plan = make_plan([replace(turns_binary, functions=functions)], exit_mode=ExitMode.TASK)
    with session_on(turns, plan) as session:
        assert [refusal.name for refusal in session.refusals] == ["invalid"]
        assert "the kernel refused" in session.refusals[0].reason
        assert turns.run() == (TURN_POLLS, YIELD_POLLS)
        collect(session)
        assert session.sent == TURN_POLLS + YIELD_POLLS


def test_too_many_probes_for_bcc(turns: Turns, plan: Plan) -> None:
    probe = plan.probes[0]
    many = replace(plan, probes=tuple(replace(probe, id=number) for number in range(1_001)))
    with (
        ProbeSession(many, [turns.process], executables=[turns.exe], by_bcc=True) as session,
        pytest.raises(NotTraceable, match="too many"),
    ):
        session.attach()


def test_bcc_cannot_attach_before_the_program_is_loaded(turns: Turns, plan: Plan) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as waiting:
        process = replace(turns.process, pid=waiting.pid)
        with (
            ProbeSession(plan, [process], executables=[turns.executable], by_bcc=True) as session,
            pytest.raises(NotTraceable, match="from its start"),
        ):
            session.attach()


def test_a_process_that_is_gone(turns: Turns, plan: Plan) -> None:
    process, exe, executable = turns.process, turns.exe, turns.executable
    turns.running.kill()
    turns.running.wait()
    with pytest.raises(NoSuchProcess):
        ProbeSession(plan, [process], executables=[exe])
    with ProbeSession(plan, [process], executables=[executable]) as session, pytest.raises(NoSuchProcess):
        session.attach()


def test_a_killed_tracer_leaves_the_target_as_it_was(turns: Turns, tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path\n"
        "from tests.kernel.turns import describe\n"
        "from tracer.model import ExitMode, Process\n"
        "from tracer.probe.plan import make_plan\n"
        "from tracer.probe.session import ProbeSession\n"
        "path, pid = Path(sys.argv[1]), int(sys.argv[2])\n"
        "plan = make_plan([describe(path)], exit_mode=ExitMode.DEFAULT)\n"
        "process = Process(pid, 0, 'turns', (), 'turns', 0, 0)\n"
        "session = ProbeSession(plan, [process], executables=[Path(f'/proc/{pid}/exe')])\n"
        "session.attach(); print('attached', flush=True); time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(turns.executable), str(turns.pid)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root, env=os.environ) as tracer:
        assert tracer.stdout is not None
        assert tracer.stdout.readline() == "attached\n"
        turns.run()
        tracer.send_signal(signal.SIGKILL)
    assert turns.run() == (TURN_POLLS, YIELD_POLLS)


def test_attaching_is_quick(turns: Turns, plan: Plan) -> None:
    assert {probe.site for probe in plan.probes} == {Site.ENTRY, Site.EXIT}
    with ProbeSession(plan, [turns.process], executables=[turns.exe]) as session:
        before = time.monotonic_ns()
        done = session.attach()
        assert done <= time.monotonic_ns()
        assert done - before < 500_000_000
