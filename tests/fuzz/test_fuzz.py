"""Each parser on the corpus and on some hundreds of damaged inputs; scripts/fuzz runs more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.parsers import PARSERS

CASES = {"capture": 60, "memory": 50, "report": 200, "elf": 500, "lines": 250}
"""How many, where one takes long; else 400: some seconds each."""


@pytest.mark.parametrize("name", PARSERS)
def test_damage(name: str, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.fuzz.drive",
        name,
        "--cases",
        str(CASES.get(name, 400)),
        "--keep",
        str(tmp_path),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, f"inputs: {list(tmp_path.iterdir())}\n{done.stderr[-4000:]}{done.stdout}"
    figures = json.loads(done.stdout)
    assert figures["found"] == {}
    assert figures["cases"] == CASES.get(name, 400)


def test_a_finding_is_found(tmp_path: Path) -> None:
    """What raises anything but RatError, or takes too long, fails, and its input is kept."""
    script = """
import sys, time
from tests.fuzz import drive, parsers

def run(data):
    if data.startswith(b"slow"):
        time.sleep(0)
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass
    elif data != b"good":
        raise ZeroDivisionError

parsers.PARSERS["wrong"] = parsers.Parser("wrong", run, lambda r, d: r.choice([b"bad", b"slow", b"good"]), seconds=0.1)
parsers.Parser.inputs = lambda self: [b"good"]
sys.argv = ["drive", "wrong", "--cases", "20", "--keep", sys.argv[1]]
sys.exit(drive.main())
"""
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 1
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"bad", b"slow"}
    assert len(json.loads(done.stdout)["found"]) == 2
