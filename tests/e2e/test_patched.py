"""A function that another tool has patched in memory is left alone: probed, it would go on within that tool's jump.

The tool here puts a jump over the first instructions, as Frida and `uftrace -P` do; they and a jump back are in the
padding between two functions.
"""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path

import pytest

from tests.e2e.command import recording
from tests.e2e.trace import Trace
from tests.running import Targets
from tracer.rust.binary import read_binary
from tracer.target.elf import open_elf
from tracer.target.process import TargetProcess

pytestmark = [pytest.mark.e2e, pytest.mark.kernel]

FUNCTION = "spin::middle"
_JUMP = struct.Struct("<Bi")
_BEGIN = bytes.fromhex("53 48 83 ec 10")
"""push rbx; sub rsp, 16: as long as a jump."""


def patch(executable: Path, pid: int) -> None:
    """Before the program polls."""
    with open_elf(executable) as image:
        (function,) = (one for one in read_binary(image, display_path="spin").functions if one.name == FUNCTION)
        begin, code = next(image.executable_code())
        padding = re.search(rb"\xcc{10,}", code.tobytes())
        assert padding is not None
        assert image.read(function.address, len(_BEGIN)) == _BEGIN
        bias = TargetProcess.open(pid).load_bias(image)
    cave, back = begin + padding.start(), function.address + _JUMP.size
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
        memory.seek(bias + cave)
        memory.write(_BEGIN + _JUMP.pack(0xE9, back - (cave + 2 * _JUMP.size)))
        memory.seek(bias + function.address)
        memory.write(_JUMP.pack(0xE9, cave - back))


@pytest.mark.parametrize("is_traced", [False, True])
def test_what_is_patched_is_not_probed(targets: Targets, tmp_path: Path, is_traced: bool) -> None:
    output = tmp_path / "x.pftrace"
    with targets.run("spin", "release", "nested", "1") as running:
        patch(targets.path("spin", "release"), running.pid)
        if is_traced:
            with recording("--pid", running.pid, "-o", output, "--max-overhead", 100, "--json") as rec:
                running.go()
                done = rec.wait()
            assert done.code == 0, done.err
            summary = json.loads(done.out)
            reasons = [one["reason"] for one in summary["not_probed"]]
            assert any(one.startswith("another tool has changed its code in memory (to e9 ") for one in reasons)
            assert {"spin::outer", "spin::inner"} <= set(Trace(output).functions)
            assert FUNCTION not in Trace(output).functions
        else:
            running.go()
        assert running.wait().returncode == 0
