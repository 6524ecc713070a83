"""The targets, untraced: they end well, and what they say about themselves agrees with itself."""

from __future__ import annotations

import signal
import subprocess
import time

import numpy as np
import pytest

from tests.cells import Cell
from tests.faults.endure import endure
from tests.running import Result, Targets
from tests.truth import RECORD, Kind, Log, Outcome, Records, enclosing

CHECKSUMS = {
    "tokio_multi": 8758,
    "tokio_current": 759,
    "async_std_log": 782,
    "smol_log": 782,
    "deep": 179,
    "panics": 4950,
}
"""Each is a sum over the instances' numbers, worked out from what the target's tasks return."""


def run(targets: Targets, cell: Cell, *arguments: str) -> Result:
    with targets.run(cell.target, cell.profile, *arguments) as running:
        running.go()
        return running.wait()


def by_instance(log: Log, place: int) -> dict[int, Records]:
    records = log.records[log.records["place"] == place]
    return {int(i): np.sort(records[records["instance"] == i], order="begin") for i in np.unique(records["instance"])}


@pytest.mark.cells(targets=tuple(CHECKSUMS))
def test_a_logging_target_tells_the_truth_about_its_polls(targets: Targets, cell: Cell) -> None:
    result = run(targets, cell)
    assert result.returncode == 0, result.stderr
    totals, log = result.totals, result.log
    assert totals is not None
    assert log is not None
    assert totals.checksum == CHECKSUMS[cell.target]
    assert (totals.dropped, log.dropped, len(log.records)) == (0, 0, totals.records)

    # Inside the measured part, and on one thread one after the other.
    records = np.sort(log.records, order=["tid", "begin"])
    assert np.all((log.begin <= records["begin"]) & (records["begin"] <= records["end"]) & (records["end"] <= log.end))
    same_thread = records["tid"][1:] == records["tid"][:-1]
    assert np.all(records["begin"][1:][same_thread] >= records["end"][:-1][same_thread])

    # The counts that were measured are those that follow from the numbers of tasks and polls.
    for function in {place.chain[-1] for place in log.places if place.kind is not Kind.PART}:
        assert len(log.polls_of(function)) == totals.polls[function]

    for index, place in enumerate(log.places):
        for mine in by_instance(log, index).values():
            assert np.all(mine["begin"][1:] >= mine["end"][:-1])
            if place.kind is Kind.POLL:
                assert len(set(mine["address"])) == 1
                assert list(mine["outcome"]) == [Outcome.PENDING] * (len(mine) - 1) + [Outcome.READY]


@pytest.mark.cells(targets=("tokio_multi", "async_std_log", "smol_log"), profiles=("dev", "release"))
def test_tasks_and_polls_are_as_many_as_they_should_be(targets: Targets, cell: Cell) -> None:
    result = run(targets, cell)
    assert result.log is not None
    # Each target's first place is the leaf below `outer`.
    assert result.log.places[0].chain[0] == f"{cell.target}::outer"
    polls = {instance: len(mine) for instance, mine in by_instance(result.log, 0).items()}
    assert polls == dict.fromkeys(range(23), 47)


@pytest.mark.cells(targets=("async_std_sample", "async_std_sample_waiting"))
def test_the_sample_takes_as_long_as_its_two_sleeps(targets: Targets, cell: Cell) -> None:
    if cell.target == "async_std_sample_waiting":
        result = run(targets, cell)
        assert result.returncode == 0
        assert result.totals is not None
        assert result.totals.end - result.totals.begin >= 250_000_000
    else:
        begin = time.monotonic_ns()
        subprocess.run([targets.path(cell.target, cell.profile)], check=True, timeout=20)
        assert time.monotonic_ns() - begin >= 250_000_000


@pytest.mark.cells(targets=("panics",))
def test_a_backtrace_goes_through_all_frames(targets: Targets, cell: Cell) -> None:
    result = run(targets, cell)
    assert result.lines[0]["frames"] > 10


@pytest.mark.cells(targets=("spin",))
@pytest.mark.parametrize("mode", ["nested", "bare"])
def test_spin_counts_what_it_did(targets: Targets, cell: Cell, mode: str) -> None:
    result = run(targets, cell, mode, "0.2", "3", "1")
    assert result.returncode == 0
    assert result.totals is not None
    polls = result.totals.polls
    assert polls["task"] > 1000
    assert polls["task"] == result.totals.checksum + 3
    if mode == "nested":
        assert polls["spin::inner"] == 2 * (polls["task"] - 3)


@pytest.mark.cells(targets=("life",))
@pytest.mark.parametrize(
    ("how", "returncode", "works"),
    [("exit", 7, []), ("abort", -signal.SIGABRT, []), ("exec", 0, [1]), ("fork", 0, [1, 2])],
)
def test_a_life_ends_as_it_should(targets: Targets, cell: Cell, how: str, returncode: int, works: list[int]) -> None:
    result = run(targets, cell, how)
    assert result.returncode == returncode
    assert [line["polls"]["task"] for line in result.lines] == [998 * times for times in works]
    assert {line["checksum"] for line in result.lines} <= {16522}


@pytest.mark.cells(targets=("endure",))
@pytest.mark.parametrize("work", [("plain",), ("churn",), ("panics",), ("plain", "filtered")], ids="-".join)
def test_it_endures(targets: Targets, cell: Cell, work: tuple[str, ...]) -> None:
    """Each chunk gives the same number, which is the only one that there is: two programs agree."""
    with endure(targets, *work) as first, endure(targets, *work) as second:
        told = first.ask("30")
        assert (told.chunks, told.wrong) == (30, 0)
        assert second.ask("1").checksum == told.checksum
        assert len(first.times) == 30
        assert second.ask("fork").child > 0
        assert second.ask("reap").wrong == 0
        first.send("exit")
        assert first.running.process.wait(10) == 7


@pytest.mark.cells(targets=("server",), profiles=("dev", "release"))
def test_the_server_answers_the_load(targets: Targets, cell: Cell) -> None:
    with targets.run("server", cell.profile) as server:
        address = f"127.0.0.1:{server.ready['port']}"
        done = subprocess.run(
            [targets.path("load", cell.profile), address, "4", "0.8", "600"], capture_output=True, text=True, check=True
        )
        server.process.send_signal(signal.SIGTERM)
        result = server.wait()
    assert result.returncode == 0
    assert f'"requests": {result.lines[0]["requests"]},' in done.stdout
    assert result.lines[0]["reports"] > 0
    assert result.lines[0]["journalled"] > 0


def test_a_target_whose_test_is_gone_ends(targets: Targets) -> None:
    with targets.run("tokio_multi", "dev") as running:
        assert running.process.stdin is not None
        running.process.stdin.close()
        assert running.process.wait(10) == 3


def test_enclosing_finds_the_poll_around_a_record_on_its_own_thread() -> None:
    records = np.zeros(4, RECORD)
    records["tid"] = [1, 1, 2, 1]
    records["begin"] = [12, 31, 12, 5]
    records["end"] = [18, 45, 18, 6]
    starts, ends = np.array([30, 10]), np.array([40, 20])
    tids = np.array([1, 1], np.uint32)
    # Inside the second poll; ends too late; another thread; before all polls.
    assert enclosing(records, starts, ends, tids).tolist() == [1, -1, -1, -1]
    with pytest.raises(ValueError, match="overlap"):
        enclosing(records, np.array([10, 15]), ends, tids)
