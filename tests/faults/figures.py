"""What the matrix came to: docs/faults.md."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

_BEGIN = """\
# Every fault tried

Made by `scripts/faults {rounds}` on a machine with {cpus} CPUs and Linux {kernel}, seed {seed}. It is written when
all has passed; the same tests run in continuous integration (`tests/faults`, with fewer deaths of the tracer).

One program (`tests/targets/endure`: tokio, two worker threads, a fixed seed, sums that do not depend on the schedule)
is traced with every poll recorded while something goes wrong. After each fault:

- **the program is unharmed**: each chunk of its work, during the fault and after it, gave the number that an untraced
  run gives, and it ended as an untraced run ends;
- **nothing stays behind**: the code of all its files in memory is, byte by byte, that of the files; no BPF program, map
  or link is loaded that no process holds; no process of the tracer runs; no thread of the program is stopped;
- **what was captured is whole**: it is readable and becomes a trace, and of every chunk of work that lies in it every
  poll is there as often as the program polled, or told as lost. A chunk has some 460 polls of known functions.

"""

_ELSEWHERE = (
    ("the program is busy: a trace being written is interrupted", "tests/e2e/test_interruptions.py"),
    ("the terminal goes away, or nobody reads what is said", "tests/e2e/test_interruptions.py"),
    ("a hundred panics, in each build and mode", "tests/e2e/test_harm.py"),
    ("the executable was replaced before attaching", "tests/e2e/test_truth.py"),
    ("the process ends while it is being attached to", "tests/e2e/test_bad_input.py"),
    ("the disk is full while the trace is written", "tests/e2e/test_bad_input.py"),
    ("overruns of tiny buffers: told + lost = polls, both transports", "tests/kernel/test_probe_session.py"),
    ("a memory limit leaves the program nothing for probes", "tests/faults/test_memory_limit.py"),
    ("the tracer is started without files, children or limits to speak of", "tests/e2e/test_surroundings.py"),
    ("another tool has patched a function in memory", "tests/e2e/test_patched.py"),
    ("the tracer is in a container", "tests/kernel/test_probe_namespace.py"),
    (
        "a container keeps from it: bpf(), executable memory, /sys, folders, processes, memory",
        "tests/e2e/test_sidecar.py",
    ),
    ("a capture that is cut or damaged at any byte", "tests/unit/capture/test_capture.py"),
)
"""Faults whose tests are older than this table, and where they are."""


@dataclass
class Row:
    """rounds: how often.  chunks: of the program's work whose polls were compared with the capture.  skipped: why it
    was not tried here."""

    rounds: int = 0
    chunks: int = 0
    skipped: str = ""


@dataclass
class Figures:
    """Rows by fault and when it came."""

    seed: int = 0
    rows: dict[tuple[str, str], Row] = field(default_factory=dict)

    def add(self, fault: str, when: str, chunks: int) -> None:
        """A round that has passed all checks."""
        row = self.rows.setdefault((fault, when), Row())
        row.rounds += 1
        row.chunks += chunks

    def skip(self, fault: str, when: str, why: str) -> None:
        self.rows.setdefault((fault, when), Row()).skipped = why

    def document(self, deaths: int) -> str:
        """deaths: how many rounds were asked for."""
        kernel = os.uname().release.partition("-")[0]
        text = _BEGIN.format(rounds=deaths, cpus=os.cpu_count(), kernel=kernel, seed=self.seed)
        rounds, chunks = (sum(getattr(row, name) for row in self.rows.values()) for name in ("rounds", "chunks"))
        text += f"**{rounds:,} rounds, {len(self.rows)} cases: the program harmed in 0, something left in 0; of\n"
        text += f"{chunks:,} chunks of work compared with what was captured, 0 with a loss that was not told.**\n\n"
        text += "| fault | when | rounds | chunks compared |\n|---|---|---:|---:|\n"
        for (fault, when), row in self.rows.items():
            if row.skipped:
                text += f"| {fault} | *not tried: {row.skipped}* | 0 | 0 |\n"
            else:
                text += f"| {fault} | {when} | {row.rounds:,} | {row.chunks:,} |\n"
        text += "\nTried elsewhere, by tests with checks of their own:\n\n| fault | test |\n|---|---|\n"
        return text + "".join(f"| {fault} | `{test}` |\n" for fault, test in _ELSEWHERE)
