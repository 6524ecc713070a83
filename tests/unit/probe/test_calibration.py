"""What probes cost is measured on a process of our own, which can be ended like any other."""

from __future__ import annotations

import subprocess

import pytest

from tracer.errors import AttachFailed
from tracer.probe.calibration import CalibrationProcess


def test_one_that_has_died_is_told_of() -> None:
    with subprocess.Popen(["/bin/true"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as running:
        running.wait()
        with pytest.raises(AttachFailed, match="died"):
            CalibrationProcess(running).costs(0.0)
