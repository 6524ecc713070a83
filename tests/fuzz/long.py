"""scripts/fuzz: runs parsers for some time each, and writes what came of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.fuzz.parsers import PARSERS

ROOT = Path(__file__).parents[2]
FOUND = ROOT / "tests" / "fuzz" / "found"
TABLE = ROOT / "docs" / "fuzzing.md"


def main() -> int:
    """PARSER|all SECONDS."""
    which, seconds = (sys.argv[1:] + ["all", "60"][len(sys.argv) - 1 :])[:2]
    names = list(PARSERS) if which == "all" else [which]
    FOUND.mkdir(exist_ok=True)
    rows = [fuzz(name, float(seconds)) for name in names]
    if which == "all":
        TABLE.write_text(table(rows), encoding="utf-8")
        print(f"wrote {TABLE.relative_to(ROOT)}")
    return 1 if any(row["found"] for row in rows) else 0


def fuzz(name: str, seconds: float) -> dict[str, Any]:
    """The figures of one run."""
    seed = int(time.time())
    command = [sys.executable, "-m", "tests.fuzz.drive", name, "--seconds", str(seconds), "--seed", str(seed)]
    done = subprocess.run([*command, "--keep", FOUND], stdout=subprocess.PIPE, text=True, check=False, cwd=ROOT)
    try:
        figures: dict[str, Any] = json.loads(done.stdout)
    except ValueError:  # it was ended, by the watch or by the kernel: the input is found/last-of-PARSER
        figures = {"parser": name, "cases": 0, "seconds": seconds, "found": {"ended": f"last-of-{name}"}}
        figures |= {"slowest": seconds, "peak": 0}
    print(name, f"{figures['cases']:,} cases,", f"found: {figures['found'] or 'nothing'}", flush=True)
    return figures


def table(rows: list[dict[str, Any]]) -> str:
    """docs/fuzzing.md."""
    lines = [
        "# What the fuzzers say",
        "",
        f"Written by `scripts/fuzz` on {time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores. Each parser reads damaged",
        "inputs: those of tests/fuzz/corpus and others made of them, with right checksums where a wrong one would",
        "end it early. It must answer or raise the error that people are told, within a CPU time that grows with the",
        "input's size, and a gigabyte of memory.",
        "",
        "| parser | what it reads | cases | found | slowest, s | memory, MiB |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        what = (PARSERS[row["parser"]].run.__doc__ or "").split("\n")[0]
        figures = f"{row['cases']:,} | {len(row['found'])} | {row['slowest']} | {row['peak']}"
        lines.append(f"| {row['parser']} | {what} | {figures} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
