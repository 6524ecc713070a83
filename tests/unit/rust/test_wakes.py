"""The functions that wake tasks, found in real binaries."""

from __future__ import annotations

import pytest

from tests.running import Targets
from tests.unit.rust.test_ends import read
from tracer.model import HeaderTest, InstructionCost, Register, WakeOrigin, WakePoint


def points(targets: Targets, target: str, profile: str) -> dict[str, WakePoint]:
    return {point.name.rpartition("::")[2]: point for point in read(targets, target, profile).wakes}


@pytest.mark.parametrize(
    ("target", "profile"),
    [("tokio_multi", "dev"), ("tokio_multi", "release"), ("tokio_multi", "release-debug"), ("tokio_current", "v0")],
)
def test_tokios_wakes_are_in_every_build(targets: Targets, target: str, profile: str) -> None:
    found = points(targets, target, profile)
    for name in ("wake_by_val", "wake_by_ref"):
        assert found[name].effective == HeaderTest(0, 0b110, 0)
        # Unoptimised code calls the inner function with the place of the header's address.
        assert found[name].is_indirect is (profile == "dev")


@pytest.mark.parametrize("profile", ["dev", "release", "release-debug"])
def test_the_kernel_emulates_what_is_probed(targets: Targets, profile: str) -> None:
    found = points(targets, "tokio_multi", profile)
    assert {found[name].cost for name in ("wake_by_val", "wake_by_ref")} == {InstructionCost.EMULATED}
    assert (found["wake_by_ref"].state is Register.RAX) is (profile != "dev")


@pytest.mark.parametrize("profile", ["dev", "release", "release-debug"])
def test_timers_and_io_are_told_by_tokios_own_functions(targets: Targets, profile: str) -> None:
    found = points(targets, "tokio_multi", profile)
    begins = {name: point.begins for name, point in found.items() if point.begins is not None}
    assert begins == {"process_at_time": WakeOrigin.TIMER, "turn": WakeOrigin.IO}


@pytest.mark.parametrize("profile", ["dev", "release", "release-debug"])
def test_tokios_aborts_wake(targets: Targets, profile: str) -> None:
    found = points(targets, "tokio_multi", profile)
    aborts = [point for name, point in found.items() if not name.startswith("wake") and point.begins is None]
    assert len(aborts) == 1, "either remote_abort, or what it calls"
    assert aborts[0].effective == HeaderTest(0, 0b100110, 0)
    assert aborts[0].is_indirect is aborts[0].name.endswith("::remote_abort")


@pytest.mark.parametrize("profile", ["dev", "release"])
def test_async_tasks_wakes(targets: Targets, profile: str) -> None:
    found = read(targets, "smol_log", profile).wakes
    names = {point.name.rpartition("::")[2] for point in found}
    assert "wake_by_ref" in names
    assert names <= {"wake", "wake_by_ref"}
    assert {(point.effective, point.is_indirect) for point in found} == {(HeaderTest(8, 0b1101, 0), False)}
    assert len({point.address for point in found}) == len(found)


def test_what_leaves_it_to_another_one_is_not_probed_twice(targets: Targets) -> None:
    """Unoptimised, async-task's wake calls wake_by_ref."""
    assert {point.name.rpartition("::")[2] for point in read(targets, "smol_log", "dev").wakes} == {"wake_by_ref"}
