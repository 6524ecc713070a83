"""What bpf/sched.c has to know of the running kernel, as its BTF tells it; and that program attached.

A kernel that lacks something, or denies it, is recorded without: Unavailable says why.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from tracer.probe.btf import KernelTypes
from tracer.probe.kept_types import KeptTypes
from tracer.probe.kernel import open_raw_tracepoint, recursion_misses

TRACEPOINTS = {"sched_switch": "at_switch", "sched_waking": "at_waking"}
"""The tracepoint that each program is for."""

_HELPERS = ("BPF_FUNC_get_current_task_btf", "BPF_FUNC_task_pt_regs")


class Unavailable(Exception):
    """This kernel does not let us see how threads are scheduled; its text says why."""


def scheduling_defines(types: KeptTypes | KernelTypes) -> dict[str, int | None]:
    """What sched.c is compiled with.  Raises Unavailable."""
    try:
        return {"SCHEDULING": None, **_offsets(types), **_arguments(types), **_helpers(types)}
    except OSError as error:
        raise Unavailable(f"the kernel's own types cannot be read: {error}") from error
    except (ValueError, IndexError) as error:
        raise Unavailable(f"the kernel's own types do not make sense: {error}") from error


def _offsets(types: KeptTypes | KernelTypes) -> dict[str, int | None]:
    defines: dict[str, int | None] = {}
    for name in ("pid", "tgid", "flags", "stack"):
        found = types.member("task_struct", name)
        if found is None:
            raise Unavailable(f"its struct task_struct has no {name}")
        defines[f"TASK_{name.upper()}"] = found[0]
    state = types.member("task_struct", "__state") or types.member("task_struct", "state")  # before Linux 5.14
    if state is None:
        raise Unavailable("its struct task_struct has no state")
    ran = types.member("task_struct", "se", "sum_exec_runtime")
    if ran is None:
        raise Unavailable("its struct task_struct does not tell for how long a task ran")
    return defines | {"TASK_STATE": state[0], "TASK_STATE_SIZE": state[1], "TASK_RAN": ran[0]}


def _arguments(types: KeptTypes | KernelTypes) -> dict[str, int | None]:
    """Whether it was preempted, the one that leaves, the one that comes; and, at the end since Linux 5.18 (there in
    front for a while), the state of the former.  The first argument of all is the tracepoint's own."""
    arguments = (types.parameters("btf_trace_sched_switch") or [])[1:]
    tasks = [place for place, name in enumerate(arguments) if name == "task_struct"]
    waking = (types.parameters("btf_trace_sched_waking") or [])[1:]
    if arguments[:1] != ["_Bool"] or len(tasks) != 2 or waking != ["task_struct"]:
        raise Unavailable("its tracepoints sched_switch and sched_waking are not as they were")
    defines: dict[str, int | None] = {"SWITCH_PREEMPT": 0, "SWITCH_PREV": tasks[0], "SWITCH_NEXT": tasks[1]}
    state = [place for place in range(1, len(arguments)) if place not in tasks]
    return defines | ({"SWITCH_STATE": state[0]} if state else {})


def _helpers(types: KeptTypes | KernelTypes) -> dict[str, int | None]:
    has_all = types.constants("bpf_func_id").keys() >= set(_HELPERS)
    return {"HAS_USER_REGS": None} if has_all else {}


class Tracepoints:
    """programs: by tracepoint, the descriptor of what is to run there."""

    def __init__(self, programs: Mapping[str, int]) -> None:
        self._programs = dict(programs)

    def attach(self) -> list[int]:
        """All or none; returns the links.  Raises OSError."""
        links: list[int] = []
        try:
            for name, program in self._programs.items():
                links.append(open_raw_tracepoint(name, program))
        except OSError:
            self.detach(links)
            raise
        return links

    def detach(self, links: list[int]) -> None:
        for link in links:
            os.close(link)

    def missed(self) -> int:
        """How often one of the programs could not be run, since it was loaded: records that are missing."""
        return sum(map(recursion_misses, self._programs.values()))
