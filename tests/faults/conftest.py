"""The table of what was tried, which all tests here add to."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.figures import Figures


@pytest.fixture(scope="session")
def figures(request: pytest.FixtureRequest) -> Iterator[Figures]:
    """Written to --fault-table when all has passed."""
    seed = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(1 << 32))
    found = Figures(seed)
    yield found
    table = request.config.getoption("--fault-table")
    if table and not request.session.testsfailed:
        Path(table).write_text(found.document(request.config.getoption("--fault-rounds")))
