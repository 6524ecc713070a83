"""Links and containers of layouts: what types that are known lead to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.running import Targets
from tracer.model import LinkKind, LinkRole
from tracer.rust import Cache, read_binary
from tracer.target.elf import open_elf


@pytest.mark.parametrize("profile", ["dev", "release-debug"])
def test_what_is_of_async_lock_and_its_like(targets: Targets, profile: str) -> None:
    with open_elf(targets.path("linked_smol", profile)) as image:
        layouts = read_binary(image, display_path="linked_smol").layouts
    found = {
        (name.removeprefix("linked_smol::"), link.kind, link.role)
        for layout in layouts
        if (name := layout.name.partition("<async_lock::")[2].partition("<")[0].rstrip(">") or layout.name)
        for link in layout.links
    }
    assert found >= {
        ("mutex::LockInner", LinkKind.MUTEX, LinkRole.WAITS),
        ("rwlock::futures::WriteInner", LinkKind.RWLOCK, LinkRole.WAITS),
        ("semaphore::AcquireInner", LinkKind.SEMAPHORE, LinkRole.WAITS),
        ("async_task::task::Task<(), ()>", LinkKind.TASK, LinkRole.WAITS),
        ("holds_mutex", LinkKind.MUTEX, LinkRole.HOLDS),
        ("dropped_mutex", LinkKind.MUTEX, LinkRole.HOLDS),
        ("holds_read", LinkKind.RWLOCK, LinkRole.HOLDS),
        ("holds_permit", LinkKind.SEMAPHORE, LinkRole.HOLDS),
        ("waits_message", LinkKind.MPSC, LinkRole.RECEIVES),
    }


def test_a_guard_that_was_dropped_has_a_flag(targets: Targets) -> None:
    """What tells whether a variable is still there goes with its link."""
    with open_elf(targets.path("linked_tokio", "release-debug")) as image:
        layouts = read_binary(image, display_path="linked_tokio").layouts
    flags = {
        layout.name.removeprefix("linked_tokio::"): len(link.flags)
        for layout in layouts
        for link in layout.links
        if link.kind is LinkKind.MUTEX and link.role is LinkRole.HOLDS
    }
    assert min(flags[name] for name in ("dropped_mutex", "maybe_dropped", "gave_away", "pushed_away")) >= 1
    assert (flags["holds_mutex"], flags["again"], flags["deadlocked"]) == (0, 0, 0)


def test_the_cache_keeps_them(targets: Targets, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    with open_elf(targets.path("linked_tokio", "release-debug")) as image:
        fresh = read_binary(image, display_path="x", cache=cache)
        kept = cache.load(image, None, display_path="x", debug_path=None)
    assert kept == fresh
    assert any(layout.containers for layout in fresh.layouts)
