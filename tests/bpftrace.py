"""A second opinion on counts: bpftrace, by address, and the symbols as binutils reads them."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

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
    # bpftrace prints only when all probes are attached.  The counts are read while they still are: before it prints
    # what it has at its end it detaches them, one by one, which takes minutes on some machines.
    program = "\n".join([*probes, 'interval:ms:200 { print(@hits); printf("counted\\n"); }'])
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen([bpftrace, "-f", "json", "-e", program], stdout=out, stderr=err)

        def rounds_after(count: int) -> list[dict[int, int]]:
            while len(found := _rounds(out)) <= count:
                if process.poll() is not None:
                    err.seek(0)
                    pytest.fail(f"bpftrace does not count: {err.read()}")
                time.sleep(0.05)
            return found

        counting = Counting()
        try:
            begun = len(rounds_after(0))
            yield counting
            # The next one may have been under way.
            counting.counts = dict.fromkeys(wanted, 0) | rounds_after(max(begun, len(_rounds(out))) + 1)[-1]
        finally:
            process.kill()
            process.wait()


def _rounds(out: IO[str]) -> list[dict[int, int]]:
    """What was counted so far, at each time that it was printed: hits by address, of those that were hit."""
    out.seek(0)
    rounds, latest = [], dict[int, int]()
    for line in out.read().split("\n")[:-1]:
        message: dict[str, Any] = json.loads(line) if line else {"type": None}
        if message["type"] == "map":
            latest = {int(key): count for key, count in message["data"].get("@hits", {}).items()}
        elif message["type"] == "printf":
            rounds.append(latest)
    return rounds
