"""ps and tree: what the tasks of a live process do, and of one that left a core dump."""

from __future__ import annotations

import json
import re
import resource
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.e2e.command import RAT, rat
from tests.running import Running, Targets
from tests.unit.output.test_schema import closed
from tracer.commands.snapshots import live_tasks

pytestmark = pytest.mark.e2e

SCHEMA = Path(__file__).parents[2] / "docs" / "snapshot.schema.json"
NOBODY = 65534
NAMED = ("parked", "holds_mutex", "waits_mutex", "deadlocked", "futurelocked", "unordered", "joins_set", "waits_accept")
"""Tasks that go by the name of their function."""


@pytest.fixture(scope="module", params=["dev", "release-debug"])
def linked(request: pytest.FixtureRequest, targets: Targets) -> Iterator[Running]:
    with targets.run("linked_tokio", request.param) as running:
        yield running


def document(*arguments: object) -> dict[str, Any]:
    done = rat(*arguments, "--json")
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def ids(running: Running, name: str) -> list[int]:
    return [number for one, number in running.ready["tasks"] if one == name]


def test_every_task_is_listed_with_its_id_and_what_it_runs(linked: Running) -> None:
    tasks = document("ps", linked.pid)["tasks"]
    told = {task["id"]: task for task in tasks}
    for name, number in linked.ready["tasks"]:
        if name in NAMED:
            assert told[number]["future"] == f"linked_tokio::{name}"
        assert told[number]["state"] in ("waiting", "ready", "complete")
    assert [task["id"] for task in tasks] == sorted(told)


def test_the_documents_are_as_documented(linked: Running) -> None:
    schema = json.loads(SCHEMA.read_text())
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(closed(schema))
    validator.validate(document("ps", linked.pid))
    tree = document("tree", linked.pid)
    validator.validate(tree)
    assert any(task["links"] for task in tree["tasks"])
    assert any(link["kept"] for task in tree["tasks"] for link in task["links"])


def test_deadlocks_and_futurelocks_are_named(linked: Running) -> None:
    first, second = ids(linked, "deadlocked")
    (futurelocked,) = ids(linked, "futurelocked")
    cycles = [(one["kind"], set(one["tasks"]), one["certain"]) for one in document("tree", linked.pid)["cycles"]]
    assert ("deadlock", {first, second}, True) in cycles
    assert ("futurelock", {futurelocked}, True) in cycles
    words = rat("tree", linked.pid).out.splitlines()
    assert any(line.startswith(f"deadlock: task {first} ") and f"→ task {second} " in line for line in words)
    assert any(line.startswith(f"futurelock: task {futurelocked} ") for line in words)
    for name in ("futurelocked_by_permit", "futurelocked_by_holder"):
        (one,) = ids(linked, name)
        (line,) = (line for line in words if line.startswith(f"futurelock: task {one} "))
        assert " waits for the semaphore at 0x" in line


def test_the_parked_process_is_not_named_a_deadlock(linked: Running) -> None:
    named = {one for cycle in document("tree", linked.pid)["cycles"] for one in cycle["tasks"]}
    innocent = [number for name, number in linked.ready["tasks"] if name in ("parked", "waits_mutex", "holds_mutex")]
    assert len(innocent) >= 4
    assert not named & set(innocent)


def test_tasks_that_wait_alike_are_one_tree(linked: Running) -> None:
    parked = ids(linked, "parked")
    assert len(parked) > 1
    words = rat("tree", linked.pid, "-F", "::parked$").out
    count = len([task for task in document("ps", linked.pid)["tasks"] if task["future"].endswith("::parked")])
    assert words.startswith(f"{count} tasks: linked_tokio::parked")
    assert words.count("Pending<()>") == 1


def test_what_one_task_holds_is_not_said_of_those_that_wait_as_it_does(linked: Running) -> None:
    (dropped,), (kept,) = ids(linked, "maybe_dropped_did"), ids(linked, "maybe_dropped_not")
    stacks = {task["id"]: task["stack"] for task in document("ps", linked.pid)["tasks"]}
    assert stacks[dropped] == stacks[kept]
    trees = rat("tree", linked.pid, "-F", "::maybe_dropped$").out.split("\n\n")
    (without,) = (tree for tree in trees if f"  id {dropped}\n" in tree)
    (having,) = (tree for tree in trees if f"  id {kept}\n" in tree)
    assert "holding the mutex at 0x" not in without
    assert "holding the mutex at 0x" in having


def test_how_many_messages_wait_in_a_channel(linked: Running) -> None:
    tasks = {task["id"]: task for task in document("tree", linked.pid)["tasks"]}
    for name, messages, capacity in linked.ready["messages"]:
        for number in ids(linked, name):
            channels = [link for link in tasks[number]["links"] if link["kind"] == "mpsc"]
            assert {(link["messages"], link["capacity"]) for link in channels} == {(messages, capacity)}, name
    assert not [
        task for task in tasks.values() for link in task["links"] if link["kind"] == "mutex" and link["messages"]
    ]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("keeps_unbounded", "  with the receiver of the mpsc at {at}, 1,009 messages wait in it"),
        ("keeps_ended", "  with the receiver of the mpsc at {at}, 11 messages wait in it"),
        ("keeps_some", "  with the receiver of the mpsc at {at}, 3 of at most 7 messages wait in it"),
        ("block_keeps", "  perhaps with the receiver of the mpsc at {at}, 23 messages wait in it"),
        ("waits_mpsc", "  mpsc at {at}, empty, → task "),
        ("fills_shared", "  mpsc at {at}, full: 2 messages wait in it"),
        (
            "fills",
            "  mpsc at {at}, full: 5 messages wait in it, → task {keeper} (linked_tokio::keeps_full), which waits ",
        ),
    ],
)
def test_what_is_said_of_a_channel(linked: Running, name: str, words: str) -> None:
    (keeper,) = ids(linked, "keeps_full")
    tree = rat("tree", linked.pid, "--task", ids(linked, name)[0]).out
    pattern = re.escape(words).replace(r"\{at\}", "0x[0-9a-f]+").replace(r"\{keeper\}", str(keeper))
    assert re.search(pattern, tree), tree


def test_filters(linked: Running) -> None:
    (one,) = ids(linked, "futurelocked")
    assert [task["id"] for task in document("tree", linked.pid, "--task", one)["tasks"]] == [one]
    assert document("ps", linked.pid, "--state", "running")["tasks"] == []
    names = [task["future"] for task in document("ps", linked.pid, "--sort", "future")["tasks"]]
    assert names == sorted(names)
    assert rat("tree", linked.pid, "--task", 10**9).code == 2
    done = rat("ps", linked.pid, "-F", "(")
    assert done.code == 2
    assert "is not a regular expression" in done.err


def test_the_futures_in_a_container_are_branches(linked: Running) -> None:
    (one,) = ids(linked, "unordered")
    tree = document("tree", linked.pid, "--task", one)
    frames = tree["stacks"][0]
    while len(frames) == 1:
        frames = frames[0]["children"]
    assert len(frames) == 7
    assert {frame["future"] for frame in frames} == {"linked_tokio::waits_mutex"}
    assert "7 × linked_tokio::waits_mutex" in rat("tree", linked.pid, "--task", one).out  # noqa: RUF001


@pytest.fixture
def dumps_to_files() -> Iterator[None]:
    """The kernel writes core dumps into the folder of the program."""
    setting = Path("/proc/sys/kernel/core_pattern")
    before = setting.read_text()
    setting.write_text("core")
    yield
    setting.write_text(before)


@pytest.mark.usefixtures("dumps_to_files")
@pytest.mark.parametrize("profile", ["dev", "release-debug"])
def test_a_core_dump_tells_the_same(targets: Targets, tmp_path: Path, profile: str) -> None:
    executable = targets.path("linked_tokio", profile)
    with targets.run("linked_tokio", profile, cwd=tmp_path) as running:
        alive = document("tree", running.pid)
        resource.prlimit(running.pid, resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        running.process.send_signal(signal.SIGABRT)
        running.process.wait()
    (core,) = tmp_path.glob("core*")
    dead = document("tree", "--core", core, "--exe", executable)
    assert dead["process"]["pid"] == running.pid
    assert dead["time"] is None
    for one in (alive, dead):
        for task in one["tasks"]:
            for link in task["links"]:
                link["number"] = None  # timers are set again
    assert dead["tasks"] == alive["tasks"]
    assert dead["stacks"] == alive["stacks"]
    none = rat("tree", "--core", core, "--exe", executable, "--task", 987654)
    assert f"{core} has no task 987654" in none.err
    assert none.err.splitlines()[-1].strip() == f"rat-ebpf ps --core {core} --exe {executable}"
    other = rat("tree", "--core", core, "--exe", targets.path("server", profile))
    assert other.code == 5
    assert "is not a dump of" in other.err
    cut = tmp_path / "cut"
    cut.write_bytes(core.read_bytes()[: core.stat().st_size // 2])
    done = rat("ps", "--core", cut, "--exe", executable)
    assert done.code == 0
    assert "is cut off" in done.err


def test_the_right_to_trace_the_process_is_enough(targets: Targets) -> None:
    """As another user: what one may trace can be read, without any capability; what one may not is refused."""
    mine = targets.path("linked_tokio", "dev")
    with targets.run("linked_tokio", "dev") as running:
        done = as_nobody(RAT, "ps", running.pid)
        assert done.returncode == 4
        assert "CAP_SYS_PTRACE is missing" in done.stderr
        assert "Traceback" not in done.stderr
    with subprocess.Popen([mine], user=NOBODY, group=NOBODY, extra_groups=[], stdin=PIPE, stdout=PIPE) as own:
        assert own.stdout is not None
        assert own.stdout.readline().startswith(b"ready")
        done = as_nobody(RAT, "ps", own.pid)
        own.kill()
    assert done.returncode == 0, done.stderr
    assert "linked_tokio::deadlocked" in done.stdout


def own_executor(folder: Path, *arguments: str) -> Path:
    """The program that polls its future itself, compiled with these arguments."""
    executable = folder / "own_executor"
    command = ["rustc", "--edition", "2021", *arguments, str(Path(__file__).parent / "own_executor.rs")]
    subprocess.run([*command, "-o", executable], check=True, capture_output=True, timeout=120)
    return executable


@pytest.mark.parametrize("command", ["ps", "tree", "sample"])
def test_tasks_of_another_runtime_are_said_to_be_unreadable_in_any_build(
    targets: Targets, tmp_path: Path, command: str
) -> None:
    """Only a program without symbols may be better off when it is built again."""
    with targets.start(own_executor(tmp_path, "-Cdebuginfo=2")) as running:
        done = rat(command, running.pid)
        assert done.code == 5
        assert "however a program is built" in done.err
        assert "debug = 2" not in done.err
        assert done.err.rstrip().endswith(f"rat-ebpf --pid {running.pid}")
    with targets.start(own_executor(tmp_path, "-Cstrip=symbols")) as running:
        done = rat(command, running.pid)
        assert done.code == 5
        assert "is stripped" in done.err
        assert "debug = 2" in done.err


def as_nobody(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_no_thread_is_stopped(targets: Targets) -> None:
    """The state of the threads, looked at all the time while 20 snapshots are taken, is never stopped or traced."""
    with targets.run("linked_tokio", "dev") as running:
        reader = live_tasks(running.pid).reader
        stop, seen = threading.Event(), set[str]()

        def look() -> None:
            while not stop.is_set():
                for status in Path(f"/proc/{running.pid}/task").glob("*/stat"):
                    seen.add(status.read_text().rpartition(")")[2].split()[0])

        looking = threading.Thread(target=look)
        looking.start()
        for _ in range(20):
            reader.take()
        stop.set()
        looking.join()
    assert seen <= {"R", "S", "D"}
