"""What ran on which kernel: the table of docs/kernels.md."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

_SESSION = "tests/kernel/test_probe_session.py"
_SCHEDULING = "every wait of a thread is seen"

ROWS = {
    "`doctor` finds everything": "tests/kernel/test_doctor.py::test_everything_is_there",
    "every poll is seen, once": f"{_SESSION}::test_every_poll_is_seen_once",
    "what does not fit is counted exactly": f"{_SESSION}::test_what_does_not_fit_is_counted_exactly",
    "another process of the same file sends nothing": f"{_SESSION}::test_another_instance_of_the_binary_sends_nothing",
    "a panic unwinds through probed functions": f"{_SESSION}::test_a_panic_unwinds_through_probed_frames",
    "no byte of the code is changed afterwards": f"{_SESSION}::test_detaching_restores_the_code",
    "a recording of a tokio program has its own counts": (
        "tests/kernels/truth.py::test_a_recording_has_the_programs_own_counts"
    ),
    _SCHEDULING: "tests/kernel/test_probe_scheduling.py::test_every_wait_for_a_line_is_seen",
}
"""By what the table calls them, the tests."""

_LINKS = {
    "BY_PROCESS": "all at once",
    "BY_THREAD": "all at once, paid for by all processes of the file",
    "NONE": "one by one, 1,000 at most",
}


def tests_for(facts: Mapping[str, Any]) -> list[str]:
    """The tests of what a kernel has.  facts: as tests/kernels/facts.py finds them."""
    return [test for row, test in ROWS.items() if row != _SCHEDULING or facts["scheduling"] is None]


@dataclass(frozen=True, slots=True)
class Tried:
    """One kernel.  outcomes: by name of the test function "passed" or "failed", how often."""

    name: str
    kernel: str
    facts: dict[str, Any]
    outcomes: dict[str, Counter[str]]

    @classmethod
    def from_folder(cls, name: str, kernel: str, folder: Path) -> Tried:
        """Of what a run has left there.  Raises OSError or ParseError when it did not come so far."""
        return cls(name, kernel, json.loads((folder / "facts.json").read_text()), _outcomes(folder / "tests.xml"))

    @property
    def is_well(self) -> bool:
        return not any("failed" in self.cell(row) for row in ROWS)

    def cell(self, row: str) -> str:
        """What the table has there."""
        if ROWS[row] not in tests_for(self.facts):
            return "—"
        counts = self.outcomes.get(ROWS[row].partition("::")[2], Counter({"failed": 1}))  # a test that did not run
        return f"{counts['failed']} failed of {counts.total()}" if counts["failed"] else str(counts["passed"])


def _outcomes(report: Path) -> dict[str, Counter[str]]:
    """Of what pytest wrote."""
    found: dict[str, Counter[str]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = case.get("name", "").partition("[")[0]
        is_bad = any(case.find(tag) is not None for tag in ("failure", "error", "skipped"))
        found.setdefault(name, Counter())["failed" if is_bad else "passed"] += 1
    return found


def table(tried: list[Tried]) -> str:
    """In Markdown."""
    rows = [
        ["", *(f"{one.name}: {one.kernel}" for one in tried)],
        ["---"] * (1 + len(tried)),
        ["probes are attached", *(_LINKS[one.facts["links"]] for one in tried)],
        ["events leave by", *("ring or perf buffer" if one.facts["ring"] else "perf buffer" for one in tried)],
        ["how threads are scheduled is seen", *("no" if one.facts["scheduling"] else "yes" for one in tried)],
        ["stacks of what blocks are taken", *("no" if one.facts["stacks"] else "yes" for one in tried)],
        *([row, *(one.cell(row) for one in tried)] for row in ROWS),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
