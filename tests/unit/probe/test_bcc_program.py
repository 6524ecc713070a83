"""What is said when BCC or rights are missing."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from tracer.errors import MissingDependency
from tracer.probe.bcc_program import BccProgram, missing_capabilities


def test_without_bcc_the_distributions_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bcc", None)
    with pytest.raises(MissingDependency) as caught:
        BccProgram(tmp_path / "poll.c", {}, tmp_path)
    assert "python3-bpfcc" in caught.value.fix
    assert "PyPI" in caught.value.why


def test_another_package_of_that_name_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bcc", ModuleType("bcc"))
    with pytest.raises(MissingDependency, match="not BCC") as caught:
        BccProgram(tmp_path / "poll.c", {}, tmp_path)
    assert "pip uninstall bcc" in caught.value.fix


@pytest.mark.parametrize(
    ("effective", "missing"),
    [
        ("000001ffffffffff", []),
        ("0000000000000000", ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE"]),
        ("000000c000080000", []),
        ("0000000000200000", ["CAP_SYS_PTRACE"]),
        ("0000008000080000", ["CAP_PERFMON"]),
    ],
)
def test_missing_capabilities(tmp_path: Path, effective: str, missing: list[str]) -> None:
    status = tmp_path / "status"
    status.write_text(f"Name:\tcat\nCapPrm:\t{effective}\nCapEff:\t{effective}\n", encoding="ascii")
    assert missing_capabilities(status) == missing
