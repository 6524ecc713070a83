"""Whoever traces is killed while the kernel writes probes into the code, or takes them out again.

Where the tracer itself makes and closes its links, one such round in five leaves probes (see tracer.probe.leaving).
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from tests.faults.bpf_objects import Objects
from tests.faults.endure import Endure, Work, endure
from tests.faults.figures import Figures
from tests.faults.scene import PROGRAMS
from tests.faults.tracer import assert_nothing_left, assert_unharmed, tracer, wait_until
from tests.running import Targets
from tests.text import changed_bytes

pytestmark = pytest.mark.kernel

MOMENTS = {"attaching": "half way through attaching", "detaching": "half way through detaching"}
_OF_MANY, _OF_THE_TRACER = 30, 4
"""Rounds."""
_LONGEST = 0.015
"""Seconds that the kernel has to do with so many places."""
_PUSHES = {b"\x50", b"\x53", b"\x55"}


def first_pushes(path: Path) -> list[int]:
    """Offsets of the functions that begin with a push, which the kernel probes wherever it is."""
    with path.open("rb") as file:
        elf = ELFFile(file)
        text, symbols = elf.get_section_by_name(".text"), elf.get_section_by_name(".symtab")
        assert text is not None
        assert isinstance(symbols, SymbolTableSection)
        code, address, offset = text.data(), text["sh_addr"], text["sh_offset"]
        places = {
            symbol["st_value"] - address
            for symbol in symbols.iter_symbols()
            if symbol["st_info"]["type"] == "STT_FUNC" and symbol["st_size"]
        }
        return sorted(offset + place for place in places if code[max(place, 0) :][:1] in _PUSHES)


@pytest.mark.parametrize("moment", MOMENTS)
def test_no_probe_of_many_stays(targets: Targets, moment: str) -> None:
    path = targets.path("endure", "release")
    offsets = first_pushes(path)
    with endure(targets) as enduring:
        command = [sys.executable, str(PROGRAMS / "many_links.py"), str(enduring.pid), str(path)]
        for _ in range(_OF_MANY):
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as maker:
                assert maker.stdin is not None
                assert maker.stdout is not None
                print(*offsets, sep="\n", file=maker.stdin)
                maker.stdin.close()
                while maker.stdout.readline() != f"{moment}\n":
                    assert maker.poll() is None
                time.sleep(random.uniform(0, _LONGEST))
                maker.kill()
            wait_until(lambda: changed_bytes(enduring.pid) == 0, "probes stay in the code", 5)


@pytest.mark.parametrize("moment", MOMENTS)
def test_no_probe_of_the_tracer_stays(
    targets: Targets, before: Objects, alone: Work, figures: Figures, tmp_path: Path, moment: str
) -> None:
    with endure(targets) as enduring:
        enduring.ask("on")
        for number in range(_OF_THE_TRACER):
            one_round(enduring, before, moment, tmp_path / str(number))
            assert_unharmed(enduring.ask("tell"), alone)
            figures.add("the tracer: SIGKILL", MOMENTS[moment], 0)
        assert_unharmed(enduring.ask("off"), alone)


def one_round(enduring: Endure, before: Objects, moment: str, folder: Path) -> None:
    with tracer(enduring.pid, folder, name="x.ratcap") as tracing:
        if moment == "attaching":
            wait_until(lambda: changed_bytes(enduring.pid) > 0, "it attaches nothing")
        else:
            tracing.until_attached()
            all_of_them = changed_bytes(enduring.pid)
            tracing.process.send_signal(signal.SIGINT)
            wait_until(lambda: changed_bytes(enduring.pid) < all_of_them, "it detaches nothing")
        tracing.process.kill()
        tracing.wait()
        assert_nothing_left(tracing, enduring.pid, before)
