"""What a record of scheduling costs on this machine, measured on the calibration's process."""

from __future__ import annotations

from tracer.model import Group
from tracer.probe.calibration import RECORDS_OF_TURN, CalibrationProcess
from tracer.probe.program import PollProgram

_TURNS, _ROUNDS = 100, 10
"""The quickest of the rounds counts, which nobody else disturbed."""


def cost_of_scheduling(running: CalibrationProcess, program: PollProgram) -> float:
    """Of one record, in ns: by turns that the process and ours take on one CPU, with and without; 0: none is made."""
    tracepoints = program.tracepoints
    if tracepoints is None:
        return 0.0
    seen = []
    with running.beside_us():
        bare = [running.turn(_TURNS) for _ in range(_ROUNDS)]
        links = tracepoints.attach()
        try:
            # By turns: what else the machine does comes and goes.
            for _ in range(_ROUNDS):
                bare.append(running.turn(_TURNS))
                program.begin_epoch(Group.SCHEDULING)
                seen.append(running.turn(_TURNS))
                program.end_epoch(Group.SCHEDULING)
        finally:
            program.end_epoch(Group.SCHEDULING)
            tracepoints.detach(links)
    return max(0.0, min(seen) - min(bare)) / RECORDS_OF_TURN
