"""From a file to a plan: time against the size of the binary."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from tests.bench.table import print_table
from tracer import rust
from tracer.target.elf import open_elf


def run(binaries: list[Path]) -> None:
    """Cold: no cache of ours.  Warm: with it.  Both with the file in the page cache, each the median of three."""
    rows = []
    for path in binaries:
        with tempfile.TemporaryDirectory() as folder:
            cold = _read(path, None)
            cache = rust.Cache(Path(folder))
            _read(path, cache)
            warm = _read(path, cache)
        with open_elf(path) as image:
            functions = len(rust.read_binary(image, display_path=str(path)).functions)
        began = time.perf_counter()
        path.read_bytes()
        reading = time.perf_counter() - began
        megabytes = path.stat().st_size / 1e6
        rows.append([f"{path.parent.name}/{path.name}", megabytes, functions, cold, cold / reading, warm, warm / cold])
    head = ["binary", "MB", "poll functions", "cold s", "x reading the file", "warm s", "warm/cold"]
    print_table("Discovery", head, rows)


def _read(path: Path, cache: rust.Cache | None) -> float:
    times = []
    for _ in range(3):
        began = time.perf_counter()
        with open_elf(path) as image:
            rust.read_binary(image, display_path=str(path), cache=cache)
        times.append(time.perf_counter() - began)
    return statistics.median(times)
