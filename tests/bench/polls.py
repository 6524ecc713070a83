"""What a poll costs the target: untraced, with each way of seeing exits, and with bpftrace on the same functions."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tests.bench.table import print_table
from tests.e2e.command import recording
from tests.running import Targets
from tracer import rust
from tracer.capture import CaptureReader
from tracer.model import CaptureEnd, FunctionKind, PollFunction
from tracer.target.elf import ElfImage, open_elf

SECONDS = "3"
ONE_TASK_ONE_WORKER = ("1", "1")
"""So that the tracer has a core of its own, and a poll's cost is the wall time per poll."""


def run(targets: Targets) -> None:
    """One table: the nested spinners and the bare one, release with symbols only, in every mode."""
    rows = []
    for mode in ("nested", "called", "bare"):
        path = targets.path("spin", "release")
        with open_elf(path) as image:
            binary = rust.read_binary(image, display_path=str(path))
            functions, wakes = binary.functions, _functions_around([one.address for one in binary.wakes], image)
        untraced = polls_traced(targets, mode, None)[0]
        cost = {"untraced": (untraced, "")}
        for name, options in {
            "default": (),
            "--exits ret": ("--exits", "ret"),
            "--exits task": ("--exits", "task"),
        }.items():
            cost[f"rat-ebpf {name}"] = polls_traced(targets, mode, options)
        tasks = [one for one in functions if one.kind is FunctionKind.TASK]
        cost["bpftrace, all functions"] = (polls_with_bpftrace(targets, mode, functions), "")
        cost["bpftrace, task polls"] = (polls_with_bpftrace(targets, mode, tasks), "")
        cost["bpftrace, task polls and wakes"] = (polls_with_bpftrace(targets, mode, tasks, wakes), "")
        peer = cost["bpftrace, all functions"][0] - untraced
        for name, (nanoseconds, told) in cost.items():
            added = nanoseconds - untraced
            rows.append([mode, name, nanoseconds, nanoseconds / untraced, added / peer, told])
    head = ["target", "traced by", "ns per poll", "x untraced", "added, x bpftrace's", "recorded"]
    note = (
        "bpftrace pairs in the kernel by a map and prints histograms only; it needs a return probe on every function."
    )
    print_table("A poll", head, rows, note)


def _functions_around(addresses: Sequence[int], image: ElfImage) -> list[int]:
    """Where the functions begin that these are in: bpftrace attaches nowhere else."""
    begins = np.unique(image.symbols().table["address"])
    return sorted({int(begins[np.searchsorted(begins, address, side="right") - 1]) for address in addresses})


def polls_traced(targets: Targets, mode: str, options: tuple[str, ...] | None) -> tuple[float, str]:
    """Nanoseconds per poll, and what the recording received and lost."""
    with targets.run("spin", "release", mode, SECONDS, *ONE_TASK_ONE_WORKER) as running:
        if options is None:
            running.go()
            return _per_poll(running.wait().stdout), ""
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "x.ratcap"
            arguments = ["--pid", running.pid, "--format", "capture", "-o", output, "--max-overhead", 100, *options]
            with recording(*arguments) as rec:
                running.go()
                result = running.wait()
                rec.wait()
            with CaptureReader(output) as reader:
                end = next(item for item in reader if isinstance(item, CaptureEnd))
            return _per_poll(result.stdout), f"{end.received:,} events, {end.lost:,} lost"


def polls_with_bpftrace(
    targets: Targets, mode: str, functions: Sequence[PollFunction], wakes: Sequence[int] = ()
) -> float:
    """Nanoseconds per poll.  wakes: functions whose calls it counts, too."""
    path = targets.path("spin", "release")
    with (
        targets.run("spin", "release", mode, SECONDS, *ONE_TASK_ONE_WORKER) as running,
        bpftrace_on(path, functions, running.pid, wakes),
    ):
        running.go()
        return _per_poll(running.wait().stdout)


@contextmanager
def bpftrace_on(
    path: Path, functions: Sequence[PollFunction], pid: int, counted: Sequence[int] = ()
) -> Iterator[subprocess.Popen[str]]:
    """Histograms of how long each function takes, by probes at its entry and its return; attached in the block.

    counted: functions whose calls are counted, by thread.
    """
    lines = []
    for number, one in enumerate(functions):
        place = f":{path}:{one.address:#x} /pid == {pid}"
        lines.append(f"uprobe{place}/ {{ @start[tid, {number}] = nsecs; }}")
        lines.append(
            f"uretprobe{place} && @start[tid, {number}]/ "
            f"{{ @time[{number}] = hist(nsecs - @start[tid, {number}]); delete(@start[tid, {number}]); }}"
        )
    lines += [f"uprobe:{path}:{address:#x} /pid == {pid}/ {{ @hits[tid] = count(); }}" for address in counted]
    lines.append('interval:ms:50 /@ticks < 1/ { @ticks = 1; printf("attached\\n"); }')
    bpftrace = shutil.which("bpftrace")
    assert bpftrace is not None, "apt-get install bpftrace"
    process = subprocess.Popen([bpftrace, "-e", "\n".join(lines)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert any("attached" in line for line in process.stdout), "bpftrace did not attach"
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _per_poll(stdout: str) -> float:
    totals = [json.loads(line) for line in stdout.splitlines() if line.startswith('{"begin"')][-1]
    return float((totals["end"] - totals["begin"]) / sum(totals["polls"].values()))
