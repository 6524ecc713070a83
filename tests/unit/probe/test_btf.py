"""The kernel's types, of a BTF file made here by the rules of Documentation/bpf/btf.rst."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.probe.btf import KernelTypes
from tracer.probe.kept_types import KeptTypes
from tracer.probe.scheduling import Unavailable, scheduling_defines

INT, POINTER, STRUCT, UNION, ENUM, TYPEDEF, VOLATILE, FUNCTION, PROTOTYPE = 1, 2, 4, 5, 6, 8, 9, 12, 13


class Made:
    """Types by number, in the order in which they are added."""

    def __init__(self) -> None:
        self.strings = b"\0"
        self.types = b""
        self.count = 0

    def name(self, text: str) -> int:
        if not text:
            return 0
        self.strings += text.encode() + b"\0"
        return len(self.strings) - len(text) - 1

    def add(self, kind: int, name: str, size: int, *more: int, count: int = 0, packed: bool = False) -> int:
        info = kind << 24 | count | packed << 31
        self.types += struct.pack(f"<{3 + len(more)}I", self.name(name), info, size, *more)
        self.count += 1
        return self.count

    def structure(
        self, name: str, members: list[tuple[str, int, int]], *, packed: bool = False, kind: int = STRUCT
    ) -> int:
        """members: (name, type, offset in bits)."""
        words = [word for text, number, bits in members for word in (self.name(text), number, bits)]
        return self.add(kind, name, 64, *words, count=len(members), packed=packed)

    def prototype(self, *parameters: int) -> int:
        words = [word for number in parameters for word in (0, number)]
        return self.add(PROTOTYPE, "", 0, *words, count=len(parameters))

    def file(self) -> bytes:
        header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(self.types), len(self.types), len(self.strings))
        return header + self.types + self.strings


def kernel(*, state: str = "__state", with_state_argument: bool = True, helpers: bool = True) -> Made:
    made = Made()
    number = made.add(INT, "unsigned int", 4, 32)
    boolean = made.add(INT, "_Bool", 1, 8)
    pointer = made.add(POINTER, "", 0)
    named = made.add(TYPEDEF, "pid_t", number)
    inner = made.structure("", [("flags", number, 32), ("stack", pointer, 64)])
    either = made.structure("", [("", inner, 0), ("tgid", named, 128)], kind=UNION)
    long = made.add(INT, "unsigned long long", 8, 64)
    entity = made.structure("sched_entity", [("exec_start", long, 128), ("sum_exec_runtime", long, 192)])
    waits = made.add(VOLATILE, "", number)
    members = [(state, waits, 0), ("", either, 64), ("pid", named, 512), ("se", entity, 1024)]
    task = made.structure("task_struct", members)
    made.structure("odd", [("bits", number, 4 << 24 | 8), ("whole", number, 32)], packed=True)
    to_task = made.add(POINTER, "", task)
    more = [number] if with_state_argument else []
    switch = made.add(POINTER, "", made.prototype(pointer, boolean, to_task, to_task, *more))
    made.add(TYPEDEF, "btf_trace_sched_switch", switch)
    waking = made.add(POINTER, "", made.prototype(pointer, to_task))
    made.add(TYPEDEF, "btf_trace_sched_waking", waking)
    names = ["BPF_FUNC_get_current_task_btf", "BPF_FUNC_task_pt_regs"] if helpers else ["BPF_FUNC_unspec"]
    words = [word for value, name in enumerate(names) for word in (made.name(name), value)]
    made.add(ENUM, "bpf_func_id", 4, *words, count=len(names))
    return made


def test_members_are_found_in_what_has_no_name() -> None:
    types = KernelTypes(kernel().file())
    found = {name: types.member("task_struct", name) for name in ("__state", "flags", "stack", "tgid", "pid", "comm")}
    assert found == {
        "__state": (0, 4),
        "flags": (12, 4),
        "stack": (16, 8),
        "tgid": (24, 4),
        "pid": (64, 4),
        "comm": None,
    }
    assert types.member("nothing", "pid") is None
    assert types.member("task_struct", "se", "sum_exec_runtime") == (128 + 24, 8)
    assert types.member("task_struct", "se") is None
    assert types.member("task_struct", "pid", "sum_exec_runtime") is None


def test_functions_are_known_by_number() -> None:
    made = kernel()
    number = made.add(FUNCTION, "bpf_iter_task", 1)
    types = KernelTypes(made.file())
    assert (types.function("bpf_iter_task"), types.function("task_struct")) == (number, None)


def test_a_bit_field_is_no_number() -> None:
    types = KernelTypes(kernel().file())
    assert types.member("odd", "bits") is None
    assert types.member("odd", "whole") == (4, 4)


def test_what_the_program_needs() -> None:
    offsets = {"TASK_PID": 64, "TASK_TGID": 24, "TASK_FLAGS": 12, "TASK_STACK": 16}
    state = {"TASK_STATE": 0, "TASK_STATE_SIZE": 4, "TASK_RAN": 152}
    switch = {"SWITCH_PREEMPT": 0, "SWITCH_PREV": 1, "SWITCH_NEXT": 2}
    whole = {"SCHEDULING": None, **offsets, **state, **switch, "SWITCH_STATE": 3, "HAS_USER_REGS": None}
    assert scheduling_defines(KernelTypes(kernel().file())) == whole
    old = kernel(state="state", with_state_argument=False, helpers=False)
    assert scheduling_defines(KernelTypes(old.file())) == {"SCHEDULING": None, **offsets, **state, **switch}


def test_a_kernel_that_lacks_something_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be read"):
        scheduling_defines(KeptTypes(tmp_path / "btf", tmp_path))
    with pytest.raises(Unavailable, match="has no state"):
        scheduling_defines(KernelTypes(kernel(state="mood").file()))
    with pytest.raises(Unavailable, match="has no pid"):
        scheduling_defines(KernelTypes(Made().file()))


def test_answers_are_kept_for_the_same_file(tmp_path: Path) -> None:
    path, cache = tmp_path / "btf", tmp_path / "kept"
    path.write_bytes(kernel().file())
    with KeptTypes(path, cache) as types:
        first = scheduling_defines(types)
    status = path.stat()
    path.write_bytes(bytes(status.st_size))  # no types: whoever reads them finds out
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with KeptTypes(path, cache) as types:
        assert scheduling_defines(types) == first
        assert types.member("task_struct", "se", "sum_exec_runtime") == (152, 8)
        with pytest.raises(ValueError, match="not BTF"):
            types.function("asked for the first time")
    os.utime(path)
    with KeptTypes(path, cache) as types, pytest.raises(Unavailable, match="do not make sense"):
        scheduling_defines(types)


def test_what_somebody_else_wrote_is_not_believed(tmp_path: Path) -> None:
    path, cache = tmp_path / "btf", tmp_path / "kept"
    path.write_bytes(kernel().file())
    with KeptTypes(path, cache) as types:
        assert types.member("task_struct", "pid") == (64, 4)
    (kept,) = cache.iterdir()
    for text in ("{", "[1]"):
        kept.write_text(text)
        with KeptTypes(path, cache) as types:
            assert types.member("task_struct", "pid") == (64, 4)
    kept.write_text('{"member task_struct pid": [1, 4]}')
    kept.chmod(0o666)
    with KeptTypes(path, cache) as types:
        assert types.member("task_struct", "pid") == (64, 4)


@given(st.data())
def test_damage_is_noticed_or_harmless(data: st.DataObject) -> None:
    whole = bytearray(kernel().file())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        types = KernelTypes(cut)
        types.member("task_struct", "pid")
        types.parameters("btf_trace_sched_switch")
        types.constants("bpf_func_id")
    except (ValueError, IndexError):
        pass
