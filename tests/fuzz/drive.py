"""Runs one parser on damaged inputs: python -m tests.fuzz.drive PARSER [--cases N] [--seconds S] [--seed N].

In this process, with a limit on its memory, and a watch that ends it with the input in a file when one hangs.
Prints one JSON object; exit code 1 when something was found, whose inputs are then beside it in --keep.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import hashlib
import json
import resource
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import Random

from tests.fuzz import parsers
from tracer.errors import RatError

MEMORY = 1 << 30
"""Bytes of address space that the parsers may take beyond what is there when they begin."""

EACH = 5e-5
"""CPU seconds that a byte of the input may take, beyond the parser's own allowance."""

HANGS = 60
"""Seconds after which one input counts as endless."""


class Found(Exception):
    """A case that took too long."""


def one(parser: parsers.Parser, data: bytes) -> float:
    """Runs it on one input; the CPU seconds it took.  Raises what must not be."""
    began = time.process_time()
    try:
        try:
            parser.run(data)
        except MemoryError:  # what is in cycles has not been given back: Python does not know of our limit
            gc.collect()
            parser.run(data)
    except RatError:
        pass
    except parser.may_raise:
        pass
    took = time.process_time() - began
    if took > parser.seconds + len(data) * EACH:
        raise Found(f"{took:.1f} s for {len(data):,} bytes")
    return took


def main() -> int:
    """The command."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("parser", choices=parsers.PARSERS)
    options.add_argument("--cases", type=int, default=1 << 62)
    options.add_argument("--seconds", type=float, default=1e9)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--keep", type=Path, default=Path())
    asked = options.parse_args()
    parser = parsers.PARSERS[asked.parser]
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        parsers.SCRATCH = Path(folder)
        return run(parser, asked)


def run(parser: parsers.Parser, asked: argparse.Namespace) -> int:
    """All cases, the corpus first."""
    pool = parser.inputs()
    random = Random(asked.seed)
    for data in pool[:4]:  # modules that are loaded once are not counted
        with contextlib.suppress(Exception):
            parser.run(data)
    baseline = _address_space()
    resource.setrlimit(resource.RLIMIT_AS, (baseline + MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    found: dict[str, str] = {}
    slowest, cases, began = 0.0, 0, time.monotonic()
    current = asked.keep / f"last-of-{parser.name}"
    while cases < asked.cases and time.monotonic() - began < asked.seconds:
        data = pool[cases] if cases < len(pool) else parser.mutate(random, random.choice(pool))
        current.write_bytes(data)
        signal.alarm(HANGS)
        try:
            took = one(parser, data)
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            place = _place(error)
            if place not in found:
                name = f"found-{hashlib.sha256(data).hexdigest()[:12]}"
                (asked.keep / name).write_bytes(data)
                found[place] = name
                traceback.print_exc()
        else:
            if took > slowest:
                slowest = took
                if took > 0.1 and len(pool) < 500:
                    pool.append(data)  # what was slow may become slower
        cases += 1
        if cases % 500 == 0 and len(pool) < 500:
            pool.append(data)
    signal.alarm(0)
    current.unlink(missing_ok=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(
        json.dumps(
            {
                "parser": parser.name,
                "cases": cases,
                "seconds": round(time.monotonic() - began, 1),
                "found": found,
                "slowest": round(slowest, 3),
                "peak": peak,
            }
        )
    )
    return 1 if found else 0


def _place(error: BaseException) -> str:
    """What tells one finding from another: the error's kind, and the innermost line of ours."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/tracer/" in frame.filename]
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "nowhere"
    return f"too slow: {error}" if isinstance(error, Found) else f"{type(error).__name__} at {where}"


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    sys.exit(main())
