"""Reads a trace that the command wrote, in the real trace_processor."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.e2e.command import rat
from tests.perfetto.trace_processor import Row, TraceProcessor

_POLLS = """
select s.ts, s.dur, t.tid, s.depth,
  extract_arg(s.arg_set_id, 'debug.function') function,
  extract_arg(s.arg_set_id, 'debug.location') location,
  extract_arg(s.arg_set_id, 'debug.result') result,
  extract_arg(s.arg_set_id, 'debug.instance') instance,
  extract_arg(s.arg_set_id, 'debug.note') note,
  extract_arg(s.arg_set_id, 'debug.may have ended later by (ns)') late
from slice s join thread_track tt on s.track_id = tt.id join thread t using (utid)
where s.category = 'poll'
"""


@dataclass(frozen=True, slots=True)
class Polls:
    """The polls of some functions, from the threads' tracks.  starts, ends: ns, an end by its latest bound."""

    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    tids: npt.NDArray[np.uint32]
    instances: frozenset[int]
    results: dict[str, int]

    def __len__(self) -> int:
        return len(self.starts)


class Trace:
    """A trace without any complaint of trace_processor."""

    def __init__(self, path: Path) -> None:
        self.processor = TraceProcessor(path)
        self.processor.health()
        self._polls: dict[str, list[Row]] = {}
        for row in self.processor.query(_POLLS):
            self._polls.setdefault(row["function"], []).append(row)

    @property
    def functions(self) -> set[str]:
        return set(self._polls)

    def polls(self, functions: set[str]) -> Polls:
        rows = [row for function in functions for row in self._polls.get(function, [])]
        results: dict[str, int] = {}
        for row in rows:
            results[str(row["result"])] = results.get(str(row["result"]), 0) + 1
        starts = np.array([row["ts"] for row in rows], np.int64)
        return Polls(
            starts,
            starts + np.array([int(row["dur"]) + int(row["late"] or 0) for row in rows], np.int64),
            np.array([row["tid"] for row in rows], np.uint32),
            frozenset(int(str(row["instance"])) for row in rows if row["instance"] is not None),
            results,
        )

    def notes(self) -> dict[str, int]:
        """How often each remark on a poll occurs."""
        found: dict[str, int] = {}
        for rows in self._polls.values():
            for row in rows:
                if row["note"]:
                    found[str(row["note"])] = found.get(str(row["note"]), 0) + 1
        return found


def functions_of(binary: Path) -> dict[str, set[str]]:
    """For each path as the targets name functions, the names that `rat-ebpf list` has for it.

    One address can stand for several functions (the linker merges equal ones): all their paths lead to it.
    """
    return names_of(listing(binary))


def listing(binary: Path) -> list[dict[str, Any]]:
    """The functions that `rat-ebpf list` says can be probed; of one file it is asked once."""
    return _listing(binary, binary.stat().st_mtime_ns)


@cache
def _listing(binary: Path, changed: int) -> list[dict[str, Any]]:
    probed: list[dict[str, Any]] = json.loads(rat("list", "--json", binary).out)["probed"]
    return probed


def names_of(listed: list[dict[str, Any]]) -> dict[str, set[str]]:
    """functions_of() a listing."""
    found: dict[str, set[str]] = {}
    for one in listed:
        paths = {plain(one["function"])} | {plain(name) for name in one["names"]}
        for path in ["task"] if one["kind"] == "task" else paths:
            found.setdefault(path, set()).add(one["function"])
    return found


def plain(name: str) -> str:
    """A function's path without generic arguments, closures and trait: `<a::F<T> as …>::poll` is `a::F`."""
    match = re.match(r"^<(.+) as core::future::future::Future>::poll$", name)
    name = match[1] if match else name
    name = re.sub(r"::(?:\{\{closure\}\}|\{[a-z_ ]+#?\d*\})", "", name)
    depth, kept = 0, []
    for at, character in enumerate(name):
        closes = character == ">" and name[at - 1] != "-"
        depth -= closes
        if depth == 0 and not closes and character != "<":
            kept.append(character)
        depth += character == "<"
    return "".join(kept)
