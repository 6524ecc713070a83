"""The program that the tests of the probe room trace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel import turns as program
from tracer.model import Binary


@pytest.fixture(scope="session")
def turns_executable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return program.build(tmp_path_factory.mktemp("turns"))


@pytest.fixture(scope="session")
def turns_binary(turns_executable: Path) -> Binary:
    return program.describe(turns_executable)


@pytest.fixture
def turns(turns_executable: Path) -> Iterator[program.Turns]:
    with program.started(turns_executable) as running:
        yield running
