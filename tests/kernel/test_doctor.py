"""`rat-ebpf doctor` as a subprocess: on this machine, without rights, and with things missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tracer.errors import ExitCode

pytestmark = [pytest.mark.kernel, pytest.mark.e2e]

WITHOUT_RIGHTS = ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all")


def doctor(*prefix: str, **environment: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code and the findings by name."""
    result = subprocess.run(
        [*prefix, sys.executable, "-m", "tracer", "doctor", "--json"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.stderr == ""
    document = json.loads(result.stdout)
    assert document["ok"] == (result.returncode == 0)
    return result.returncode, {finding["name"]: finding for finding in document["findings"]}


def test_everything_is_there() -> None:
    code, findings = doctor()
    assert {name: finding for name, finding in findings.items() if finding["status"] not in ("ok", "limited")} == {}
    assert code == ExitCode.OK
    assert "BPF program" in findings


def test_the_table_ends_with_a_verdict() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tracer", "doctor"], capture_output=True, text=True, timeout=60, check=True
    )
    lines = result.stdout.splitlines()
    assert lines[-1] == "everything that tracing needs is there"
    assert any(line.split()[:4] == ["BPF", "program", "ok", "compiles,"] for line in lines)


def test_without_rights() -> None:
    code, findings = doctor(*WITHOUT_RIGHTS)
    assert code == ExitCode.MISSING_DEPENDENCY
    for name in ("CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE"):
        assert findings[name]["status"] == "missing"
        assert findings[name]["fix"] == "sudo rat-ebpf doctor"
    assert findings["BPF program"]["status"] == "unknown"
    assert findings["BCC for Python"]["status"] == "ok"


def test_another_package_of_the_name_bcc(tmp_path: Path) -> None:
    (tmp_path / "bcc.py").write_text("name = 'an unrelated project'\n")
    code, findings = doctor(PYTHONPATH=str(tmp_path))
    assert code == ExitCode.MISSING_DEPENDENCY
    assert findings["BCC for Python"]["status"] == "missing"
    assert "python3-bpfcc" in findings["BCC for Python"]["fix"]
    assert findings["BPF program"]["status"] == "unknown"


def test_without_bcc(tmp_path: Path) -> None:
    (tmp_path / "bcc.py").write_text("raise ImportError('No module named bcc')\n")
    code, findings = doctor(PYTHONPATH=str(tmp_path))
    assert code == ExitCode.MISSING_DEPENDENCY
    assert "python3-bpfcc" in findings["BCC for Python"]["fix"]
