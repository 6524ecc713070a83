"""Probes many places of a process, and takes the probes away again: many_links.py PID EXECUTABLE < OFFSETS.

A line before each of the two; then it sleeps.
"""

import sys
import time
from pathlib import Path

from tracer.probe.hand import Hand
from tracer.probe.kernel import ATTACH_UPROBE_MULTI, PROGRAM_UPROBE, RETURN_0, load_program

offsets = [int(line) for line in sys.stdin]
program = load_program(PROGRAM_UPROBE, RETURN_0, ATTACH_UPROBE_MULTI)
hand = Hand()
print("attaching", flush=True)
link = hand.make(program, Path(sys.argv[2]), offsets, offsets, pid=int(sys.argv[1]))
print("detaching", flush=True)
hand.close([link]).wait()
time.sleep(60)
