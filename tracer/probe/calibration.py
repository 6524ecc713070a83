"""What one hit of a probe costs on this machine, measured before anything is attached.

It is measured on a process of our own, never on the target: a program of a few instructions,
written here byte by byte (there is no compiler where we run), which calls one function as often as
it is told.  The real BPF program runs at its probes.
"""

from __future__ import annotations

import os
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tracer.errors import AttachFailed
from tracer.model import (
    Binary,
    ExitKind,
    ExitMode,
    ExitSite,
    FunctionKind,
    Group,
    InstructionCost,
    Plan,
    PlannedSpawn,
    PollFunction,
    Probe,
    Process,
    Register,
    Site,
    Source,
    SpawnStep,
)

_BASE = 0x400000
_CODE_AT = 0x78  # after the ELF header and one program header
_CODE = bytes.fromhex(
    # next: read(0, rsp, 8); leave unless 8 bytes came
    "31c0 31ff 4889e6 ba08000000 0f05 4883f808 7527"
    # rbx = how often; rdi = readable memory, as a future's self
    "488b1c24 4889e7"
    # again: call function; count down
    "e824000000 48ffcb 75f6"
    # write(1, rsp, 1); back to next
    "b801000000 bf01000000 4889e6 ba01000000 0f05 ebc5"
    # then: exit, code 0
    "b83c000000 31ff 0f05"
    # function: push rbp; pop rbp; ret
    "55 5d c3"
)
_FUNCTION_AT = _CODE_AT + len(_CODE) - 3
_RET_AT = _FUNCTION_AT + 2


_WALK_COST = 4
"""In states, of a walk to where the future waits: a read and two look-ups at each place, and most often a record."""

_SPAWN_COST = 3
"""In states, of a call that is remembered and found again: reads of the target's memory, and look-ups."""

RECORDS_OF_TURN = 3
"""Of Group.SCHEDULING, in one turn: the process is woken, gets the CPU and leaves it."""

_TASK_ID_COST = 2
"""In states: a task's id takes a read of the target's memory, as a state does, and a look-up."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Nanoseconds of the target's CPU time that one hit takes.

    returned: of a return probe, beyond the hit at the same function's entry.  state: what is added
    at each where a coroutine's state is read.  scheduling: of a record of Group.SCHEDULING.
    """

    emulated: float
    stepped: float
    returned: float
    state: float = 0.0
    scheduling: float = 0.0

    def of(self, probe: Probe, plan: Plan) -> float:
        """Of one probe of `plan`."""
        functions = [plan.functions[index] for index in (probe.enters, probe.leaves) if index is not None]
        state = self.state if any(function.state_offset is not None for function in functions) else 0.0
        if probe.enters is not None and plan.functions[probe.enters].task_id is not None:
            state += _TASK_ID_COST * self.state
        if probe.enters is not None and plan.functions[probe.enters].aborted is not None:
            state += self.state
        if probe.ends is not None:
            point = plan.ends[probe.ends].point
            reads = (point.only_if, point.done, point.undone, point.state_offset)
            state += self.state if any(one is not None for one in reads) else 0.0
        if probe.enters is not None and plan.functions[probe.enters].layout is not None:
            state += _WALK_COST * self.state
        if probe.wakes is not None:
            state += self.state * (2 if plan.wakes[probe.wakes].point.is_indirect else 1)
        if probe.spawns is not None:
            state += self._of_spawn(plan.spawns[probe.spawns], plan)
        if probe.site is Site.RETURN:
            return self.returned + state
        return (self.emulated if probe.cost is InstructionCost.EMULATED else self.stepped) + state

    def _of_spawn(self, spawn: PlannedSpawn, plan: Plan) -> float:
        """Beyond the hit itself.  The call of a spawn function sends no event: what it takes is counted where the
        task is made."""
        if spawn.point.step is SpawnStep.CALLED:
            return 0.0
        calls = [one.point for one in plan.spawns if one.binary == spawn.binary and one.point.step is SpawnStep.CALLED]
        if not calls:
            return 0.0
        is_stepped = any(point.cost is InstructionCost.STEPPED for point in calls)
        return (self.stepped if is_stepped else self.emulated) + _SPAWN_COST * self.state


def calibration_plan(state_offset: int | None) -> Plan:
    """The program's one function with every kind of probe: entry, exit instruction, return."""
    function = PollFunction(
        address=_BASE + _FUNCTION_AT,
        offset=_FUNCTION_AT,
        size=3,
        name="calibration",
        kind=FunctionKind.COROUTINE,
        source=Source.CODE,
        exits=(ExitSite(_RET_AT, ExitKind.RET),),
        self_register=Register.RDI,
        state_offset=state_offset,
        entry_cost=InstructionCost.EMULATED,
    )
    binary = Binary("calibration", None, "x86_64", _CODE_AT + len(_CODE), "none", False, (function,))
    return Plan(
        binaries=(binary,),
        functions=(function,),
        function_binary=(0,),
        probes=(
            Probe(0, 0, _FUNCTION_AT, Site.ENTRY, Group.TASKS, 0, None, cost=InstructionCost.EMULATED),
            Probe(1, 0, _RET_AT, Site.EXIT, Group.TASKS, None, 0),
            Probe(2, 0, _FUNCTION_AT, Site.RETURN, Group.TASKS, None, 0),
        ),
        refusals=(),
        exit_mode=ExitMode.DEFAULT,
    )


class CalibrationProcess:
    """A process that calls its function on demand."""

    def __init__(self, running: subprocess.Popen[bytes]) -> None:
        self._running = running
        self.process = Process(running.pid, 0, "calibration", (), "calibration", 0, 0)
        self.executable = Path(f"/proc/{running.pid}/exe")

    def call(self, count: int) -> float:
        """CPU time of one call in ns, the mean of `count`."""
        assert self._running.stdin is not None
        assert self._running.stdout is not None
        before = self._cpu_time()
        self._running.stdin.write(struct.pack("<Q", count))
        if not self._running.stdout.read(1):
            raise AttachFailed("The cost of a probe cannot be measured: the calibration program died.")
        return (self._cpu_time() - before) / count

    def turn(self, count: int) -> float:
        """Time in which the process is woken, answers and waits again, in ns, the mean of `count`; with beside_us()
        nothing else happens in it."""
        assert self._running.stdin is not None
        assert self._running.stdout is not None
        once, before = struct.pack("<Q", 1), time.perf_counter_ns()
        for _ in range(count):
            self._running.stdin.write(once)
            if not self._running.stdout.read(1):
                raise AttachFailed("The cost of a switch cannot be measured: the calibration program died.")
        return (time.perf_counter_ns() - before) / count

    @contextmanager
    def beside_us(self) -> Iterator[None]:
        """It and this thread are on one CPU, as far as that is allowed."""
        before = os.sched_getaffinity(0)
        with suppress(OSError):
            one = {min(before)}
            os.sched_setaffinity(self._running.pid, one)
            os.sched_setaffinity(0, one)
        try:
            yield
        finally:
            with suppress(OSError):
                os.sched_setaffinity(0, before)

    def _cpu_time(self) -> int:
        """The process' CPU clock (clock_getcpuclockid(3))."""
        return time.clock_gettime_ns(~self._running.pid << 3 | 2)


@contextmanager
def calibration_process() -> Iterator[CalibrationProcess]:
    """Start the program, from memory: no file system need allow execution."""
    file = os.memfd_create("rat-calibration")
    try:
        os.write(file, _elf())
        # Opened again for reading: a file open for writing cannot be executed.
        path = f"/proc/self/fd/{file}"
        readable = os.open(path, os.O_RDONLY)
    finally:
        os.close(file)
    try:
        running = subprocess.Popen(
            [f"/proc/self/fd/{readable}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(readable,),
            bufsize=0,
        )
    finally:
        os.close(readable)
    with running:
        try:
            yield CalibrationProcess(running)
        finally:
            running.kill()


def _elf() -> bytes:
    """A static executable of one segment (System V ABI, x86-64)."""
    size = _CODE_AT + len(_CODE)
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, _BASE + _CODE_AT, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return ident + header + segment + _CODE
