"""What the tests here compare with, and the table of what was tried, which all of them add to."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.bpf_objects import Objects, unheld
from tests.faults.endure import Work, untraced
from tests.faults.figures import Figures
from tests.running import Targets


@pytest.fixture(scope="session")
def figures(request: pytest.FixtureRequest) -> Iterator[Figures]:
    """Written to --fault-table when all has passed."""
    seed = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(1 << 32))
    found = Figures(seed)
    yield found
    table = request.config.getoption("--fault-table")
    if table and not request.session.testsfailed:
        Path(table).write_text(found.document(request.config.getoption("--fault-rounds")))


@pytest.fixture(scope="module")
def before() -> Objects:
    """What nobody holds although it is loaded."""
    return unheld()


@pytest.fixture(scope="module")
def alone(targets: Targets) -> Work:
    """What the program's work gives when nobody traces it."""
    return untraced(targets)
