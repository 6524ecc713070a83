"""What the traced program does, or is done to it."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.bpf_objects import unheld
from tests.faults.place import Place
from tests.faults.scene import PROGRAMS, Fault, Moment, run
from tests.faults.tracer import assert_nothing_left, wait_until
from tests.running import Targets


def _says(line: str) -> Callable[[Moment], None]:
    def says(moment: Moment) -> None:
        moment.enduring.send(line)

    return says


def _execs_itself(moment: Moment) -> None:
    """It says `ready` anew, and works."""
    moment.enduring.send("exec /proc/self/exe")
    moment.enduring.wait_until_ready()
    moment.tracer.wait()


def _forks(moment: Moment) -> None:
    """The child has the probes in its copy of the code, and must lose them as well; it runs while they are there and
    when they are gone."""
    before = unheld()
    child = moment.enduring.ask("fork").child
    moment.enduring.ask("20")
    moment.tracer.stop()
    assert moment.tracer.wait() == 0, moment.tracer.said
    assert_nothing_left(moment.tracer, child, before)
    moment.enduring.ask("3")
    moment.enduring.ask("reap")


def _is_killed(moment: Moment) -> None:
    moment.enduring.ask("on")
    time.sleep(0.1)
    os.kill(moment.enduring.pid, signal.SIGKILL)


def _loses_its_main_thread(moment: Moment) -> None:
    """The kernel tells no memory of the process from then on, but of the others of its threads."""
    pid = moment.enduring.pid
    moment.enduring.ask("leave")
    wait_until(lambda: "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text(), "its main thread has ended")
    moment.enduring.pid = next(tid for tid in map(int, os.listdir(f"/proc/{pid}/task")) if tid != pid)
    moment.enduring.ask("20")


def _stands_still(moment: Moment) -> None:
    moment.enduring.ask("on")
    os.kill(moment.enduring.pid, signal.SIGSTOP)
    time.sleep(0.3)
    os.kill(moment.enduring.pid, signal.SIGCONT)
    moment.enduring.ask("off")


def _loads_a_library(moment: Moment) -> None:
    library = moment.scratch / "libloaded.so"
    source = PROGRAMS / "loaded.rs"
    run("rustc", "--edition", "2021", "-O", "--crate-type", "cdylib", "-o", library, source)
    assert moment.enduring.ask(f"load {library} 1000").loaded == 499_500
    moment.enduring.ask("5")
    assert moment.enduring.ask(f"load {library} 1000").loaded == 999_000


def _is_replaced(moment: Moment) -> None:
    """As an upgrade does it: another program has the name at once, and the old one runs on."""
    name = Path(f"/proc/{moment.enduring.pid}/exe").readlink()
    other = name.with_suffix(".new")
    shutil.copy("/bin/true", other)
    other.rename(name)
    moment.enduring.ask("20")
    name.unlink()


@contextmanager
def _own_file(targets: Targets, scratch: Path) -> Iterator[Place]:
    file = scratch / "endure"
    shutil.copy(targets.path("endure", "release"), file)
    yield Place(executable=file)


@contextmanager
def _deleted_folder(_targets: Targets, scratch: Path) -> Iterator[Place]:
    folder = scratch / "gone"
    folder.mkdir()
    yield Place(cwd=folder)


def _loses_its_folder(moment: Moment) -> None:
    (moment.scratch / "gone").rmdir()
    wait_until(lambda: str(Path(f"/proc/{moment.enduring.pid}/cwd").readlink()).endswith(" (deleted)"), "it has it")
    moment.enduring.ask("20")


OF_TARGETS = (
    Fault("it exits", _says("exit"), ends=7),
    Fault("it executes itself", _execs_itself),
    Fault("it executes another program", _says("exec /bin/sleep 0.2"), ends=0),
    Fault("it forks, and both go on", _forks),
    Fault("it aborts", _says("abort"), ends=-signal.SIGABRT),
    Fault("it is killed", _is_killed, ends=-signal.SIGKILL),
    Fault("it is stopped for a while", _stands_still),
    Fault("its main thread ends, others go on", _loses_its_main_thread, work=("plain", "apart")),
    Fault("91 of its tasks a chunk panic", work=("panics",)),
    Fault("threads and runtimes come and go", work=("churn",)),
    Fault("it loads a library with futures", _loads_a_library),
    Fault("its executable is replaced, then deleted", _is_replaced, around=_own_file),
    Fault("its working folder is deleted", _loses_its_folder, around=_deleted_folder),
    Fault("a seccomp filter kills it at a probe's system call", work=("plain", "filtered")),
)
