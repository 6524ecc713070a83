"""A plan without the functions that cannot be probed here."""

from __future__ import annotations

from collections.abc import Mapping

from tracer.errors import AttachFailed
from tracer.model import Plan, Probe, Refusal


def without_refused(plan: Plan, refused: Mapping[int, str]) -> tuple[list[Probe], list[Refusal]]:
    """(the probes of functions none of whose probes is refused, the functions that are left out).

    refused: the reason, by the probe's id.  Raises AttachFailed when nothing is left.
    """
    dropped: dict[int, str] = {}
    for probe in plan.probes:
        if probe.id in refused:
            dropped |= {index: refused[probe.id] for index in (probe.enters, probe.leaves) if index is not None}
    left = [
        probe
        for probe in plan.probes
        if probe.enters not in dropped
        and probe.leaves not in dropped
        and not (probe.id in refused and probe.enters is None and probe.leaves is None)
    ]
    if not left:
        raise AttachFailed("The kernel refused every probe.", why=next(iter(refused.values()), "the plan is empty"))
    functions = ((plan.functions[index], reason) for index, reason in sorted(dropped.items()))
    return left, [Refusal(one.name, reason, one.address, one.location) for one, reason in functions]
