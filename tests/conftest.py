"""Settings that all tests share."""

from __future__ import annotations

import os
import subprocess

import pytest
from hypothesis import settings

from tests.cells import cells
from tests.running import OLD_WORKSPACE, Targets

# The same inputs on every run: a change that breaks a property fails at once and again.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-cells", action="store_true", help="every target in every profile, not the pairwise subset")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "cells(targets=None, profiles=None): the cells of tests/cells.py that `cell` goes through"
    )


def pytest_report_header() -> str:
    done = subprocess.run([OLD_WORKSPACE / "rustc", "--version"], capture_output=True, text=True, check=False)
    return f"cells old-*: {(done.stdout or done.stderr).strip()}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `cell` runs for each cell of the table, or for those that its `cells` marker leaves."""
    if "cell" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("cells")
    wanted = marker.kwargs if marker else {}
    chosen = [
        cell
        for cell in cells(every=metafunc.config.getoption("--all-cells"))
        if cell.target in wanted.get("targets", (cell.target,))
        and cell.profile in wanted.get("profiles", (cell.profile,))
    ]
    metafunc.parametrize("cell", chosen, ids=str)


@pytest.fixture(scope="session")
def targets(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Targets:
    """The Rust programs of tests/targets: builds them, starts them, reads what they say about themselves."""
    every = request.config.getoption("--all-cells")
    return Targets(tmp_path_factory.mktemp("targets"), expected=cells(every))


@pytest.fixture(autouse=True)
def _kernel_needs_root(request: pytest.FixtureRequest) -> None:
    """A kernel test without rights fails: a skipped one would say nothing about the kernel."""
    if request.node.get_closest_marker("kernel") and os.geteuid() != 0:
        pytest.fail("kernel tests attach probes: run them as root (sudo scripts/test)")
