"""Where tasks' ids are: never guessed for a tokio whose layout is not known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.running import Targets
from tracer.model import FunctionKind, TaskIdPath
from tracer.rust import read_binary
from tracer.rust.task_ids import TaskIds
from tracer.target.elf import open_elf

KNOWN = TaskIdPath(vtable=16, offset=72)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (b"/srv/build/.cargo/registry/src/index.crates.io-1/tokio-1.54.1/src/runtime/task/mod.rs", KNOWN),
        (b"/x/tokio-1.25.0/src/lib.rs\0/x/tokio-1.47.2/src/lib.rs", KNOWN),
        (b"/x/tokio-1.24.9/src/lib.rs", None),
        (b"/x/tokio-1.55.0/src/lib.rs", None),
        (b"/x/tokio-1.54.0/src/lib.rs\0/x/tokio-0.2.25/src/lib.rs", None),
        (b"/x/tokio-util-1.54.0/src/lib.rs", None),
        (b"", None),
    ],
)
def test_by_version(text: bytes, path: TaskIdPath | None) -> None:
    image = cast(Any, SimpleNamespace(constants=lambda: [(0x1000, b"other"), (0x2000, text)]))
    assert TaskIds(image).of("tokio") == path
    assert TaskIds(image).of("async-task") is None


@pytest.mark.parametrize(
    ("target", "profile", "path"),
    [
        ("tokio_current", "dev", KNOWN),
        ("tokio_current", "release-debug", KNOWN),
        ("tokio_current", "release", KNOWN),
        ("tokio_current", "v0", KNOWN),
        ("smol_log", "dev", None),
        ("tokio_current", "old-dev", KNOWN),
        ("tokio_multi", "old-release", KNOWN),
        ("smol_log", "old-release-debug", None),
    ],
)
def test_of_real_binaries(
    targets: Targets, target: str, profile: str, path: TaskIdPath | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if profile in ("dev", "release-debug", "old-dev"):  # by the types alone
        monkeypatch.setattr(TaskIds, "of", lambda self, runtime: None)
    program = targets.path(target, profile)
    with open_elf(program) as image:
        functions = read_binary(image, display_path=str(program)).functions
    assert {one.task_id for one in functions if one.kind is FunctionKind.TASK} == {path}
