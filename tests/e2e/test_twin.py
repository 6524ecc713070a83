"""--symbols: the command's words and exit codes."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.command import rat
from tests.running import Targets

pytestmark = pytest.mark.e2e


def test_list_says_what_the_twin_told(targets: Targets) -> None:
    running, twin = targets.path("server", "release"), targets.path("server", "release-debug")
    told = json.loads(rat("list", "--json", running, "--symbols", twin).out)["probed"]
    truth = {one["function"]: one["awaits"] for one in json.loads(rat("list", "--json", twin).out)["probed"]}
    coroutines = [one for one in told if one["kind"] == "coroutine" and one["crate"] == "server"]
    assert len(coroutines) >= 4
    for one in coroutines:
        assert one["layout"] == "twin"
        assert one["awaits"] == truth[one["function"]]
    text = rat("list", running, "--symbols", twin).out
    assert f"async functions wait is known from the twin {twin}" in text
    assert "--symbols TWIN tells the lines" in rat("list", running).out


def test_another_program_is_refused_with_the_command_that_builds_a_twin(targets: Targets) -> None:
    done = rat("list", targets.path("server", "release"), "--symbols", targets.path("life", "release-debug"))
    assert done.code == 11
    assert "is no build of" in done.err
    assert "the twin does not have it" in done.err
    assert "CARGO_PROFILE_RELEASE_DEBUG=2 cargo build --release --target-dir target-twin" in done.err
    assert done.out == ""


def test_a_twin_without_debug_information_is_refused(targets: Targets) -> None:
    path = targets.path("life", "release")
    done = rat("list", path, "--symbols", path.parent / "server")
    assert done.code == 11
    assert "CARGO_PROFILE_RELEASE_DEBUG=2 cargo build" in done.err


def test_the_unstripped_file_of_the_same_build_is_a_debug_file(targets: Targets, tmp_path: Path) -> None:
    path = targets.path("life", "release-debug")
    stripped = tmp_path / "life"
    strip = shutil.which("strip")
    assert strip is not None
    subprocess.run([strip, "-o", stripped, path], check=True)
    assert rat("list", stripped).code == 5
    listed = json.loads(rat("list", "--json", stripped, "--symbols", path).out)["probed"]
    assert listed == json.loads(rat("list", "--json", path).out)["probed"]


def test_a_twin_that_is_not_needed_is_said(targets: Targets) -> None:
    path = targets.path("life", "release-debug")
    done = rat("list", path, "--symbols", targets.path("life", "dev"))
    assert done.code == 0
    assert "is not used" in done.err
