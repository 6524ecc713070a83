"""What a target says while it runs: JSON, a line a second."""

from __future__ import annotations

import json
import threading

from tests.running import Running


class Lines:
    """Collects it."""

    def __init__(self, running: Running) -> None:
        self._lines: list[dict[str, int]] = []
        self._running = running
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        stream = self._running.process.stdout
        assert stream is not None
        for line in stream:
            self._lines.append(json.loads(line))

    def taken(self) -> list[dict[str, int]]:
        """What was said since this was asked before."""
        lines, self._lines = self._lines, []
        return lines


def turns(lines: list[dict[str, int]]) -> float:
    """A second, of parked_tokio."""
    return sum(line["turns"] for line in lines) / len(lines)


def gap(lines: list[dict[str, int]]) -> float:
    """The longest time that a thread of parked_tokio was stopped, ms."""
    return max(line["gap"] for line in lines) / 1e6
