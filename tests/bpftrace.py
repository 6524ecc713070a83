"""A second opinion on counts: bpftrace, by address, and the symbols as binutils reads them."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def symbols(path: Path) -> dict[int, str]:
    """Demangled function symbols by link-time address, as `nm -C` prints them (legacy names without their hash)."""
    listing = subprocess.run(["nm", "-C", "--defined-only", path], capture_output=True, text=True, check=True).stdout
    rows = (line.split(" ", 2) for line in listing.splitlines())
    return {int(address, 16): name for address, kind, name in rows if kind in "tT"}


class Counting:
    """bpftrace at work; `counts` is filled when the block ends: hits by address."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}


@contextmanager
def bpftrace_count(path: Path, addresses: Iterable[int], pid: int) -> Iterator[Counting]:
    """Counts how often process `pid` runs the instruction at each link-time address of the file, during the block.

    By address, since bpftrace takes a name for all functions that have it.  All probes are attached when the block
    begins.
    """
    bpftrace = shutil.which("bpftrace")
    if bpftrace is None:
        pytest.fail("bpftrace is not installed: apt-get install bpftrace")
    wanted = list(addresses)
    probes = [f"uprobe:{path}:{address:#x} /pid == {pid}/ {{ @hits[{address}] = count(); }}" for address in wanted]
    # bpftrace prints what its probes print only when all are attached.
    program = "\n".join([*probes, 'interval:ms:50 /@ticks < 1/ { @ticks = 1; printf("counting\\n"); }'])
    process = subprocess.Popen(
        [bpftrace, "-f", "json", "-e", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    counting = Counting()
    try:
        seen = next((line for line in process.stdout if "counting" in line), None)
        if seen is None:
            pytest.fail(f"bpftrace did not attach: {process.stderr.read()}")
        yield counting
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        counting.counts = dict.fromkeys(wanted, 0)
        for message in map(json.loads, filter(None, out.splitlines())):
            if message["type"] == "map":
                counting.counts |= {int(key): count for key, count in message["data"].get("@hits", {}).items()}
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
