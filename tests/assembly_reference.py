"""Assembly once more, one event at a time, plain and slow: the judge of the vectorised one.

It reads like the rules: a stack for each thread, a dictionary of the latest poll of each future.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from tracer.model import (
    CHAIN_RECORD,
    SPAWN_RECORD,
    SWITCH_IN_RECORD,
    SWITCH_OUT_RECORD,
    TASK_ID_RECORD,
    THREAD_OVER,
    UNKNOWN_SYSCALL,
    WAKING_RECORD,
    CaptureEnd,
    EndKind,
    EventFlag,
    FunctionKind,
    Group,
    HeaderTest,
    Loss,
    OffCpuFlag,
    Outcome,
    PlanChange,
    PollFlag,
    Probe,
    ProcessEnd,
    Recording,
    SpawnStep,
    Tally,
    Thread,
    WaitFlag,
    WakeOrigin,
    WakingContext,
)

NOWHERE = 2**64 - 1
NEVER = 2**63 - 1
SURE = (Outcome.FINISHED, Outcome.PANICKED, Outcome.CANCELLED)


@dataclass(eq=False)
class Poll:
    function: int
    self: int | None
    process: int
    tid: int
    sp: int
    start: int
    flags: int
    state: int
    depth: int
    task: int
    parent: int
    instance: int = 0
    end: int = 0
    end_latest: int = 0
    state_after: int = 255
    over: bool = False
    jumped: bool = False
    result: str = "unknown"
    gap: bool = False
    cap: int | None = None
    id: int = 0
    places: int = 0
    runnable: int = 0
    blocked: int = 0
    clock: tuple[int, int] | None = None
    blind: bool = False  # its exit may be unseen
    inside: bool = False  # in the memory of its task
    leaving: bool = False  # its function is not probed any more: it ends with what is open in it
    since: int = 0  # from when on it is certainly the same future
    bound: int = -(2**63)  # the same of the one around it

    def row(self) -> tuple[int, ...]:
        return (
            self.start,
            self.end,
            self.end_latest,
            self.self or 0,
            self.instance,
            self.task,
            self.parent,
            self.function,
            self.tid,
            self.depth,
            self.flags,
            self.state,
            self.state_after,
            self.runnable,
            self.blocked,
        )


@dataclass(eq=False)
class Task:
    """A runtime's task; leaving: nothing more will come of it but the ends of its open polls."""

    number: int
    id: int
    header: int
    first: int
    last: int
    function: int
    tid: int
    process: int
    busy: int = 0
    longest: int = 0
    waiting: int = 0
    polls: int = 0
    outcome: Outcome = Outcome.UNKNOWN
    latest: int = -(2**63)
    open: int = 0
    forgotten: bool = False
    left: bool = False
    replaced: bool = False
    ended: bool = False
    says: int = 0
    over: bool = False
    dropped: int = -(2**63)
    lost_until: int = -(2**63)
    known_from: int = -(2**63)
    birth: tuple[int, ...] = (0,) * 6

    def row(self) -> tuple[int, ...]:
        until = max(self.last, self.dropped)
        return (
            *(self.number, self.id, self.header, self.first, self.last, until, self.busy, self.longest, self.waiting),
            *(self.polls, self.function, self.tid, self.process, int(self.outcome), 0, *self.birth),
        )


@dataclass
class Clock:
    """One thread's: known: from when on; off: how it left its CPU, with the time first; early, woken: its latest wake
    before, its first one after, as (time, by, flags); ran: for how long it had when it got a CPU, -1: not known."""

    known: int
    runnable: int = 0
    blocked: int = 0
    got: int = -(2**63)
    ran: int = -1
    last: int = -(2**63)
    off: tuple[int, ...] | None = None
    early: tuple[int, int, int] | None = None
    woken: tuple[int, int, int] | None = None


@dataclass
class Stack:
    since: dict[int, int]  # by function
    top: dict[int, int]
    process: int
    frames: list[Poll] = field(default_factory=list)
    last: int = -(2**63)
    jump: Poll | None = None


def passes(test: HeaderTest | None, byte: int | None) -> bool:
    return test is not None and byte is not None and byte & test.mask == test.value


class Reference:
    def __init__(self, recording: Recording) -> None:
        plan = recording.plan
        self.probes = plan.probes
        self.is_task = [f.kind is FunctionKind.TASK for f in plan.functions]
        names = [f.name.removeprefix("task ") for f in plan.functions]
        self.future = list(zip(plan.function_binary, names, strict=True))
        self.has_exit = [any(p.leaves == i for p in plan.probes) for i in range(len(plan.functions))]
        self.aborted = [f.aborted for f in plan.functions]
        self.ends = plan.ends
        self.binaries = plan.function_binary
        self.group = [Group.TASKS if task else Group.FUTURES for task in self.is_task]
        self.pids = [p.pid for p in recording.processes]
        self.start = recording.start
        self.active = set(Group)
        self.group_since = dict.fromkeys(Group, recording.start)
        self.probed = set(range(len(plan.functions)))
        self.entries_only: set[int] = set()
        self.since = dict.fromkeys(self.probed, recording.start)
        self.lossy = dict.fromkeys(self.probed, False)
        self.lost_until = -(2**63)
        self.losses: list[tuple[int, int]] = []
        self.under_way: set[int] = set()
        self.stacks: dict[int, Stack] = {}
        self.latest: dict[tuple[int, int, int], Poll] = {}
        self.records: dict[int, tuple[int, int, int]] = {}
        self.chains: dict[int, tuple[int, int, int]] = {}
        self.calls: dict[int, tuple[int, int, int]] = {}
        self.births: dict[tuple[int, int], tuple[int, ...]] = {}
        self.wakes: dict[tuple[int, int], tuple[int, ...]] = {}
        self.pollers: set[int] = set()
        self.clocks: dict[int, Clock] = {}
        self.clocks_since = recording.start if plan.scheduling else NEVER
        self.off_cpu: list[tuple[int, ...]] = []
        self.plan = plan
        self.tasks: dict[int, Task] = {}
        self.at_header: dict[tuple[int, int], Task] = {}
        self.open: dict[int, int] = {}  # since, by instance
        self.polls: list[tuple[int, ...]] = []
        self.waits: list[tuple[int, ...]] = []
        self.count: dict[str, int] = dict.fromkeys(Tally.__dataclass_fields__, 0)

    # ------------------------------------------------------------ items

    def step(self, item: Any) -> None:
        if isinstance(item, np.ndarray):
            for event in item:
                self._event(*(int(value) for value in event))
        elif isinstance(item, PlanChange):
            self._lose_before(item.time, item.time)
            self._plan_change(item)
        elif isinstance(item, ProcessEnd):
            self._lose_before(item.time, item.time)
            if item.pid in self.pids:
                process = self.pids.index(item.pid)
                self._remember_open()
                cut = self._cut(lambda poll: poll.process == process, item.time)
                self._still_off(lambda tid: self._process(tid) == process, item.time)
                self._end_tasks(lambda task: task.process == process, cut)
                self._forget(lambda poll: poll.process == process, item.time)
                self.births = {key: birth for key, birth in self.births.items() if key[0] != process}
                for key in [key for key in self.wakes if key[0] == process]:
                    self._leave_unanswered(*key)
        elif isinstance(item, Loss):
            now = max([self.start, *(stack.last for stack in self.stacks.values())])
            after = -(2**63) if item.after is None else item.after
            until = max(now, after) if item.before is None else item.before
            self.losses = sorted({*self.losses, (after, until), (max(after, until - 1), until)})
            if item.after is None:
                self._lose_before(after + 1)
        elif len(self.pids) > 1:
            for thread in item:
                self._learn(thread)

    def _lose_before(self, behind: int, time: int = NEVER) -> None:
        """What was lost up to there comes to bear: all that was open then may have ended since."""
        while self.losses and self.losses[0][0] < behind:
            after, until = self.losses.pop(0)
            self._cut(
                lambda poll, until=until: poll.start < until,
                min(after, time),
                goes_on=lambda poll, until=until: poll.start >= until,
                gap=lambda poll: self.is_task[poll.function] and poll.id != 0,
                counted="unwound",
            )
            self.lossy = dict.fromkeys(self.lossy, True)
            self.lost_until = max(self.lost_until, until)
            self._restart_clocks(self.lost_until)

    def finish(self, end: CaptureEnd | None) -> None:
        time = end.time if end else max([self.start, *(s.last for s in self.stacks.values())])
        self._lose_before(NEVER, time)
        self._remember_open()
        self._end_tasks(lambda task: True, self._cut(lambda poll: True, time))
        self._still_off(lambda tid: True, time)
        self._forget(lambda poll: True, time)
        for key in list(self.wakes):
            self._leave_unanswered(*key)

    def tally(self) -> Tally:
        return Tally(**{**self.count, "polls": len(self.polls), "waits": len(self.waits)})

    def _stack(self, tid: int) -> Stack:
        if tid not in self.stacks:
            self.stacks[tid] = Stack(
                dict(self.since), dict.fromkeys(self.since, 0), 0 if len(self.pids) <= 1 else 0xFFFF
            )
        return self.stacks[tid]

    def _learn(self, thread: Thread) -> None:
        stack = self._stack(thread.tid)
        if thread.pid in self.pids:
            stack.process = self.pids.index(thread.pid)

    # ------------------------------------------------------------ events

    def _event(
        self, time: int, sp: int, self_: int, tid: int, sequence: int, probe: int, cpu: int, state: int, flags: int
    ) -> None:
        self._lose_before(time)
        self.count["events"] += 1
        if probe in (SWITCH_OUT_RECORD, SWITCH_IN_RECORD, WAKING_RECORD):
            self.count["switches"] += 1
            if self.clocks_since != NEVER:
                self._switch(probe, min(time, NEVER), sp, self_, tid, cpu, state, flags)
            return
        call = self.calls.pop(tid, (-1, 0, 0))
        if probe == SPAWN_RECORD:
            self.count["spawn_calls"] += 1
            self.calls[tid] = time, self_, sp
            return
        chain = self.chains.pop(tid, (-1, 0, 0))
        if probe == CHAIN_RECORD:
            self.count["chains"] += 1
            self.chains[tid] = time, self_, sp
            return
        places = chain[2] if chain[:2] == (time, self_) else 0
        if probe == TASK_ID_RECORD:
            self.count["task_ids"] += 1
            self.records[tid] = time, self_, sp
            return
        told: int | str | None = None
        if flags & EventFlag.TASK_ID:
            told = "same"
            if flags & EventFlag.NEW_TASK_ID:
                record = self.records.get(tid, (-1, 0, 0))
                told = record[2] if record[:2] == (time, self_) else 0
        known = self.probes[probe] if probe < len(self.probes) else None
        if known is not None and known.ends is not None and sp != NOWHERE:
            self.count["ends"] += 1
            if self.ends[known.ends].point.kind is EndKind.CAUGHT:
                distance = self_ - (self_ >> 63 << 64) if flags & EventFlag.SELF else None
                by_runtime = distance not in self.ends[known.ends].point.others
                self._catch(self._stack(tid), sp, time, by_runtime=by_runtime)
                return
            self._mark(known.ends, time, self_, tid, state, flags)
            return
        if known is not None and self._makes(known) and sp != NOWHERE:
            self.count["spawns"] += 1
            if flags & EventFlag.SELF:
                self._made(self._stack(tid), time, self_, tid, sp, call[2] if call[:2] == (time, self_) else 0)
            return
        if known is not None and known.wakes is not None and sp != NOWHERE:
            self.count["wakes"] += 1
            if flags & EventFlag.SELF and flags & EventFlag.STATE:
                test = self.plan.wakes[known.wakes].point.effective
                self._woken(self._stack(tid), time, self_, tid, sp, passes(test, state), flags)
            return
        if known is None or sp == NOWHERE or (known.enters is None and known.leaves is None):
            self.count["unmatched_exits"] += 1
            return
        stack = self._stack(tid)
        now = self._now(stack, time)
        own = self_ if flags & EventFlag.SELF else None
        if known.enters is not None:
            entry_state = state if flags & EventFlag.STATE else None
            places = places or self._settled(known.enters, entry_state)
            self._entry(stack, tid, known.enters, own, sp, now, entry_state, told=told, places=places)
            self._seen(stack, sp, now)
        if known.leaves is not None:
            left = known.leaves
            if left in self.probed and sp > stack.top[left] and not self.lossy[left]:
                start = min(now, stack.since[left])
                self.under_way.add(known.leaves)
                self._entry(stack, tid, known.leaves, own, sp, now, None, start)
                self.count["open_at_start"] += 1
                stack.last = now
            matched = self._exit(stack, known.leaves, sp, now, known.is_tail, state, flags)
            self._seen(stack, sp, now)
            if not matched:
                self.count["unmatched_exits"] += 1

    def _now(self, stack: Stack, time: int) -> int:
        now = max(min(time, NEVER), stack.last)
        for function in stack.since:
            stack.since[function] = min(stack.since[function], now)
        return now

    def _seen(self, stack: Stack, sp: int, now: int) -> None:
        stack.last = now
        for function in stack.top:
            stack.top[function] = max(stack.top[function], sp)

    def _entry(
        self,
        stack: Stack,
        tid: int,
        function: int,
        own: int | None,
        sp: int,
        now: int,
        state: int | None,
        start: int | None = None,
        told: int | str | None = None,
        places: int = 0,
    ) -> None:
        if self.is_task[function] and not self.plan.functions[function].is_job:
            self.pollers.add(tid)
        jump, stack.jump = stack.jump, None
        self._gone(stack, sp - 1, now, start)
        if stack.frames and stack.frames[-1].sp == sp:
            chain = [poll.function for poll in stack.frames if poll.sp == sp]
            task = self.is_task[function] or self.is_task[stack.frames[-1].function]
            if stack.frames[-1] is not jump or task or function in chain:
                self._gone(stack, sp, now)
        test, aborted = self.aborted[function], False
        if self.is_task[function]:
            aborted = state is not None and test is not None and state & test.mask == test.value
            state = None
        flags = PollFlag.STATE if state is not None else 0
        if start is not None:
            flags |= PollFlag.START_UNKNOWN
        if aborted:
            flags |= PollFlag.ABORTED
        around = stack.frames[-1] if stack.frames else None
        poll = Poll(
            function,
            own,
            stack.process,
            tid,
            sp,
            now if start is None else start,
            int(flags),
            state or 0,
            len(stack.frames),
            self._task(stack),
            0 if around is None or self.is_task[around.function] else around.instance,
        )
        poll.places, poll.blind = places, not self._sees_exits(function)
        poll.inside = self._is_inside(stack, poll)
        poll.bound = around.since if around is not None else poll.bound
        poll.since = poll.start if own is not None else poll.bound
        if start is None:
            self._read_clock(poll)
        if own is not None:
            woken: tuple[int, ...] = ()
            if self.is_task[function] and start is None:
                woken = self.wakes.pop((stack.process, own), ())
            self._identify(poll, state, told if self.is_task[function] else None, woken)
            if self.is_task[function]:
                self.tasks[poll.instance].open += 1
        stack.frames.append(poll)

    def _is_inside(self, stack: Stack, poll: Poll) -> bool:
        task = next((one for one in reversed(stack.frames) if self.is_task[one.function]), None)
        layout = self.plan.functions[task.function].layout if task is not None else None
        if task is None or not task.self or poll.self is None or layout is None:
            return False
        return task.self <= poll.self < task.self + self.plan.layouts[layout].size

    def _task(self, stack: Stack) -> int:
        """Of the innermost task frame; frames that outlived their task frame still know it."""
        if not stack.frames:
            return 0
        around = stack.frames[-1]
        return around.instance if self.is_task[around.function] else around.task

    def _exit(self, stack: Stack, function: int, sp: int, now: int, is_tail: bool, state: int, flags: int) -> bool:
        stack.jump = None
        self._gone(stack, sp - 1, now)
        if not stack.frames or stack.frames[-1].sp != sp:
            return False
        poll = stack.frames[-1]
        if poll.function != function or poll.jumped:
            self._gone(stack, sp, now)
            return False
        after = state if flags & EventFlag.STATE and not self.is_task[function] else 255
        if is_tail:
            poll.jumped, poll.state_after = True, after
            poll.flags |= PollFlag.TAIL
            stack.jump = poll
            return True
        poll.state_after = after
        while stack.frames and stack.frames[-1].sp == sp and not stack.frames[-1].leaving:
            poll = stack.frames.pop()
            if flags & EventFlag.RESULT:
                poll.flags &= ~PollFlag.PENDING
                poll.flags |= PollFlag.RESULT
                poll.flags |= PollFlag.PENDING if flags & EventFlag.PENDING else 0
                self._give_result(stack, poll)
            self._over(poll, now, now, stack.last, returned=True)
        self._end_leaving(stack, now)
        return True

    def _give_result(self, stack: Stack, poll: Poll) -> None:
        """A task's own future, which lies inside the task, has the result of the task's poll."""
        around = self._own_task(stack, poll)
        if around is not None:
            around.flags &= ~PollFlag.PENDING
            around.flags |= PollFlag.RESULT | (poll.flags & PollFlag.PENDING)

    def _own_task(self, stack: Stack, poll: Poll) -> Poll | None:
        """The poll of the task whose own future's poll this is."""
        around = stack.frames[-1] if stack.frames else None
        if around is None or not self.is_task[around.function] or self.is_task[poll.function]:
            return None
        if around.self is None or poll.self is None or not 0 < poll.self - around.self < 128:
            return None
        return around if self.future[around.function] == self.future[poll.function] else None

    def _sees_exits(self, function: int) -> bool:
        return self.has_exit[function] and function in self.probed and function not in self.entries_only

    def _gone(self, stack: Stack, sp: int, now: int, since: int | None = None) -> None:
        """Frames up to this stack pointer were left unseen; since: by then another one was under way."""
        below: Poll | None = None
        flag = 0
        while stack.frames and stack.frames[-1].sp <= sp:
            poll = stack.frames.pop()
            if below is None or below.sp != poll.sp:
                flag = PollFlag.INFERRED_END if poll.blind else PollFlag.UNWOUND
                flag = 0 if poll.jumped else flag
            below = poll
            poll.flags |= flag
            if flag == PollFlag.UNWOUND and poll.start >= self.lost_until:
                panicked = poll if self.is_task[poll.function] else self._own_task(stack, poll)
                if panicked is not None:
                    panicked.flags |= PollFlag.PANICKED
            seen = stack.last
            if since is not None and poll.blind and not poll.leaving and poll.start < since:
                seen = min(seen, since)
            self._over(poll, seen, now, seen)
            self._end_leaving(stack, stack.last)

    def _end_leaving(self, stack: Stack, time: int) -> None:
        """What nobody saw the end of ends with the last one that was in it."""
        while stack.frames and stack.frames[-1].leaving:
            poll = stack.frames.pop()
            poll.flags |= PollFlag.END_UNKNOWN
            poll.cap = None
            self._over(poll, time, time, stack.last)

    def _over(self, poll: Poll, end: int, latest: int, seen: int, *, returned: bool = False) -> None:
        cap = poll.cap if poll.cap is not None else 2**63 - 1
        poll.end = max(min(end, cap), seen)
        poll.end_latest = max(min(latest, cap), poll.end)
        poll.over, poll.gap = True, poll.function not in self.probed or poll.leaving
        if poll.flags & (PollFlag.ABORTED | PollFlag.PANICKED):
            poll.result = "finished"
        elif poll.flags & PollFlag.RESULT:
            poll.result = "pending" if poll.flags & PollFlag.PENDING else "finished"
        elif poll.flags & PollFlag.UNWOUND and poll.start >= self.lost_until:
            poll.result = "finished"
        elif not poll.flags & PollFlag.TAIL and poll.state_after != 255:
            poll.result = "pending" if poll.state_after >= 3 else "finished" if poll.state_after else "unknown"
        self.count["unwound"] += bool(poll.flags & PollFlag.UNWOUND)
        clock = self._clock(poll.tid)
        if returned and clock.off is None:
            self._schedule(poll, clock, clock.runnable, clock.blocked)
        self._closed(poll)

    def _closed(self, poll: Poll) -> None:
        poll.flags = int(poll.flags)
        self.polls.append(poll.row())
        task = self.tasks.get(poll.instance)
        if task is None or not self.is_task[poll.function]:
            return
        task.open -= 1
        task.polls += 1
        task.busy += poll.end - poll.start
        task.longest = max(task.longest, poll.end - poll.start)
        task.last = max(task.last, poll.end)
        is_ready = poll.flags & PollFlag.RESULT and not poll.flags & PollFlag.PENDING
        if is_ready or task.outcome is Outcome.FINISHED:
            task.outcome = Outcome.FINISHED
        elif (poll.flags & PollFlag.PANICKED and not poll.flags & PollFlag.ABORTED) or task.outcome is Outcome.PANICKED:
            task.outcome = Outcome.PANICKED
        elif poll.flags & PollFlag.ABORTED or task.outcome is Outcome.CANCELLED:
            task.outcome = Outcome.CANCELLED
        else:
            result = Outcome.WAITING if poll.flags & PollFlag.RESULT else Outcome.UNKNOWN
            if poll.start > task.latest or (poll.start == task.latest and result > task.outcome):
                task.outcome = result
        task.over |= task.outcome in SURE
        task.latest = max(task.latest, poll.start)
        self._leave(task)

    # ------------------------------------------------------------ scheduling

    def _clock(self, tid: int) -> Clock:
        return self.clocks.setdefault(tid, Clock(self.clocks_since))

    def _process(self, tid: int) -> int:
        stack = self.stacks.get(tid)
        return 0 if len(self.pids) <= 1 else 0xFFFF if stack is None else stack.process

    def _switch(self, kind: int, time: int, sp: int, self_: int, tid: int, cpu: int, state: int, flags: int) -> None:
        clock = self._clock(tid)
        clock.last = time = max(time, clock.last)
        ran = self_ if flags & EventFlag.SELF and self_ < 2**63 else -1
        if kind == WAKING_RECORD:
            by = self_ % 2**32 if flags & EventFlag.SELF else 0
            wake = time, by, int(OffCpuFlag.BY_INTERRUPT) if state == WakingContext.INTERRUPT else 0
            if clock.off is None:
                clock.early = wake
            else:
                clock.woken = clock.woken or wake
        elif kind == SWITCH_OUT_RECORD:
            if clock.off is not None:
                clock.early = None
                self.count["unpaired_switches"] += 1
            if clock.off is not None or state == THREAD_OVER:
                clock.known = max(time, self.lost_until)
            number = sp - 2**64 if sp >= 2**63 else sp
            syscall = number if UNKNOWN_SYSCALL <= number < 2**15 else UNKNOWN_SYSCALL
            clock.off, clock.woken = (time, *self._innermost(tid), syscall, cpu, state, ran), None
        else:
            row = None if clock.off is None else self._off_row(tid, clock, time, cpu)
            if row is not None and row[1]:
                clock.blocked += row[1] - row[0]
                clock.runnable += time - row[1]
            else:
                clock.known = max(time, self.lost_until)
            if row is not None:
                self.off_cpu.append(row)
            clock.got, clock.ran, clock.off, clock.early, clock.woken = time, ran, None, None, None

    def _innermost(self, tid: int) -> tuple[int, int, int, int]:
        """(instance, task, function, flags)."""
        frames = self.stacks[tid].frames if tid in self.stacks else []
        around = [poll for poll in frames if poll.sp > 0 and not poll.blind]
        if not around:
            return 0, 0, 0, int(OffCpuFlag.MAYBE_IN_POLL) if any(poll.sp > 0 for poll in frames) else 0
        poll = around[-1]
        return (
            poll.instance,
            poll.instance if self.is_task[poll.function] else poll.task,
            poll.function,
            int(OffCpuFlag.IN_POLL),
        )

    def _off_row(
        self, tid: int, clock: Clock, end: int, cpu_after: int = 0, *, still: bool = False
    ) -> tuple[int, ...] | None:
        assert clock.off is not None
        start, instance, task, function, in_poll, syscall, cpu, state, ran = clock.off
        if state == THREAD_OVER or start < self.lost_until:
            return None
        wake = clock.woken or (None if still else clock.early)
        woken, by, flags = (0, 0, 0) if state == 0 or wake is None else wake
        woken = start if state == 0 else max(woken, start) if wake is not None else 0
        flags |= in_poll
        flags |= OffCpuFlag.END_UNKNOWN if still else 0
        since = min(max(clock.known, clock.got), start)
        is_whole = clock.known <= clock.got <= start and 0 <= clock.ran <= ran
        stolen = max(start - since - (ran - clock.ran), 0) if is_whole else -1
        how = syscall, cpu, state, int(flags), since, cpu_after, stolen
        return start, woken, end, instance, task, function, tid, by, 0, *how

    def _still_off(self, which: Any, time: int) -> None:
        for tid, clock in self.clocks.items():
            if which(tid):
                row = None if clock.off is None else self._off_row(tid, clock, max(time, clock.last), still=True)
                if row is not None:
                    self.off_cpu.append(row)
                clock.off = clock.woken = clock.early = None

    def _restart_clocks(self, time: int) -> None:
        if self.clocks_since != NEVER:
            self.clocks_since = max(self.clocks_since, time)
        for clock in self.clocks.values():
            clock.known = max(clock.known, time)
            clock.off = clock.early = clock.woken = None

    def _read_clock(self, poll: Poll) -> None:
        """At the poll's begin."""
        clock = self._clock(poll.tid)
        if clock.off is None:
            poll.clock = clock.runnable, clock.blocked

    def _schedule(self, poll: Poll, clock: Clock, runnable: int, blocked: int) -> None:
        """Tell the poll what its thread's clock had at its end."""
        if poll.clock is None or clock.known > poll.start or clock.got > poll.end or self.clocks_since == NEVER:
            return
        runnable, blocked = runnable - poll.clock[0], blocked - poll.clock[1]
        if runnable >= 0 and blocked >= 0 and runnable + blocked <= poll.end - poll.start:
            poll.runnable, poll.blocked = runnable, blocked
            poll.flags |= PollFlag.SCHEDULED

    def _schedule_cut(self, poll: Poll) -> None:
        clock, runnable, blocked = self._clock(poll.tid), 0, 0
        if clock.last > poll.end:
            return
        if clock.off is not None:
            row = self._off_row(poll.tid, clock, poll.end, still=True)
            if row is None:
                return
            woken = row[1] or poll.end
            runnable, blocked = poll.end - woken, woken - row[0]
        self._schedule(poll, clock, clock.runnable + runnable, clock.blocked + blocked)

    # ------------------------------------------------------------ instances

    def _identify(self, poll: Poll, state: int | None, told: int | str | None, woken: tuple[int, ...]) -> None:
        assert poll.self is not None
        is_task = self.is_task[poll.function]
        key = (poll.process, -1 if is_task else poll.function, poll.self)
        before = self.latest.get(key)
        self.latest[key] = poll
        suspended = state is not None and state >= 3
        forgotten = before is None or (before.over and (before.result == "finished" or before.gap))
        unseen_wait = suspended and forgotten and poll.function in self.probed
        unseen_wait = unseen_wait and poll.start >= self.since[poll.function] and not self.lossy[poll.function]
        overlaps = is_task or (before is not None and before.blind)
        another = before is None or before.function != poll.function or (before.over and before.result == "finished")
        looks_new = (
            before is None
            or state == 0
            or (before.over and before.gap)
            or (not (before.over and before.end <= poll.start) and not overlaps)
        )
        known_same = before is not None and not another and (told == "same" or (told and told == before.id))
        moved = (
            before is not None
            and self._goes_on(before, poll)
            and before.inside
            and not (suspended or is_task)
            and 0 != before.task != poll.task != 0
        )
        if before is None or another or moved or (not known_same and (looks_new or told is not None)):
            if before is not None:
                self._drop_replaced(before, poll.start)
            self.count["instances"] += 1
            poll.instance = self.count["instances"]
            poll.id = told if isinstance(told, int) else 0
            if is_task:
                self._begin_task(poll)
        else:
            poll.instance, poll.id = before.instance, before.id
            if not before.over:
                if not poll.flags & PollFlag.START_UNKNOWN and before.tid != poll.tid:
                    before.cap = poll.start
            elif self._goes_on(before, poll):
                flags = shown = 0
                if poll.flags & PollFlag.ABORTED:
                    flags = WaitFlag.CANCELLED
                for known in (state, before.state_after):
                    if known is not None and 3 <= known < 255 and not shown:
                        flags, shown = WaitFlag.STATE, known
                is_sure = suspended or known_same or is_task
                is_sure = is_sure or (before.result == "pending" and before.start >= poll.bound)
                poll.since = before.start if is_sure else poll.since
                is_sure &= suspended or known_same or before.result != "unknown"
                if not is_sure or before.end < self.lost_until:
                    flags |= WaitFlag.AMBIGUOUS
                woken = self._known_wake(before, poll.start, woken)
                self._wait(before.end, poll.start, poll, flags, shown, poll.places, woken)
        if unseen_wait:
            unsure = WaitFlag.AMBIGUOUS if poll.function in self.under_way else 0
            self._wait(
                self.since[poll.function],
                poll.start,
                poll,
                WaitFlag.START_UNKNOWN | WaitFlag.STATE | unsure,
                state or 0,
                poll.places,
            )

    def _goes_on(self, before: Poll, poll: Poll) -> bool:
        """Whether there is a wait between these two polls at one address, if they are of one future."""
        follows = before.over and before.end <= poll.start and not before.gap
        return follows and not poll.flags & PollFlag.START_UNKNOWN

    def _drop_replaced(self, before: Poll, time: int) -> None:
        """Another one at its address: whoever waited there was dropped."""
        if before.over and before.end <= time and not before.gap and before.result == "pending":
            state = before.state_after if 3 <= before.state_after < 255 else 0
            flags = WaitFlag.CANCELLED | WaitFlag.REPLACED | (WaitFlag.STATE if state else 0)
            flags |= WaitFlag.AMBIGUOUS if before.end < self.lost_until else 0
            self._wait(before.end, time, before, flags, state, self._settled(before.function, state or None))

    def _mark(self, end: int, time: int, own: int, tid: int, state: int, flags: int) -> None:
        """The end of a life."""
        planned, process = self.ends[end], self._stack(tid).process
        test, time = planned.point.only_if, min(time, 2**63 - 1)
        known = state if flags & EventFlag.STATE else None
        if not flags & EventFlag.SELF or (test and (known is None or known & test.mask != test.value)):
            return
        kind = planned.point.kind
        of_task = kind is not EndKind.DROPPED
        says = 1 + (2 if passes(planned.point.undone, known) else passes(planned.point.done, known))
        if of_task:
            known = None
            self.births.pop((process, own), None)
            self._leave_unanswered(process, own)
        for function in [self.is_task.index(True)] if of_task else planned.functions:
            key = (process, -1 if of_task else function, own)
            before = self.latest.get(key)
            mark = Poll(function, own, process, tid, 0, time, 0, known or 0, 0, 0, 0)
            mark.end, mark.over, mark.result = time, True, "finished"
            self.latest[key] = mark
            if before is None:
                continue
            mark.instance, mark.id = before.instance, before.id
            again = before.over and before.result == "finished"
            is_idle = before.over and not before.gap and before.end >= self.lost_until and not again
            is_undone = is_idle and of_task and (says == 3 or kind in (EndKind.COMPLETE, EndKind.CLOSED))
            self._end_wait(before, mark, known, is_undone)
            task = self.tasks.get(mark.instance)
            if of_task and task is not None and not task.over:
                task.ended = True
                says = 3 if is_undone else says
                if not again or task.says == 1:
                    task.says = max(task.says, says)
                self._leave(task)

    def _makes(self, probe: Probe) -> bool:
        return probe.spawns is not None and self.plan.spawns[probe.spawns].point.step is SpawnStep.MADE

    def _made(self, stack: Stack, time: int, header: int, tid: int, sp: int, told: int) -> None:
        """A task was made."""
        self._leave_unanswered(stack.process, header)
        task = self._polled_around(stack, sp)
        by = (task.instance, task.id, task.function) if task is not None else (0, 0, 0)
        at, number = 0, told >> 48
        if 0 < number <= len(self.plan.spawns):
            distance = told & (1 << 48) - 1
            place = self.plan.spawns[number - 1].point.address + distance - (distance >> 47 << 48)
            sites = [(site.file, site.line, site.column) for site in self.plan.sites]
            at = next((1 + sites.index(sites[i]) for i, site in enumerate(self.plan.sites) if site.address == place), 0)
        self.births[stack.process, header] = min(time, 2**63 - 1), *by, at, tid

    def _polled_around(self, stack: Stack, sp: int) -> Poll | None:
        """The task that is being polled there, as far as it is known."""
        around = [poll for poll in stack.frames if poll.sp > sp]
        task = next((poll for poll in reversed(around) if self.is_task[poll.function]), None)
        return task if task is not None and task.start >= self.lost_until else None

    def _origin(self, stack: Stack, tid: int, sp: int, flags: int) -> WakeOrigin:
        if self._polled_around(stack, sp) is not None:
            return WakeOrigin.TASK
        if self.plan.leaves_out_tasks:
            return WakeOrigin.UNKNOWN
        for flag, origin in ((EventFlag.FROM_TIMER, WakeOrigin.TIMER), (EventFlag.FROM_IO, WakeOrigin.IO)):
            if flags & flag:
                return origin
        around = [poll for poll in stack.frames if poll.sp > sp]
        if any(self.is_task[poll.function] for poll in around):
            return WakeOrigin.UNKNOWN  # it may have ended before
        if around:
            return WakeOrigin.FUTURE
        return WakeOrigin.RUNTIME if tid in self.pollers else WakeOrigin.THREAD

    def _woken(self, stack: Stack, time: int, header: int, tid: int, sp: int, is_effective: bool, flags: int) -> None:
        """A task was woken: the first one since its latest poll began counts."""
        if not is_effective:
            self.count["idle_wakes"] += 1
            return
        task = self._polled_around(stack, sp)
        by = (task.instance, task.id, task.function) if task is not None else (0, 0, 0)
        if task is not None and task.self == header:
            self.count["self_wakes"] += 1
        origin = self._origin(stack, tid, sp, flags)
        self.wakes.setdefault((stack.process, header), (min(time, 2**63 - 1), *by, tid, origin))

    def _known_wake(self, before: Poll, end: int, woken: tuple[int, ...]) -> tuple[int, ...]:
        """The first one after the poll before, if none can have been missed."""
        known_from = max(self.lost_until, self.group_since[Group.WAKES])
        is_whole = Group.WAKES in self.active and before.start >= known_from
        return woken if woken and is_whole and before.start <= woken[0] <= end else ()

    def _leave_unanswered(self, process: int, header: int) -> None:
        self.count["unanswered_wakes"] += self.wakes.pop((process, header), None) is not None

    def _catch(self, stack: Stack, sp: int, time: int, *, by_runtime: bool) -> None:
        """A panic was caught by the innermost function that is on the stack still; what that called is gone."""
        now, stack.jump = self._now(stack, time), None
        around = next((poll for poll in reversed(stack.frames) if poll.sp > sp), None)
        if by_runtime and around is not None and self.is_task[around.function]:
            around.flags |= PollFlag.PANICKED
        self._gone(stack, sp, now)
        self._seen(stack, sp, now)

    def _end_wait(self, before: Poll, mark: Poll, known: int | None, is_undone: bool) -> None:
        suspended = known is not None and known >= 3
        waited = before.result == "pending" if known is None else suspended and before.result != "finished"
        if not (waited or is_undone) or not before.over or before.end > mark.start or before.gap:
            return
        wait_flags, shown = int(WaitFlag.CANCELLED), 0
        for one in (known, before.state_after):
            if one is not None and 3 <= one < 255 and not shown:
                wait_flags, shown = wait_flags | WaitFlag.STATE, one
        wait_flags |= WaitFlag.AMBIGUOUS if before.end < self.lost_until else 0
        # The mark of a task does not tell which kind of task it is of.
        mark.task, mark.function = before.task, before.function
        self._wait(before.end, mark.start, mark, wait_flags, shown, self._settled(mark.function, shown or None))

    def _leave(self, task: Task) -> None:
        """A task that is over, and not being polled, is told."""
        if (task.ended or task.over) and not task.open:
            task.over = True
            task.lost_until, task.known_from = self.lost_until, self._tasks_known_from()

    def _begin_task(self, poll: Poll) -> None:
        assert poll.self is not None
        task = Task(poll.instance, poll.id, poll.self, poll.start, poll.start, poll.function, poll.tid, poll.process)
        self.tasks[task.number] = task
        birth = self.births.pop((task.process, task.header), None)
        if birth is not None and birth[0] >= self.lost_until:
            task.birth = birth
        before = self.at_header.get((task.process, task.header))
        self.at_header[task.process, task.header] = task
        if before is None or before.over:
            return
        before.left = True
        if before.function != task.function or (before.id and task.id and before.id != task.id):
            before.replaced = True

    def _end_tasks(self, which: Any, cut: set[int]) -> None:
        for task in self.tasks.values():
            if task.forgotten or not which(task):
                continue
            task.forgotten = True
            is_open = not task.over and not task.ended and not task.replaced and task.outcome not in SURE
            known_from = self._tasks_known_from()
            if not task.over:
                task.lost_until, task.known_from = self.lost_until, known_from
            seen = Group.TASKS in self.active and task.last >= known_from
            watched = self._has(EndKind.COMPLETE, task.function) and seen
            if is_open and task.number in cut:
                task.outcome = Outcome.RUNNING
            elif is_open and not seen and task.outcome is Outcome.WAITING:
                task.outcome = Outcome.UNKNOWN
            elif is_open and not task.left and watched and task.outcome is Outcome.UNKNOWN:
                task.outcome = Outcome.WAITING
            elif task.outcome not in SURE and task.ended:
                waited = task.outcome is Outcome.WAITING and task.last >= task.known_from and task.says == 1
                done = task.outcome is Outcome.UNKNOWN and task.latest >= task.lost_until and task.says == 2
                task.outcome = Outcome.CANCELLED if waited or task.says == 3 else Outcome.ENDED
                if done and self._has(EndKind.CAUGHT, task.function):
                    task.outcome = Outcome.FINISHED
            elif task.outcome not in SURE and task.replaced:
                task.outcome = Outcome.REPLACED
        self.at_header = {key: task for key, task in self.at_header.items() if not which(task)}

    def _tasks_known_from(self) -> int:
        return max(self.lost_until, self.group_since[Group.TASKS])

    def _has(self, kind: EndKind, function: int) -> bool:
        return any(one.point.kind is kind and one.binary == self.binaries[function] for one in self.ends)

    def _wait(
        self, start: int, end: int, poll: Poll, flags: int, state: int, packed: int, woken: tuple[int, ...] = ()
    ) -> None:
        places = [packed >> shift & 0xFFFF for shift in (0, 16, 32, 48)]
        known = sum(number << 16 * at for at, number in enumerate(places) if number <= len(self.plan.places))
        own = (start, end, poll.self or 0, poll.instance, poll.task, poll.function, poll.tid)
        self.waits.append((*own, int(flags), state, 0, known, *(woken or (0,) * 6)))
        if self.is_task[poll.function]:
            task = self.tasks[poll.instance]
            task.waiting += end - start
            if flags & WaitFlag.CANCELLED and not flags & WaitFlag.REPLACED:
                task.dropped = max(task.dropped, end)

    # ------------------------------------------------------------ places

    def _settled(self, function: int, state: int | None) -> int:
        """Where a coroutine waits, as far down as its state alone tells."""
        places = dict(enumerate(self.plan.places, 1))
        below = [n for n, one in places.items() if one.parent and not places[one.parent].parent]
        first = [n for n in below if places[n].function == function and places[n].state == state]
        ends: list[int] = []
        known = first.copy()
        while first:
            number = first.pop(0)
            children = [n for n, one in places.items() if one.parent == number]
            if any(places[n].state is not None for n in children):
                ends = known
                break
            ends += [] if children else [number]
            first = children + first
        return sum(number << 16 * place for place, number in enumerate(ends[:4]))

    def _remember_open(self) -> None:
        polls = [poll for stack in self.stacks.values() for poll in stack.frames]
        self.open = {poll.instance: poll.since for poll in sorted(polls, key=lambda one: -one.since)}

    def _cut(
        self,
        which: Any,
        time: int,
        *,
        goes_on: Any = lambda poll: False,
        gap: Any = lambda poll: True,
        counted: str = "open_at_end",
    ) -> set[int]:
        """Yields the instances whose polls were cut.  What has one inside it that goes on is not over."""
        cut: set[int] = set()
        for stack in self.stacks.values():
            frames = stack.frames
            ended = [one for at, one in enumerate(frames) if which(one) and not any(map(goes_on, frames[at:]))]
            seen = stack.last
            for poll in ended:
                cap = poll.cap if poll.cap is not None and poll is stack.frames[-1] else 2**63 - 1
                poll.end = poll.end_latest = max(min(time, cap), seen, poll.start)
                inside = stack.frames[stack.frames.index(poll) :]
                handed = [one.jumped and one.sp == after.sp for one, after in pairwise(inside)]
                if any(not one.blind and not jumped for one, jumped in zip(inside, [*handed, False], strict=True)):
                    poll.flags |= PollFlag.END_UNKNOWN
                    self.count[counted] += 1
                    self._schedule_cut(poll)
                else:  # it may have ended any time since it was last seen
                    poll.end = max(seen, poll.start)
                    poll.flags |= PollFlag.INFERRED_END
                poll.over, poll.gap, poll.result = True, gap(poll), "unknown"
                is_ready = poll.flags & PollFlag.RESULT and not poll.flags & PollFlag.PENDING
                if is_ready or poll.flags & (PollFlag.ABORTED | PollFlag.PANICKED):
                    poll.result = "finished"
                stack.last = max(stack.last, poll.end)
                self._closed(poll)
                cut.add(poll.instance)
                poll.state_after = 255
            stack.frames = [poll for poll in stack.frames if poll not in ended]
        return cut

    def _is_still_there(self, poll: Poll) -> bool:
        """Whether a future that waits is certainly not dropped: what is around it is there, and polls it."""
        seen = []
        while poll not in seen and (number := poll.parent or poll.task):
            seen.append(poll)
            is_coroutine = 3 <= poll.state_after < 255
            if number in self.open:
                return is_coroutine or poll.start >= self.open[number]
            around = next((one for one in self.latest.values() if one.instance == number and one.over), None)
            if around is None or around.result == "finished":
                return False
            if not is_coroutine and (around.gap or poll.start < around.start):
                return False
            poll = around
        return True

    def _open_waits(self, which: Any, time: int) -> None:
        for poll in self.latest.values():
            if which(poll) and poll.over and not poll.gap and poll.result == "pending":
                known = 3 <= poll.state_after < 255
                flags = WaitFlag.END_UNKNOWN | (WaitFlag.STATE if known else 0)
                is_sure = poll.end >= self.lost_until and self._is_still_there(poll)
                flags |= 0 if is_sure else WaitFlag.AMBIGUOUS
                state = poll.state_after if known else 0
                places = self._settled(poll.function, state if known else None)
                end = max(time, poll.end)
                woken = self.wakes.get((poll.process, poll.self or 0), ()) if self.is_task[poll.function] else ()
                self._wait(poll.end, end, poll, flags, state, places, self._known_wake(poll, end, woken))

    def _forget(self, which: Any, time: int) -> None:
        self._open_waits(which, time)
        self.latest = {key: poll for key, poll in self.latest.items() if not which(poll)}

    def _plan_change(self, change: PlanChange) -> None:
        off, on = self.active - change.active, change.active - self.active
        probed = {function for function, group in enumerate(self.group) if group in change.active}
        probed -= {one for one in change.unprobed if one < len(self.group) and self.group[one] is Group.FUTURES}
        leaving, coming = self.probed - probed, probed - self.probed
        self._remember_open()
        self._open_waits(lambda poll: poll.function in leaving, change.time)
        for poll in self.latest.values():
            poll.gap |= poll.over and poll.function in leaving | coming
        switched = leaving | coming
        self._cut(
            lambda poll: poll.function in switched or poll.leaving,
            change.time,
            goes_on=lambda poll: poll.function not in switched and not poll.leaving,
        )
        if self.plan.scheduling and Group.SCHEDULING in off:
            self._still_off(lambda tid: True, change.time)
            self._restart_clocks(NEVER)
            self.clocks_since = NEVER
        if self.plan.scheduling and Group.SCHEDULING in on:
            self.clocks_since = max(change.time, self.lost_until)
            for clock in self.clocks.values():
                clock.known, clock.off, clock.early, clock.woken = self.clocks_since, None, None, None
        if Group.TASKS in off:
            self.births = {}
        if {Group.TASKS, Group.WAKES} & off:
            self.wakes = {}
        self.group_since |= dict.fromkeys(on, change.time)
        self.since |= dict.fromkeys(coming, change.time)
        self.under_way -= set(coming)
        self.lossy |= dict.fromkeys(coming, False)
        for stack in self.stacks.values():
            stack.top |= dict.fromkeys(coming, 0)
            stack.since |= dict.fromkeys(coming, max(change.time, stack.last))
        self.probed = probed
        self.entries_only = {one for one in change.entries_only if one < len(self.group)}
        self.entries_only &= {function for function in probed if self.group[function] is Group.FUTURES}
        for stack in self.stacks.values():
            for poll in stack.frames:
                poll.blind |= not self._sees_exits(poll.function)
                poll.leaving |= poll.function in leaving and not poll.jumped
        self.active = set(change.active)
