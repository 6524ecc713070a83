"""What one hit of a probe costs on this machine, measured before anything is attached.

It is measured on a process of our own, never on the target: a program of a few instructions,
written here byte by byte (there is no compiler where we run), which calls a function of its own as
often as it is told.  The real BPF program runs at its probes.
"""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from pathlib import Path
from statistics import median
from typing import IO

from tracer.errors import AttachFailed, OutOfProcesses, OutputFailed
from tracer.model import (
    Binary,
    ExitKind,
    ExitMode,
    ExitSite,
    FunctionKind,
    Group,
    InstructionCost,
    Plan,
    PollFunction,
    Probe,
    Process,
    Register,
    Site,
    Source,
    SpawnStep,
)
from tracer.probe.scratch import temporary_folder
from tracer.target.own_files import default_cache

_MFD_EXEC = 0x10
_BASE = 0x400000
_CODE_AT = 0x78  # after the ELF header and one program header
_CODE = bytes.fromhex(
    # next: read(0, rsp, 16); leave unless 16 bytes came
    "31c0 31ff 4889e6 ba10000000 0f05 4883f810 752a"
    # rbx = how often; r12 = what to call; rdi = readable memory, as a future's self
    "488b1c24 4c8b642408 4889e7"
    # again: call r12; count down
    "41ffd4 48ffcb 75f8"
    # write(1, rsp, 1); back to next
    "b801000000 bf01000000 4889e6 ba01000000 0f05 ebc2"
    # then: exit, code 0
    "b83c000000 31ff 0f05"
)
_FUNCTION = bytes.fromhex("55 5d c3")
"""push rbp; pop rbp; ret: one for each Trial but the last."""
_PASSED_FUNCTION = bytes.fromhex("eb 00 c3")
"""jmp to the next instruction; ret: it is at jumps that returns are looked for."""
_FUNCTIONS_AT = _CODE_AT + len(_CODE)
_RET = 2

_CALLS = 100
_ROUNDS, _MOST_ROUNDS = 20, 200
"""How often all trials are called so often.  A cost is the median of what two of them differ by in a round: processors
run faster and slower.  Where a host takes ours away, the clock of a process may go on, and later stand still for as
long; such rounds do not count.
"""


class Trial(IntEnum):
    """The functions of the program, by what is probed of them."""

    BARE = 0
    ENTERED = 1
    RETURNED = 2
    """As ENTERED, and a return probe."""
    STATE = 3
    """As RETURNED, and a coroutine's state is read at both."""
    LEFT = 4
    """As RETURNED, and its `ret`."""
    PASSED = 5
    """As ENTERED, by what looks for a return of another function, and sends nothing."""


_WALK_COST = 4
"""In states, of a walk to where the future waits: a read and two look-ups at each place, and most often a record."""

_SPAWN_COST = 1.5
"""In states, of a call that is remembered, or found again: reads of the target's memory, and look-ups."""

RECORDS_OF_TURN = 3
"""Of Group.SCHEDULING, in one turn: the process is woken, gets the CPU and leaves it."""

_TASK_ID_COST = 2
"""In states: a task's id takes a read of the target's memory, as a state does, and a look-up."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Nanoseconds of the target's CPU time that one hit takes.

    returned: of a return probe, beyond the hit at the same function's entry.  silent: of an emulated instruction,
    where nothing is sent.  state: what is added at each where a coroutine's state is read.  scheduling: of a record of
    Group.SCHEDULING.
    """

    emulated: float
    stepped: float
    returned: float
    silent: float
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
            state += _SPAWN_COST * self.state
        if probe.site is Site.RETURN:
            return self.returned + state
        if probe.site is Site.RETURNED:
            state += self.state / 2  # the return address is read
        return (self.emulated if probe.cost is InstructionCost.EMULATED else self.stepped) + state

    def of_silent(self, probe: Probe, plan: Plan) -> float:
        """Of a hit that sends nothing: what is remembered instead takes as long as an event does."""
        is_call = probe.spawns is not None and plan.spawns[probe.spawns].point.step is SpawnStep.CALLED
        if is_call or (probe.wakes is not None and plan.wakes[probe.wakes].point.begins):
            return self.of(probe, plan)
        if probe.site is Site.RETURN:
            return self.returned
        return self.silent + (0.0 if probe.cost is InstructionCost.EMULATED else self.stepped - self.emulated)


def calibration_plan() -> Plan:
    """A function of the program for each Trial, with the probes of that."""
    functions = tuple(_function(trial) for trial in Trial)
    sites = [
        *((trial, Site.ENTRY) for trial in (Trial.ENTERED, Trial.RETURNED, Trial.STATE, Trial.LEFT)),
        *((trial, Site.RETURN) for trial in (Trial.RETURNED, Trial.STATE, Trial.LEFT)),
        (Trial.LEFT, Site.EXIT),
        (Trial.PASSED, Site.RETURNED),
    ]
    return Plan(
        binaries=(Binary("calibration", None, "x86_64", _size(), "none", False, functions),),
        functions=functions,
        function_binary=(0,) * len(functions),
        probes=tuple(_probe(number, trial, site) for number, (trial, site) in enumerate(sites)),
        refusals=(),
        exit_mode=ExitMode.DEFAULT,
    )


def _function(trial: Trial) -> PollFunction:
    offset = _FUNCTIONS_AT + trial * len(_FUNCTION)
    return PollFunction(
        address=_BASE + offset,
        offset=offset,
        size=len(_FUNCTION),
        name=f"calibration::{trial.name.lower()}",
        kind=FunctionKind.COROUTINE,
        source=Source.CODE,
        exits=(ExitSite(offset + _RET, ExitKind.RET),),
        self_register=Register.RDI,
        state_offset=0 if trial is Trial.STATE else None,
        entry_cost=InstructionCost.EMULATED,
    )


def _probe(number: int, trial: Trial, site: Site) -> Probe:
    offset = _FUNCTIONS_AT + trial * len(_FUNCTION)
    if site is Site.ENTRY:
        return Probe(number, 0, offset, site, Group.TASKS, int(trial), None, cost=InstructionCost.EMULATED)
    if site is Site.RETURNED:  # to where no call of the program returns
        return Probe(number, 0, offset, site, Group.TASKS, None, int(trial), cost=InstructionCost.EMULATED)
    return Probe(number, 0, offset + (_RET if site is Site.EXIT else 0), site, Group.TASKS, None, int(trial))


class CalibrationProcess:
    """A process that calls its functions on demand."""

    def __init__(self, running: subprocess.Popen[bytes]) -> None:
        self._running = running
        self.process = Process(running.pid, 0, "calibration", (), "calibration", 0, 0)
        self.executable = Path(f"/proc/{running.pid}/exe")

    def costs(self, scheduling: float) -> Costs:
        """While the probes of calibration_plan() are attached.  scheduling: what a record of that costs, ns.

        Raises AttachFailed when the process has died.
        """
        for trial in Trial:
            self._call(trial)
        rounds: list[list[float]] = []
        for _ in range(_MOST_ROUNDS):
            times = [self._call(trial) for trial in Trial]
            if min(times) > 0:  # else the clock stood still
                rounds.append(times)
            if len(rounds) == _ROUNDS:
                break
        if not rounds:
            raise AttachFailed("What probes cost cannot be measured: the clock of a process stands still here.")

        def more(of: Trial, than: Trial) -> float:
            return median(times[of] - times[than] for times in rounds)

        return Costs(
            emulated=more(Trial.ENTERED, Trial.BARE),
            stepped=more(Trial.LEFT, Trial.RETURNED),
            returned=more(Trial.RETURNED, Trial.ENTERED),
            silent=more(Trial.PASSED, Trial.BARE),
            state=max(0.0, more(Trial.STATE, Trial.RETURNED) / 2),
            scheduling=scheduling,
        )

    def _call(self, trial: Trial) -> float:
        """CPU time of one call in ns, the mean of _CALLS."""
        before = self._cpu_time()
        self._say(_CALLS, trial)
        return (self._cpu_time() - before) / _CALLS

    def _say(self, count: int, trial: Trial) -> None:
        """Returns when it has called the trial's function `count` times."""
        assert self._running.stdin is not None
        assert self._running.stdout is not None
        try:
            self._running.stdin.write(struct.pack("<QQ", count, _BASE + _FUNCTIONS_AT + trial * len(_FUNCTION)))
            has_called = bool(self._running.stdout.read(1))
        except BrokenPipeError:
            has_called = False
        if not has_called:
            raise _died()

    def turn(self, count: int) -> float:
        """Time in which the process is woken, answers and waits again, in ns, the mean of `count`; with beside_us()
        nothing else happens in it."""
        before = time.perf_counter_ns()
        for _ in range(count):
            self._say(1, Trial.BARE)
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
        try:
            return time.clock_gettime_ns(~self._running.pid << 3 | 2)
        except OSError:
            raise _died() from None


def _died() -> AttachFailed:
    return AttachFailed("What probes cost cannot be measured: the calibration program died.", fix="Try again.")


@contextmanager
def calibration_process() -> Iterator[CalibrationProcess]:
    """Raises AttachFailed where nothing may be executed that was not installed, and OutOfProcesses."""
    with _started() as running:
        try:
            yield CalibrationProcess(running)
        finally:
            running.kill()


def _started() -> subprocess.Popen[bytes]:
    """The program runs from memory, so that no file system need allow execution; where memory may not be executed
    (the sysctl vm.memfd_noexec), from a file without a name."""
    refusals: list[str] = []
    for place, make in _places():
        try:
            with make() as file:
                file.write(_elf())
                file.flush()
                os.fchmod(file.fileno(), 0o700)
                # Opened again for reading: a file open for writing cannot be executed.
                readable = os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                return _executed(readable)
            finally:
                os.close(readable)
        except BlockingIOError as error:
            raise OutOfProcesses from error
        except OSError as error:
            if error.errno in (errno.ENOMEM, errno.EMFILE, errno.ENFILE):  # no better elsewhere
                raise
            refusals.append(f"in {place}: {error.strerror}")
    raise AttachFailed(
        "What probes cost cannot be measured: the program for it may be executed nowhere.",
        why="; ".join(refusals),
        fix="TMPDIR=/a/folder rat-ebpf …    # that can be written, and is not mounted with noexec",
    )


def _places() -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    yield "memory (vm.memfd_noexec)", lambda: os.fdopen(_memory(), "wb")
    folders = [default_cache()]
    with suppress(OutputFailed):
        folders.insert(0, temporary_folder())
    for folder in folders:
        yield str(folder), partial(_nameless, folder)


def _nameless(folder: Path) -> IO[bytes]:
    return tempfile.TemporaryFile(dir=folder)


def _memory() -> int:
    """Raises OSError."""
    try:
        return os.memfd_create("rat-calibration", os.MFD_CLOEXEC | _MFD_EXEC)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.memfd_create("rat-calibration")  # before Linux 6.3


def _executed(file: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [f"/proc/self/fd/{file}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(file,), bufsize=0
    )


def _elf() -> bytes:
    """A static executable of one segment (System V ABI, x86-64)."""
    size = _size()
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, _BASE + _CODE_AT, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    functions = [_PASSED_FUNCTION if trial is Trial.PASSED else _FUNCTION for trial in Trial]
    return ident + header + segment + _CODE + b"".join(functions)


def _size() -> int:
    return _FUNCTIONS_AT + len(_FUNCTION) * len(Trial)
