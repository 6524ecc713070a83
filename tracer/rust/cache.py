"""Remembers what was found in a binary, by build id, size and the version of this code.

One file per binary: magic, SHA-256 of the rest, zlib-compressed JSON.  Whoever runs the tracer
only believes files and folders that nobody else can write; what is damaged counts as not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import zlib
from functools import cache as remember
from pathlib import Path
from typing import Any

from tracer import __version__
from tracer.model import (
    AwaitPoint,
    Binary,
    CallSite,
    EndKind,
    EndPoint,
    ExitKind,
    ExitSite,
    FunctionKind,
    HeaderTest,
    InstructionCost,
    Layout,
    LayoutEdge,
    LayoutKind,
    PollFunction,
    Refusal,
    Register,
    ResultEncoding,
    Source,
    SourceLocation,
    SpawnPoint,
    SpawnStep,
    TaskIdPath,
    WakeOrigin,
    WakePoint,
)
from tracer.rust.cached_links import from_container, from_gate, from_link, to_container, to_gate, to_link
from tracer.rust.split import SplitDebug
from tracer.target.elf import ElfImage
from tracer.target.own_files import OwnFiles, default_cache

_MAGIC = b"RATBIN1\n"
_MAX_TEXT = 128 << 20

UNREADABLE = (ValueError, LookupError, TypeError, OverflowError, RecursionError, MemoryError, zlib.error)
"""What `decode` raises."""


class Cache:
    """A folder of at most 64 remembered binaries.  No method raises: a cache that fails is no cache."""

    def __init__(self, directory: Path) -> None:
        self._files = OwnFiles(directory, ".bin")

    @classmethod
    def default(cls) -> Cache:
        """The one of whoever runs this."""
        return cls(default_cache())

    def load(
        self,
        image: ElfImage,
        debug: ElfImage | None,
        *,
        display_path: str,
        debug_path: str | None,
        split: SplitDebug | None = None,
    ) -> Binary | None:
        """What was stored for this build, under the paths of today; None when nothing usable was."""
        name = _file_name(image, debug, split)
        if name is None:
            return None
        try:
            return decode(self._files.read(name), image, display_path, debug_path)
        except (OSError, *UNREADABLE):
            return None

    def store(self, image: ElfImage, debug: ElfImage | None, binary: Binary, split: SplitDebug | None = None) -> None:
        name = _file_name(image, debug, split)
        if name is not None:
            with contextlib.suppress(OSError):
                self._files.write(name, encode(binary))


@remember
def _own_code() -> str:
    """The version of the code that made an entry: that of the package, and the very text of this room and of those
    that it builds on."""
    digest = hashlib.sha256(__version__.encode())
    for room in ("model", "target", "rust"):
        for path in sorted((Path(__file__).parents[1] / room).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _file_name(image: ElfImage, debug: ElfImage | None, split: SplitDebug | None) -> str | None:
    if image.build_id is None:
        return None
    sizes = [image.size, debug.size if debug is not None else None]
    key = json.dumps([image.build_id, *sizes, split.identity if split is not None else "", _own_code()])
    return hashlib.sha256(key.encode()).hexdigest()


# ---------------------------------------------------------------- encoding


def encode(binary: Binary) -> bytes:
    """What `decode` makes the same of, but for its paths, its debug file and its twin."""
    content = {
        "build_id": binary.build_id,
        "size": binary.size,
        "architecture": binary.architecture,
        "symbols": binary.symbols,
        "can_unwind": binary.can_unwind,
        "rustc": binary.rustc,
        "current_task": binary.current_task,
        "own_folder": binary.own_folder,
        "functions": [_from_function(function) for function in binary.functions],
        "layouts": [_from_layout(layout) for layout in binary.layouts],
        "ends": [_from_end(point) for point in binary.ends],
        "spawns": [_from_spawn(point) for point in binary.spawns],
        "wakes": [_from_wake(point) for point in binary.wakes],
        "sites": [[site.address, site.file, site.line, site.column] for site in binary.sites],
        "refusals": [[r.name, r.reason, r.address, _from_location(r.location)] for r in binary.refusals],
    }
    payload = zlib.compress(json.dumps(content, separators=(",", ":")).encode(), 1)
    return _MAGIC + hashlib.sha256(payload).digest() + payload


def decode(content: bytes, image: ElfImage, display_path: str, debug_path: str | None) -> Binary:
    """`image`: what it is of.  Raises UNREADABLE."""
    start = len(_MAGIC) + 32
    payload = content[start:]
    if content[: len(_MAGIC)] != _MAGIC or hashlib.sha256(payload).digest() != content[len(_MAGIC) : start]:
        raise ValueError("damaged")
    stored = json.loads(zlib.decompressobj().decompress(payload, _MAX_TEXT))
    if stored["build_id"] != image.build_id or stored["size"] != image.size:
        raise ValueError("of another binary")
    return Binary(
        path=display_path,
        build_id=image.build_id,
        architecture=stored["architecture"],
        size=image.size,
        symbols=stored["symbols"],
        can_unwind=stored["can_unwind"],
        functions=tuple(_to_function(row) for row in stored["functions"]),
        refusals=tuple(
            Refusal(name, reason, address, _to_location(place)) for name, reason, address, place in stored["refusals"]
        ),
        rustc=stored["rustc"],
        current_task=stored["current_task"],
        own_folder=stored["own_folder"],
        debug_file=debug_path,
        layouts=tuple(_to_layout(row) for row in stored["layouts"]),
        ends=tuple(_to_end(row) for row in stored["ends"]),
        spawns=tuple(_to_spawn(row) for row in stored["spawns"]),
        wakes=tuple(_to_wake(row) for row in stored["wakes"]),
        sites=tuple(CallSite(int(at), str(file), int(line), int(column)) for at, file, line, column in stored["sites"]),
    )


def _from_location(location: SourceLocation | None) -> list[Any] | None:
    return [location.file, location.line] if location is not None else None


def _to_location(stored: list[Any] | None) -> SourceLocation | None:
    return SourceLocation(str(stored[0]), int(stored[1])) if stored is not None else None


def _from_function(f: PollFunction) -> list[Any]:
    return [
        f.address, f.offset, f.size, f.name, f.kind, f.source, _from_exits(f.exits),
        f.names, f.crate, _from_location(f.location), f.self_register, f.context_register, f.state_offset,
        [f.result.mask, f.result.pending] if f.result is not None else None, f.runtime, f.entry_cost,
        [_from_await(a) for a in f.awaits], f.layout,
        [f.task_id.vtable, f.task_id.offset] if f.task_id is not None else None, f.layout_source,
        _from_test(f.aborted), f.is_job, f.called, _from_exits(f.returned),
    ]  # fmt: skip


def _to_function(row: list[Any]) -> PollFunction:
    (address, offset, size, name, kind, source, exits, names, crate, location, self_register, context_register,
     state_offset, result, runtime, entry_cost, awaits, layout, task_id, layout_source,
     aborted, is_job, called, returned) = row  # fmt: skip
    return PollFunction(
        address=int(address),
        offset=int(offset),
        size=int(size),
        name=str(name),
        kind=FunctionKind(kind),
        source=Source(source),
        exits=_to_exits(exits),
        names=tuple(names),
        crate=crate,
        location=_to_location(location),
        self_register=Register(self_register) if self_register is not None else None,
        context_register=Register(context_register) if context_register is not None else None,
        state_offset=state_offset,
        result=ResultEncoding(int(result[0]), int(result[1])) if result is not None else None,
        runtime=runtime,
        entry_cost=InstructionCost(entry_cost),
        awaits=tuple(_to_await(one) for one in awaits),
        layout=layout,
        task_id=TaskIdPath(int(task_id[0]), int(task_id[1])) if task_id is not None else None,
        layout_source=Source(layout_source) if layout_source is not None else None,
        aborted=_to_test(aborted),
        is_job=bool(is_job),
        called=tuple(int(one) for one in called),
        returned=_to_exits(returned),
    )


def _from_exits(sites: tuple[ExitSite, ...]) -> list[list[Any]]:
    return [[site.offset, site.kind, site.cost, site.after] for site in sites]


def _to_exits(rows: list[list[Any]]) -> tuple[ExitSite, ...]:
    return tuple(ExitSite(int(at), ExitKind(way), InstructionCost(cost), int(after)) for at, way, cost, after in rows)


def _from_test(test: HeaderTest | None) -> list[int] | None:
    return [test.offset, test.mask, test.value] if test is not None else None


def _to_test(stored: list[Any] | None) -> HeaderTest | None:
    return HeaderTest(int(stored[0]), int(stored[1]), int(stored[2])) if stored is not None else None


def _from_end(p: EndPoint) -> list[Any]:
    tests = [_from_test(test) for test in (p.only_if, p.done, p.undone)]
    return [p.address, p.offset, p.name, p.kind, p.futures, tests, p.state_offset, p.cost, p.others]


def _to_end(row: list[Any]) -> EndPoint:
    address, offset, name, kind, futures, (only_if, done, undone), state_offset, cost, others = row
    return EndPoint(
        address=int(address),
        offset=int(offset),
        name=str(name),
        kind=EndKind(kind),
        futures=tuple(int(one) for one in futures),
        only_if=_to_test(only_if),
        done=_to_test(done),
        undone=_to_test(undone),
        state_offset=state_offset,
        cost=InstructionCost(cost),
        others=tuple(int(one) for one in others),
    )


def _from_spawn(p: SpawnPoint) -> list[Any]:
    return [p.address, p.offset, p.name, p.step, p.register, p.is_return, p.tells_caller, p.cost]


def _to_spawn(row: list[Any]) -> SpawnPoint:
    address, offset, name, step, register, is_return, tells_caller, cost = row
    return SpawnPoint(
        address=int(address),
        offset=int(offset),
        name=str(name),
        step=SpawnStep(step),
        register=Register(register) if register is not None else None,
        is_return=bool(is_return),
        tells_caller=bool(tells_caller),
        cost=InstructionCost(cost),
    )


def _from_wake(p: WakePoint) -> list[Any]:
    return [p.address, p.offset, p.name, _from_test(p.effective), p.is_indirect, p.cost, p.state, p.begins]


def _to_wake(row: list[Any]) -> WakePoint:
    address, offset, name, test, is_indirect, cost, state, begins = row
    effective = _to_test(test)
    if effective is None:
        raise ValueError("a wake without a test")
    return WakePoint(
        address=int(address),
        offset=int(offset),
        name=str(name),
        effective=effective,
        is_indirect=bool(is_indirect),
        cost=InstructionCost(cost),
        state=Register(state) if state is not None else None,
        begins=WakeOrigin(begins) if begins is not None else None,
    )


def _from_await(point: AwaitPoint) -> list[Any]:
    return [point.state, _from_location(point.location), point.awaitee, _from_location(point.macro)]


def _to_await(stored: list[Any]) -> AwaitPoint:
    state, place, awaitee, macro = stored
    return AwaitPoint(int(state), _to_location(place), awaitee, _to_location(macro))


def _from_layout(one: Layout) -> list[Any]:
    return [
        one.name, one.kind, one.source, one.size, [[e.value, e.offset, e.is_pointer, e.child] for e in one.edges],
        one.discriminant_offset, one.discriminant_size, [_from_await(a) for a in one.awaits],
        _from_location(one.location), one.path, [from_link(link) for link in one.links],
        [from_container(container) for container in one.containers], from_gate(one.gate), one.branches, one.values,
        one.guards,
    ]  # fmt: skip


def _to_layout(row: list[Any]) -> Layout:
    (name, kind, source, size, edges, discriminant_offset, discriminant_size, awaits, location, path, links,
     containers, gate, branches, values, guards) = row  # fmt: skip
    return Layout(
        name=str(name),
        kind=LayoutKind(kind),
        source=Source(source),
        size=int(size),
        edges=tuple(LayoutEdge(value, int(offset), bool(pointer), child) for value, offset, pointer, child in edges),
        discriminant_offset=discriminant_offset,
        discriminant_size=int(discriminant_size),
        awaits=tuple(_to_await(one) for one in awaits),
        location=_to_location(location),
        path=path,
        links=tuple(to_link(one) for one in links),
        containers=tuple(to_container(one) for one in containers),
        gate=to_gate(gate),
        branches=tuple(int(one) for one in branches),
        values=tuple(int(one) for one in values),
        guards=tuple(int(one) for one in guards),
    )
