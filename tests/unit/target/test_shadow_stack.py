"""Processes with shadow stacks, as /proc of a kernel that has them shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracer.errors import NotTraceable
from tracer.target.launch import launch
from tracer.target.shadow_stack import refuse_asked_shadow_stack, refuse_shadow_stack

STATUS = "Name:\tserver\nPid:\t{}\nx86_Thread_features:\t{}\nx86_Thread_features_locked:\t{}\n"


def proc(folder: Path, *features: str | None) -> Path:
    """What /proc shows of process 7, whose threads have these features."""
    for number, one in enumerate(features):
        thread = folder / "7" / "task" / str(7 + number)
        thread.mkdir(parents=True)
        (thread / "status").write_text("Name:\tserver\n" if one is None else STATUS.format(7 + number, one, "shstk"))
    return folder


@pytest.mark.parametrize("features", [("shstk ",), ("", "shstk wrss "), ("", "", "shstk")])
def test_a_thread_with_one(tmp_path: Path, features: tuple[str, ...]) -> None:
    with pytest.raises(NotTraceable, match=r"Process 7 \(server\) has a shadow stack") as raised:
        refuse_shadow_stack(7, "server", proc(tmp_path, *features))
    assert raised.value.fix == "rat-ebpf sample 7 reads its tasks without any probe"


@pytest.mark.parametrize("features", [(), (None,), ("",), ("", ""), ("wrss ",)])
def test_none(tmp_path: Path, features: tuple[str | None, ...]) -> None:
    refuse_shadow_stack(7, "server", proc(tmp_path, *features))


@pytest.mark.parametrize("value", ["glibc.cpu.x86_shstk=on", "a.b=1:glibc.cpu.x86_shstk=permissive"])
def test_asked_for(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", value)
    with pytest.raises(NotTraceable, match="true may get a shadow stack"), launch(["true"]):
        pass


@pytest.mark.parametrize("value", ["", "glibc.malloc.check=3", "glibc.cpu.x86_shstk=on:glibc.cpu.x86_shstk=off"])
def test_not_asked_for(value: str) -> None:
    refuse_asked_shadow_stack("true", {"GLIBC_TUNABLES": value})
    refuse_asked_shadow_stack("true", {})
