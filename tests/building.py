"""Builds the Rust programs of tests/targets: one cargo call a profile, the profiles one after the other.

They are built while tests run that need none of them, and that measure no times (tests/conftest.py orders them so).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cells import PROFILES, Cell

WORKSPACE = Path(__file__).parent / "targets"
OLD_WORKSPACE = Path(__file__).parent / "targets_old"

_NICE = 10
"""Tests that run meanwhile go first."""


class Builds:
    """Each profile is built once, with all of its `expected` cells, in a thread beside the tests."""

    def __init__(self, expected: Collection[Cell] = ()) -> None:
        self._expected = expected
        self._pool = ThreadPoolExecutor(1, "builds")
        self._building: dict[str, tuple[frozenset[str], Future[Path]]] = {}

    def begin(self, profiles: Iterable[str]) -> None:
        """Builds the expected cells of these profiles, in this order, and does not wait for them."""
        for profile in profiles:
            self._begin(profile, ())

    def path(self, cell: Cell) -> Path:
        """The executable of a cell, once it is built.  Fails the test when it cannot be."""
        names, folder = self._building.get(cell.profile) or self._begin(cell.profile, (cell.target,))
        if cell.target not in names:
            _, folder = self._begin(cell.profile, (*names, cell.target))
        return folder.result() / cell.target

    def wait(self) -> None:
        """Waits until nothing is being built, or will be: from here on the machine is the test's alone."""
        for _, folder in self._building.values():
            folder.exception()

    def close(self) -> None:
        """Builds nothing more."""
        self._pool.shutdown(cancel_futures=True)

    def _begin(self, profile: str, more: Collection[str]) -> tuple[frozenset[str], Future[Path]]:
        names = frozenset({*more, *(cell.target for cell in self._expected if cell.profile == profile)})
        self._building[profile] = names, self._pool.submit(build, profile, names)
        return self._building[profile]


def build(profile: str, names: Collection[str]) -> Path:
    """Builds targets in one profile and returns the folder of the executables.  Fails the test when it cannot."""
    chosen = PROFILES[profile]
    cargo = shutil.which("cargo") or shutil.which("cargo", path=Path.home() / ".cargo" / "bin")
    if cargo is None:
        pytest.fail("cargo is not on the PATH: the tests trace Rust programs; install Rust (https://rustup.rs)")
    # A profile of its own flags has its own folder, else cargo would build everything anew at each change of flags.
    workspace = OLD_WORKSPACE if chosen.old else WORKSPACE
    target_folder = workspace / "target" / profile if chosen.flags else workspace / "target"
    env = {**os.environ, "CARGO_TARGET_DIR": str(target_folder), "RUSTFLAGS": chosen.flags}
    if chosen.old:
        env["RUSTC"] = str(OLD_WORKSPACE / "rustc")
    env.pop("CARGO_ENCODED_RUSTFLAGS", None)
    command = ["nice", f"-n{_NICE}", cargo, "build", "--locked", "--quiet", "--workspace", "--profile", chosen.cargo]
    command += ["--target", chosen.triple] if chosen.triple else []
    command += [f"--bin={name}" for name in sorted(names)]
    done = subprocess.run(command, cwd=workspace, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(command)} failed:\n{done.stderr}")
    return target_folder / chosen.folder
