"""Threads are looked at at one moment: one that has waited since may have been elsewhere."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from tracer.commands.thread_looks import ThreadLooks
from tracer.target.process import TargetProcess

pytestmark = pytest.mark.kernel

SLEEPS = "import time\nwhile True:\n for _ in range(3000): pass\n time.sleep(0.0002)"
TRIES = 200


@pytest.mark.parametrize(("program", "is_at_once"), [("while True: pass", True), (SLEEPS, False)])
def test_one_that_computes(program: str, is_at_once: bool) -> None:
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        try:
            time.sleep(0.3)
            looks = ThreadLooks(TargetProcess.open(process.pid), dict)
            found = set()
            for _ in range(TRIES):
                look = looks.take([process.pid], 0.1).by_tid.get(process.pid)
                if look is not None and look.call is None:
                    found.add(look.is_at_once)
                    if is_at_once in found:
                        break
            looks.close()
        finally:
            process.kill()
    assert is_at_once in found
