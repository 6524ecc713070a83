"""One live process, seen through /proc/PID.

Field numbers of /proc/PID/stat are those of proc(5) (Linux 6.x).  Everything is read anew on each
call; what `TargetProcess` keeps is what names the process and guards against its number being
given to another one.
"""

from __future__ import annotations

import os
import pwd
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tracer.errors import NoSuchProcess, NotTraceable, PermissionMissing
from tracer.model import ClockReading, Mapping, Thread
from tracer.privileges import Capability, has_capability
from tracer.target.clock import clock_offsets
from tracer.target.memory_map import DELETED, bias_from_auxiliary_vector, bias_from_mappings, parse_maps

if TYPE_CHECKING:
    from tracer.target.elf import ElfImage

_PF_KTHREAD = 0x00200000
"""Flag of a kernel thread in field 9 of stat (include/linux/sched.h)."""

_CPUCLOCK_SCHED = 2
"""Low bits of a clock id that mean "precise run time of a process" (include/linux/posix-timers.h)."""


@dataclass(frozen=True, slots=True)
class Stat:
    """The fields of /proc/PID/stat that are used.  start_time: clock ticks since boot."""

    pid: int
    name: str
    state: str
    flags: int
    threads: int
    start_time: int
    start_code: int
    start_stack: int

    @classmethod
    def parse(cls, text: bytes) -> Stat:
        """Parses one stat line.  The name may hold spaces and parentheses: it ends at the *last* one.

        start_code and start_stack are 0 or 1 where the reader may not look at the process' memory.
        """
        head, _, tail = text.rpartition(b")")
        pid, _, name = head.partition(b" (")
        fields = tail.split()  # fields[0] is field 3
        return cls(
            pid=int(pid),
            name=name.decode("utf-8", "replace"),
            state=fields[0].decode(),
            flags=int(fields[6]),
            threads=int(fields[17]),
            start_time=int(fields[19]),
            start_code=int(fields[23]),
            start_stack=int(fields[25]),
        )

    @property
    def is_dead(self) -> bool:
        """True when nothing of the process runs any more.

        A main thread that ended before the others shows as a zombie too, with its threads counted.
        """
        return self.state in "Xx" or (self.state == "Z" and self.threads <= 1)

    @property
    def has_lost_leader(self) -> bool:
        """True when the main thread ended, and others run on: the kernel tells no executable and no memory then."""
        return self.state == "Z" and not self.is_dead


@dataclass(frozen=True, slots=True)
class TargetProcess:
    """A process to trace.

    start_time: clock ticks since boot; pid and start_time together are never reused.
    executable: the path as the process' own mount namespace names it, for display only, without the
    kernel's " (deleted)".  is_deleted: that file has been removed or replaced since.
    image_identity: changes when the process execs another program (or the same one again).
    """

    pid: int
    start_time: int
    name: str
    command: tuple[str, ...]
    executable: str
    is_deleted: bool
    image_identity: tuple[int, int, int, int]

    @classmethod
    def open(cls, pid: int) -> TargetProcess:
        """Looks at process `pid`.

        Raises NoSuchProcess (none, or the number of a thread), NotTraceable (kernel thread, ended
        but not yet reaped, its main thread ended) and PermissionMissing (CAP_SYS_PTRACE).
        """
        stat = _read_stat(pid)
        _refuse_untraceable(pid, stat)
        folder = Path(f"/proc/{pid}")
        try:
            link = os.fsencode((folder / "exe").readlink()).decode("utf-8", "replace")
            is_deleted = (folder / "exe").stat().st_nlink == 0
            command = (folder / "cmdline").read_bytes()
            identity = _image_identity(pid, _read_stat(pid))
        except PermissionError:
            raise permission_missing(pid, stat.name) from None
        except (FileNotFoundError, ProcessLookupError):
            raise ended(pid) from None
        if _read_stat(pid).start_time != stat.start_time:
            raise ended(pid)
        return cls(
            pid=pid,
            start_time=stat.start_time,
            name=stat.name,
            command=tuple(word.decode("utf-8", "replace") for word in command.rstrip(b"\0").split(b"\0")),
            executable=link.removesuffix(DELETED) if is_deleted else link,
            is_deleted=is_deleted,
            image_identity=identity,
        )

    @property
    def exe_path(self) -> Path:
        """What to open and to attach to: right whatever happened to the visible path."""
        return Path(f"/proc/{self.pid}/exe")

    @property
    def root_path(self) -> Path:
        """The root folder of the process' mount namespace (or chroot)."""
        return Path(f"/proc/{self.pid}/root")

    def is_alive(self) -> bool:
        """True while this very process runs: a zombie is not alive, nor is a later process of its number."""
        try:
            stat = _read_stat(self.pid)
        except NoSuchProcess:
            return False
        return stat.start_time == self.start_time and not stat.is_dead

    def runs_same_image(self) -> bool:
        """True while the process is alive and has not exec'd since `open`."""
        try:
            stat = _read_stat(self.pid)
            if stat.start_time != self.start_time or stat.is_dead:
                return False
            if stat.has_lost_leader:  # whatever executes another program is the main thread of it
                return True
            return _image_identity(self.pid, stat) == self.image_identity
        except (NoSuchProcess, OSError):
            return False

    def maps(self) -> list[Mapping]:
        """The memory mappings, by rising address.  Raises NoSuchProcess, PermissionMissing."""
        return parse_maps(self._read("maps"))

    def threads(self) -> list[Thread]:
        """The threads that are there now, by rising tid; those that end while being read are left out.

        Raises NoSuchProcess when the process has ended.
        """
        folder = Path(f"/proc/{self.pid}/task")
        try:
            tids = sorted(int(entry) for entry in os.listdir(folder))
        except (FileNotFoundError, ProcessLookupError):
            raise ended(self.pid) from None
        found = []
        for tid in tids:
            try:
                name = (folder / str(tid) / "comm").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            found.append(Thread(tid, self.pid, name.removesuffix(b"\n").decode("utf-8", "replace")))
        if not self.is_alive():
            raise ended(self.pid)
        return found

    def thread_ids(self) -> frozenset[int]:
        """The same by their tids alone, which is quick.  Raises NoSuchProcess."""
        try:
            return frozenset(int(entry) for entry in os.listdir(f"/proc/{self.pid}/task"))
        except (FileNotFoundError, ProcessLookupError):
            raise ended(self.pid) from None

    def cpu_time_ns(self) -> int:
        """CPU time, user and system, of all its threads so far, also of those that ended; nanoseconds.

        It is the process' CPU clock (clock_getcpuclockid(3)): the scheduler's own nanosecond sum, where
        utime + stime of /proc/PID/stat come in steps of 10 ms.  Needs no privilege.
        Raises NoSuchProcess when the process has ended.
        """
        try:
            return time.clock_gettime_ns((~self.pid << 3) | _CPUCLOCK_SCHED)
        except OSError:
            raise ended(self.pid) from None

    def resident_bytes(self) -> int:
        """How much of its memory is present (proc(5), statm).  Raises NoSuchProcess, PermissionMissing."""
        return int(self._read("statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def load_bias(self, image: ElfImage) -> int:
        """Run-time address minus link-time address of `image` (the executable or a shared object), in bytes.

        The executable's comes from the auxiliary vector where no mapping of its file is left (text moved
        to huge pages).  Raises NotTraceable when the process does not have the file mapped, and
        NoSuchProcess, PermissionMissing.
        """
        try:
            status = image.path.stat()
            executable = self.exe_path.stat()
        except PermissionError:
            raise permission_missing(self.pid, self.name) from None
        except (FileNotFoundError, ProcessLookupError):
            raise ended(self.pid) from None
        is_executable = os.path.samestat(status, executable)
        path = self.executable if is_executable else str(image.path)
        bias = bias_from_mappings(self.maps(), image.segments, status, path)
        if bias is None and is_executable:
            bias = bias_from_auxiliary_vector(self._read("auxv"), image.data)
        if bias is None:
            raise NotTraceable(
                f"Process {self.pid} ({self.name}) does not have {path} in its memory.",
                why="No executable mapping of that file was found.",
                fix=f"rat-ebpf list {self.pid}",
            )
        return bias

    def _read(self, entry: str) -> bytes:
        try:
            data = Path(f"/proc/{self.pid}/{entry}").read_bytes()
        except PermissionError:
            raise permission_missing(self.pid, self.name) from None
        except (FileNotFoundError, ProcessLookupError):
            raise ended(self.pid) from None
        if not data or not self.is_alive():  # a zombie's files read as empty
            raise ended(self.pid)
        return data


def kernel_release() -> str:
    """The running kernel, as `uname -r` says it."""
    return os.uname().release


def read_clocks() -> ClockReading:
    """The three clocks of the machine at one moment; they lie at most a few microseconds apart.

    The tightest of several readings counts, since the program can lose the CPU between two clocks.
    """
    offsets = clock_offsets()
    best: tuple[int, ClockReading] | None = None
    for _ in range(16):
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        boottime = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        realtime = time.clock_gettime_ns(time.CLOCK_REALTIME)
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        if best is None or after - before < best[0]:
            monotonic = (before + after) // 2 - offsets["monotonic"]
            best = after - before, ClockReading(monotonic, boottime - offsets["boottime"], realtime)
    assert best is not None
    return best[1]


def _read_stat(pid: int) -> Stat:
    try:
        return Stat.parse(Path(f"/proc/{pid}/stat").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        raise NoSuchProcess(
            f"There is no process {pid}.", fix="List the candidates with: pgrep --list-full YOUR_PROGRAM"
        ) from None
    except PermissionError:
        raise PermissionMissing(
            f"Process {pid} may not be looked at.",
            why="/proc shows it to its owner only (hidepid).",
            fix=f"sudo rat-ebpf --pid {pid}",
        ) from None


def _image_identity(pid: int, stat: Stat) -> tuple[int, int, int, int]:
    # Device and inode tell another program; the stack's (and a PIE's) place tells the same one started again.
    file = Path(f"/proc/{pid}/exe").stat()
    return file.st_dev, file.st_ino, stat.start_code, stat.start_stack


def _refuse_untraceable(pid: int, stat: Stat) -> None:
    if stat.flags & _PF_KTHREAD:
        raise NotTraceable(
            f"Process {pid} ({stat.name}) is a thread of the kernel, no Rust program.",
            fix="List the candidates with: pgrep --list-full YOUR_PROGRAM",
        )
    leader = _thread_group(pid)
    if leader != pid:
        raise NoSuchProcess(
            f"{pid} ({stat.name}) is a thread of process {leader}, no process.",
            why="Processes are traced with all their threads.",
            fix=f"sudo rat-ebpf --pid {leader}",
        )
    if stat.is_dead:
        raise NotTraceable(
            f"Process {pid} ({stat.name}) has ended; its parent has not collected it yet (a zombie).",
            fix="Start the program again and give its new number.",
        )
    if stat.has_lost_leader:
        raise NotTraceable(
            f"The main thread of process {pid} ({stat.name}) has ended while others run on.",
            why="The kernel then no longer tells which executable the process has.",
            fix="Start the program under the tracer: sudo rat-ebpf -- PROGRAM ARGUMENTS",
        )


def _thread_group(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        raise ended(pid) from None
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(b"Tgid:"))


def ended(pid: int) -> NoSuchProcess:
    """The error for a process that is gone."""
    return NoSuchProcess(
        f"Process {pid} ended while it was being looked at.", fix="Start the program again and give its new number."
    )


def permission_missing(pid: int, name: str) -> PermissionMissing:
    """The error for a process that the kernel does not let this program look at."""
    try:
        uid = Path(f"/proc/{pid}").stat().st_uid
    except FileNotFoundError:
        owner = ""
    else:
        try:
            owner = f" of user {pwd.getpwuid(uid).pw_name}"
        except KeyError:
            owner = f" of user {uid}"
    what = f"Process {pid} ({name}){owner} may not be looked at."
    if has_capability(Capability.SYS_PTRACE):
        return PermissionMissing(
            what,
            why="The kernel refused although CAP_SYS_PTRACE is there: a security module, or a process of an outer user "
            "namespace.",
            fix="Run rat-ebpf on the host, outside of containers.",
        )
    why = "The capability CAP_SYS_PTRACE is missing."
    if _yama_scope() > 0:
        why = f"{why[:-1]}, and kernel.yama.ptrace_scope keeps processes of the same user apart."
    return PermissionMissing(what, why=why, fix=f"sudo rat-ebpf --pid {pid}")


def _yama_scope() -> int:
    """0: processes of one user may look at each other (Documentation/admin-guide/LSM/Yama.rst)."""
    try:
        return int(Path("/proc/sys/kernel/yama/ptrace_scope").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
