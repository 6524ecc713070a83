"""Settings that all tests share."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.building import OLD_WORKSPACE, Builds
from tests.cells import LINES, Cell, cells
from tests.running import Targets

# The same inputs on every run: a change that breaks a property fails at once and again.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

_MANY = 1000
"""Tests in a run, from which on nearly all targets are asked for."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-cells", action="store_true", help="every target in every profile, not the pairwise subset")
    parser.addoption("--fault-rounds", type=int, default=18, help="how often the tracer dies (tests/faults)")
    parser.addoption("--fault-table", metavar="FILE", help="write there what the faults came to")


def pytest_configure(config: pytest.Config) -> None:
    # A shell that starts the tests in the background may have them ignored, and so would all that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First the files that need no target, while those are built; last the ones that measure, when nothing is.

    Those run once more where they fail: the host of a virtual machine can stop it for longer than any of them allows
    for.  The run's last line says how many did, and the lines before it which.
    """
    for item in items:
        if _measures(item):
            item.add_marker(pytest.mark.flaky(reruns=1))
    ranks: dict[object, int] = {}
    for item in items:
        ranks[item.path] = max(ranks.get(item.path, 0), _rank(item))
    items.sort(key=lambda item: ranks[item.path])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test that runs once more does so on what is recorded anew: else it would find what it found before."""
    if getattr(item, "execution_count", 1) > 1 and isinstance(item, pytest.Function):
        for definitions in item._fixtureinfo.name2fixturedefs.values():
            for definition in definitions:
                if definition.scope == "module":
                    definition.finish(item._request)  # type: ignore[arg-type]  # it asks only for the node


def _rank(item: pytest.Item) -> int:
    return 2 if _measures(item) else int("targets" in getattr(item, "fixturenames", ()))


def _measures(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) is not None for name in ("kernel", "e2e"))


@pytest.fixture(scope="session")
def builds(request: pytest.FixtureRequest) -> Iterator[Builds]:
    """What builds the targets: it has begun with the profiles of all cells that this run goes through.

    Of a few tests only those that they ask for: all of a profile are minutes of building.
    """
    every = request.config.getoption("--all-cells")
    functions = [item for item in request.session.items if isinstance(item, pytest.Function)]
    params = [item.callspec.params.get("cell") for item in functions if hasattr(item, "callspec")]
    wanted = dict.fromkeys(cell for cell in params if isinstance(cell, Cell))
    builds = Builds((*cells(every), *LINES) if len(functions) >= _MANY else tuple(wanted))
    builds.begin(dict.fromkeys(cell.profile for cell in wanted))
    yield builds
    builds.close()


@pytest.fixture(scope="session")
def targets(builds: Builds, tmp_path_factory: pytest.TempPathFactory) -> Targets:
    """The Rust programs of tests/targets: builds them, starts them, reads what they say about themselves."""
    return Targets(tmp_path_factory.mktemp("targets"), builds)


@pytest.fixture(autouse=True)
def _is_measured_alone(request: pytest.FixtureRequest, builds: Builds) -> None:
    """Nothing is built beside a test of times; the first test that there is begins the building."""
    if _measures(request.node):
        builds.wait()


@pytest.fixture(autouse=True)
def _kernel_needs_root(request: pytest.FixtureRequest) -> None:
    """A kernel test without rights fails: a skipped one would say nothing about the kernel."""
    if request.node.get_closest_marker("kernel") and os.geteuid() != 0:
        pytest.fail("kernel tests attach probes: run them as root (sudo scripts/test)")
