"""A probe session: the plan attached to live processes, and the events that come of it.

    with ProbeSession(plan, processes, executables=[Path("/proc/1234/exe")]) as session:
        session.attach()
        while ...:
            batch = session.read()

Leaving the block detaches.  So does the end of this process, however it comes: the kernel closes
the links.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from tracer.errors import AttachFailed, NoSuchProcess, OutOfProcesses, PermissionMissing, RatError
from tracer.model import Array, Group, Loss, Plan, Process, Refusal, Thread, exits_apart, functions_of
from tracer.probe.calibration import (
    Costs,
    calibration_plan,
    calibration_process,
)
from tracer.probe.conditions import check_conditions, patched_probes, require_room_for
from tracer.probe.hand import Hand
from tracer.probe.handover import Handover, Pauses
from tracer.probe.instructions import wrong_instructions
from tracer.probe.kernel import MultiSupport, cpus
from tracer.probe.ledger import Ledger, Look
from tracer.probe.links import Attachment, BccAttachment, Handed, Links, MultiAttachment, Refused
from tracer.probe.perf import PerfBuffers
from tracer.probe.permission import require_permission
from tracer.probe.program import PollProgram
from tracer.probe.refused import without_refused
from tracer.probe.ring import RingBuffer
from tracer.probe.scheduling_cost import cost_of_scheduling
from tracer.probe.silent import Unseen
from tracer.probe.stacks import StackSampler
from tracer.probe.transport import Transport, joined
from tracer.probe.variant import Variant
from tracer.target.clock import kernel_now
from tracer.target.own_files import default_cache

BUFFER_SIZE = 32 << 20
"""Bytes for events not yet read: at 2 M events/s a third of a second."""
_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Batch:
    """events: dtype EVENT, sorted by time, complete up to a moment before the read() that returned it."""

    events: Array
    losses: list[Loss]


class ProbeSession:
    """executables: of each of the plan's binaries, the file to attach through, such as /proc/PID/exe.

    transport: "auto", "ring" or "perf".  buffer_size: bytes, of all CPUs together.  by_bcc: attach
    as on a kernel without uprobe_multi.  variant: instead of transport and by_bcc, when it is known already.
    Compiles and loads; nothing is attached yet.
    Raises NoSuchProcess, MissingDependency, PermissionMissing, NotTraceable or AttachFailed.
    """

    def __init__(
        self,
        plan: Plan,
        processes: Sequence[Process],
        *,
        executables: Sequence[Path],
        transport: str = "auto",
        buffer_size: int = BUFFER_SIZE,
        by_bcc: bool = False,
        cache: Path | None = None,
        variant: Variant | None = None,
    ) -> None:
        require_permission()
        self._plan = plan
        self._processes = tuple(processes)
        # Held open: the path of a process' executable goes with that process, and it may not be the last.
        self._files = ExitStack()
        self._executables = [_hold(self._files, path) for path in executables]
        variant = variant or Variant.of_kernel(transport, by_bcc=by_bcc, scheduling=plan.scheduling)
        pages = max(1, 1 << (buffer_size // _PAGE).bit_length() - 1)
        self._closed = False
        self._hand = self._begin_hand() if variant.support is not MultiSupport.NONE else None
        try:
            self._program = PollProgram(plan, variant, ring_pages=pages, cache=cache or default_cache())
        except BaseException:
            self._files.close()
            raise
        try:
            fd = self._program.bpf.map_fd("events")
            self._transport: Transport = RingBuffer(fd, pages) if variant.is_ring else PerfBuffers(fd, buffer_size)
        except BaseException:
            self._program.close()
            self._files.close()
            raise
        self._support = variant.support
        self._attachment = self._choose_attachment(variant.support, self._executables)
        self._links = Links(self._attachment, self._processes, (), switch=self._program.switch_link)
        self._ledger = Ledger(cpus("possible")[-1] + 1)
        self._refusals: list[Refusal] = []
        self._functions_of = [functions_of(probe, plan) for probe in plan.probes]
        self._exits = exits_apart(plan)
        self._futures: list[int] = []
        self._silent: frozenset[int] = frozenset()
        self._pauses, self._handover = Pauses(len(plan.probes)), Handover(len(plan.probes))
        self._left_out = 0
        self._missed = self._missed_since = 0
        self._missed_at: int | None = None
        self._calibration_links: list[Links] = []
        self._spent_on_stacks = 0
        self._stacks, self._no_stacks = (None, variant.no_stacks) if variant.no_stacks else self._sample_stacks()
        atexit.register(self.close)

    def _begin_hand(self) -> Hand:
        """Before there is much in memory that would stay as it was for the other process."""
        try:
            hand = Hand()
        except OutOfProcesses:
            self._files.close()
            raise
        self._files.callback(hand.end)
        return hand

    def _choose_attachment(self, support: MultiSupport, executables: Sequence[Path]) -> Attachment:
        program = self._program
        if support is MultiSupport.NONE:
            return BccAttachment(program.at_instruction, program.at_return, executables)
        assert self._hand is not None
        return MultiAttachment(
            self._hand,
            program.at_instruction,
            program.at_return,
            executables,
            filters_process=support is MultiSupport.BY_PROCESS,
        )

    def _sample_stacks(self) -> tuple[StackSampler | None, str | None]:
        """(what takes stacks, else why the kernel does not let it)."""
        try:
            return StackSampler(self._program.bpf), None
        except RatError as error:
            return None, f"the kernel refused the program that takes them (Linux 5.15): {error}"
        except OSError as error:
            return None, f"the kernel refused its clock: {error.strerror}"

    @property
    def stacks(self) -> StackSampler | None:
        """What takes the stacks of the threads that block, or run long, in a task poll; None: `no_stacks` says why."""
        return self._stacks

    @property
    def no_stacks(self) -> str | None:
        return self._no_stacks

    @property
    def transport(self) -> str:
        return self._transport.name

    @property
    def active(self) -> frozenset[Group]:
        """The groups that are attached."""
        return self._links.active

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """Functions of the plan that turned out not to be attachable; known after attach()."""
        return tuple(self._refusals)

    @property
    def no_scheduling(self) -> str | None:
        """Why the kernel's scheduling is not seen, although the plan asks for it."""
        return self._program.no_scheduling

    @property
    def received(self) -> int:
        """Events taken from the transport so far, without those that do not count."""
        return self._ledger.received - self._left_out

    @property
    def sent(self) -> int:
        """Hits so far, as the kernel side counts them, without those that do not count."""
        return int(self._program.counters().sent.sum()) + self._missed - self._left_out

    @property
    def lost(self) -> int:
        """Events for which the transport had no room, or of which a program was kept from telling, as the kernel side
        counts them."""
        return int(self._program.counters().lost.sum()) + self._missed

    def attach(self, groups: frozenset[Group] = frozenset(Group)) -> int:
        """Attach; returns the time in ns (CLOCK_MONOTONIC) from which on everything is.

        A function of which a probe is refused is left out as a whole, see `refusals`.
        Raises NoSuchProcess, PermissionMissing, AttachFailed, or NotTraceable when too many places
        are asked of BCC's attachment, or a process has a shadow stack.
        """
        check_conditions(self._plan, self._processes, self._executables, self._support)
        for process in self._processes:
            self._program.trace(process, self._plan)
        self.read()
        refused: dict[int, str] = {}
        for binary, executable in enumerate(self._executables):
            refused |= wrong_instructions(executable, [probe for probe in self._plan.probes if probe.binary == binary])
        refused |= patched_probes(self._plan, self._processes, self._executables)
        while True:
            probes, self._refusals = without_refused(self._plan, refused)
            self._links.wait()
            self._links = Links(
                self._attachment,
                self._processes,
                probes,
                self._program.tracepoints,
                switch=self._program.switch_link,
            )
            self._futures = [one.id for one in probes if one.group is Group.FUTURES and self._functions_of[one.id]]
            try:
                self._links.attach(groups)
            except Refused as refusal:
                refused |= refusal.probes
            else:
                self._missed_since = self._count_misses()
                return self._begin(groups)

    def calibrate(self) -> Costs:
        """Measure what a hit costs here, on a process of our own; before attach().

        Its links are closed with the session: each takes the kernel 40 ms, and the process is dead.
        Raises AttachFailed when that process cannot be run or probed.
        """
        with calibration_process() as running:
            plan = self._program.add_spare(calibration_plan())
            attachment = self._choose_attachment(self._support, [running.executable])
            self._program.trace(running.process, plan)
            scheduling = cost_of_scheduling(running, self._program)
            links = Links(attachment, [running.process], plan.probes, switch=self._program.switch_link)
            self._calibration_links.append(links)
            try:
                links.attach([Group.TASKS])
            except Refused as refusal:
                why = next(iter(refusal.probes.values()), "")
                fix = "rat-ebpf doctor"
                raise AttachFailed("What probes cost cannot be measured.", why=why, fix=fix) from refusal
            self._program.begin_epoch(Group.TASKS)
            costs = running.costs(scheduling)
        self._program.end_epoch(Group.TASKS)
        self._transport.drain()
        self._program.start_counting()
        return costs

    def set_active(
        self,
        groups: frozenset[Group],
        unprobed: frozenset[int] = frozenset(),
        entries_only: frozenset[int] = frozenset(),
    ) -> int:
        """Attach and detach groups, and functions of Group.FUTURES; returns the time in ns (CLOCK_MONOTONIC) of the
        change.  In one call things may come or go, not both: there is one time.

        unprobed: functions (indexes into Plan.functions) that are not to be probed although Group.FUTURES is.
        entries_only: others of that group of which the exits are not to be, of those in exits_apart(plan).  No
        event of what leaves is later than the time returned, none of what comes is earlier, though links take
        longer to open and close.  Others are not disturbed.
        Processes that have ended meanwhile are passed over.  Raises NoRoom, PermissionMissing or AttachFailed.
        """
        there, active = self._links.attached, self._links.active
        unwanted = frozenset(number for number in self._futures if self._functions_of[number] <= unprobed)
        unwanted = unwanted.union(*(self._exits[function] for function in entries_only))
        coming, leaving = groups - active, active - groups
        removed = there & unwanted if Group.FUTURES in groups & active else frozenset[int]()
        changed = kernel_now()
        if leaving or removed:
            gone = removed.union(*(self._probes_of(group) for group in leaving))
            self._pauses.begin(gone, changed, scheduling=Group.SCHEDULING in leaving)
            self._end(leaving)
            self._silence(removed)
            self._links.detach(leaving)
            self._hand_over(self._links.remove(removed))
        added = frozenset(self._futures) - unwanted if Group.FUTURES in groups else frozenset[int]()
        added = (added - there).union(*(self._probes_of(group) - unwanted for group in coming))
        if added or coming:
            probes = self._plan.probes
            require_room_for(
                [one for one in probes if one.id in added],
                self._processes,
                beside=[one for one in probes if one.id in there],
            )
            self._links.attach(groups, without=unwanted, skips_ended=True)
            self._hear(added)
            changed = self._begin(coming)
            self._pauses.end(added, changed, scheduling=Group.SCHEDULING in coming)
            self._hand_over(self._links.gather())
        return changed

    def _hand_over(self, handed: list[Handed]) -> None:
        for one in handed:
            self._handover.begin(one.probes, kernel_now(), is_odd=one.is_odd)

    def expect_polls(self, stack_ends: Mapping[int, int]) -> None:
        """Take stacks of these threads, too, which are in a task poll that began before attach().

        stack_ends: by tid, where its stack ends.
        """
        if self._stacks is not None:
            self._stacks.expect(stack_ends, self._program.epoch_of(Group.TASKS), kernel_now())

    def _probes_of(self, group: Group) -> frozenset[int]:
        return frozenset(probe.id for probe in self._plan.probes if probe.group is group)

    def _silence(self, probes: frozenset[int]) -> None:
        self._program.silence(sorted(probes))
        self._silent |= probes

    def _hear(self, probes: frozenset[int]) -> None:
        self._program.hear(sorted(probes & self._silent))
        self._silent -= probes

    def _begin(self, groups: frozenset[Group]) -> int:
        for group in groups:
            self._program.begin_epoch(group)
        if self._stacks is not None:
            self._stacks.begin(self._program.epoch_of(Group.SCHEDULING))
        return kernel_now()

    def _end(self, groups: frozenset[Group]) -> None:
        for group in groups:
            self._program.end_epoch(group)

    def read(self) -> Batch:
        """What has come since the last call, without waiting."""
        look = self._look()
        return self._with_misses(self._sound(*self._ledger.account(look, self._transport.drain())), look)

    def _sound(self, events: Array, losses: list[Loss]) -> Batch:
        """What counts of them."""
        left = self._handover.without_doubles(self._pauses.without(events))
        self._left_out += len(events) - len(left)
        return Batch(left, losses)

    def unseen(self) -> Unseen:
        """Since the last call, or since the begin; what is little may be told by a later call."""
        hits = self._program.silent_hits()
        if self._stacks is None:
            return hits
        spent, self._spent_on_stacks = self._spent_on_stacks, self._stacks.spent()
        return replace(hits, stacks=self._spent_on_stacks - spent)

    @property
    def complete_until(self) -> int:
        """All events up to this time (ns) have been returned."""
        return self._ledger.complete_until

    def _with_misses(self, batch: Batch, look: Look) -> Batch:
        """Records of which a program was kept from telling are lost, since the look before, no one knows on which
        CPU: they took no number."""
        missed = self._count_misses() - self._missed_since
        if missed > self._missed:
            batch.losses.append(Loss(-1, missed - self._missed, self._missed_at, look.after))
            self._missed = missed
        self._missed_at = look.before
        return batch

    def _count_misses(self) -> int:
        tracepoints = self._program.tracepoints
        return tracepoints.missed() if tracepoints is not None else 0

    def _look(self) -> Look:
        before = kernel_now()
        counters = self._program.counters()
        return Look(before, kernel_now(), counters.sent, counters.lost)

    def threads(self) -> list[Thread]:
        """Threads whose first hit came since the last call."""
        return self._program.new_threads()

    def detach(self) -> Batch:
        """Detach everything; returns the last events.  received + lost = sent from then on."""
        if self._stacks is not None:
            self._stacks.end()
        self._end(self._links.active)
        self._links.detach(self._links.active)
        self._links.wait()
        look = self._look()
        parts = [self._transport.drain()]
        while len(parts[-1]):
            parts.append(self._transport.drain())
        return self._with_misses(self._sound(*self._ledger.finish(look, joined(parts))), look)

    def close(self) -> None:
        """Detach and free everything; harmless when repeated."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        for links in (self._links, *self._calibration_links):
            links.detach(links.active)
        for links in (self._links, *self._calibration_links):
            links.wait()
        self._transport.close()
        if self._stacks is not None:
            self._stacks.close()
        self._program.close()
        self._files.close()

    def __enter__(self) -> ProbeSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _hold(files: ExitStack, path: Path) -> Path:
    """Another name of the file, good as long as `files` is open."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError) as error:
        files.close()
        raise NoSuchProcess("The process ended before the probes were attached.", why=str(error)) from error
    except PermissionError as error:
        files.close()
        raise PermissionMissing(f"{path} cannot be read.", why=f"{error}; CAP_SYS_PTRACE is needed") from error
    files.callback(os.close, file)
    return Path(f"/proc/self/fd/{file}")
