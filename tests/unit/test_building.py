"""The targets are built once a profile, in the background, and whoever needs one waits for it."""

from __future__ import annotations

import threading
from collections.abc import Collection
from pathlib import Path

import pytest

from tests import building
from tests.cells import Cell

calls: list[tuple[str, set[str]]] = []
EXPECTED = [Cell("spin", "dev"), Cell("deep", "dev"), Cell("spin", "release")]


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """A build that notes what it is asked for, once the event is set; that of `abort` fails."""
    event = threading.Event()
    calls.clear()

    def build(profile: str, names: Collection[str]) -> Path:
        assert event.wait(10)
        calls.append((profile, set(names)))
        if profile == "abort":
            pytest.fail("it does not compile")
        return Path(profile)

    monkeypatch.setattr(building, "build", build)
    return event


def test_profiles_are_built_one_after_the_other(released: threading.Event) -> None:
    builds = building.Builds(EXPECTED)
    builds.begin(["release", "dev"])
    assert calls == []  # it did not wait
    released.set()
    assert builds.path(Cell("deep", "dev")) == Path("dev/deep")
    assert builds.path(Cell("spin", "dev")) == Path("dev/spin")
    builds.wait()
    builds.close()
    assert calls == [("release", {"spin"}), ("dev", {"spin", "deep"})]


def test_what_nobody_expected_is_built_when_it_is_needed(released: threading.Event) -> None:
    released.set()
    builds = building.Builds(EXPECTED)
    assert builds.path(Cell("life", "stripped")) == Path("stripped/life")
    assert builds.path(Cell("life", "dev")) == Path("dev/life")
    assert builds.path(Cell("spin", "dev")) == Path("dev/spin")
    assert builds.path(Cell("panics", "dev")) == Path("dev/panics")
    builds.close()
    assert calls == [
        ("stripped", {"life"}),
        ("dev", {"life", "spin", "deep"}),
        ("dev", {"life", "spin", "deep", "panics"}),
    ]


def test_a_build_that_fails_fails_the_test_that_needs_it(released: threading.Event) -> None:
    released.set()
    builds = building.Builds()
    builds.begin(["abort"])
    builds.wait()
    with pytest.raises(pytest.fail.Exception, match="does not compile"):
        builds.path(Cell("spin", "abort"))
    builds.close()


def test_waiting_is_until_nothing_is_built(released: threading.Event) -> None:
    builds = building.Builds(EXPECTED)
    builds.begin(["dev", "release"])
    waiting = threading.Thread(target=builds.wait)
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    released.set()
    waiting.join(10)
    assert not waiting.is_alive()
    assert len(calls) == 2
    builds.close()
