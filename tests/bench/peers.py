"""The sample server under load, looked at by each tool: what it costs the server, and what the tool needs and keeps."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.bench.polls import bpftrace_on
from tests.bench.table import print_table
from tests.running import Targets
from tracer import rust
from tracer.target.elf import open_elf

ROUNDS, SECONDS = 3, "4"
_FLAT_OUT, _BOUNDED = ("8", SECONDS, "1e9", "plain"), ("8", SECONDS, "500", "plain")
_RAT = Path(sys.executable).parent / "rat-ebpf"
_CONSOLE = Path(__file__).parent / "console_server"
_UFTRACE_PATTERN = r"(::poll|_\{\{closure\}\})$"
_TICKS = os.sysconf("SC_CLK_TCK")
_MODES = {
    "rat-ebpf": (),
    "rat-ebpf --exits ret": ("--exits", "ret"),
    "rat-ebpf --exits task": ("--exits", "task"),
    "rat-ebpf --exits auto": ("--exits", "auto"),
    "rat-ebpf, any cost": ("--max-overhead", "100"),
}


@dataclass(slots=True)
class Watched:
    """A server that a tool looks at.  tool: its process, None: it is in the server.

    Afterwards, of the tool: cpu in seconds, memory in bytes at most, size in bytes of what it kept, lost events; None:
    it does not tell.
    """

    pid: int
    port: int
    tool: subprocess.Popen[str] | None = None
    cpu: float | None = None
    memory: int | None = None
    size: int | None = None
    lost: int | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """Requests a second flat out, p99 in microseconds at a bounded rate, CPU microseconds of the server a request."""

    rate: float
    p99: float
    per_request: float
    watched: Watched


Watcher = Callable[[], AbstractContextManager[Watched]]


def run(targets: Targets, cache: Path, scratch: Path) -> None:
    """A table of each build, in ratios to the same server untraced; all take turns."""
    for profile in ("release", "dev"):
        watchers = _watchers(targets, profile, cache, scratch)
        found: dict[str, list[Figures]] = {name: [] for name in watchers}
        for _ in range(ROUNDS):
            for name, watcher in watchers.items():
                found[name].append(_measured(targets, watcher))
        base = found["untraced"]
        rows = [_row(name, base, figures) for name, figures in found.items()]
        head = ["by", "requests/s x", "p99 x", "CPU a request x", "tool's CPU s", "tool's MiB", "kept MB", "lost"]
        note = (
            f"Medians of {ROUNDS} turns; x: of the same server alone.  Requests as fast as 8 connections send, then"
            f" p99 at {_BOUNDED[2]} a second, {SECONDS} s each.  The tool's CPU includes what it does before and after."
        )
        print_table(f"The sample server, {profile}", head, rows, note)


def _row(name: str, base: Sequence[Figures], figures: Sequence[Figures]) -> list[object]:
    def ratio(of: Callable[[Figures], float]) -> float:
        return median(map(of, figures)) / median(map(of, base))

    def told(of: Callable[[Watched], float | None], unit: float = 1) -> str:
        values = [value for one in figures if (value := of(one.watched)) is not None]
        return f"{median(values) / unit:.3g}" if values else ""

    return [
        name,
        ratio(lambda one: one.rate),
        ratio(lambda one: one.p99),
        ratio(lambda one: one.per_request),
        told(lambda one: one.cpu),
        told(lambda one: one.memory, 1 << 20),
        told(lambda one: one.size, 1e6),
        told(lambda one: one.lost),
    ]


def _measured(targets: Targets, watcher: Watcher) -> Figures:
    with watcher() as watched:
        before = cpu_of(watched.pid)
        flat_out = load_on(targets, watched.port, _FLAT_OUT)
        cpu = cpu_of(watched.pid) - before
        bounded = load_on(targets, watched.port, _BOUNDED)
    requests = flat_out["requests"]
    return Figures(requests / float(SECONDS), bounded["p99_us"], cpu * 1e6 / requests, watched)


def load_on(targets: Targets, port: int, arguments: Sequence[str]) -> dict[str, int]:
    command: list[str | Path] = [targets.path("load", "release"), f"127.0.0.1:{port}", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    totals: dict[str, int] = json.loads(done.stdout)
    return totals


def cpu_of(pid: int) -> float:
    """Seconds so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _watchers(targets: Targets, profile: str, cache: Path, scratch: Path) -> dict[str, Watcher]:
    path = targets.path("server", profile)
    console = _build_console(profile, cache)
    ours = {name: lambda options=options: _by_rat(path, options, scratch) for name, options in _MODES.items()}
    return {
        "untraced": lambda: _started([path]),
        **ours,
        "bpftrace, the same functions": lambda: _by_bpftrace(path),
        "uftrace record": lambda: _by_uftrace(path, scratch / "uftrace.data"),
        "tokio-console (built in)": lambda: _by_console(console, scratch / "console"),
    }


@contextmanager
def _started(command: Sequence[str | Path], *, env: dict[str, str] | None = None) -> Iterator[Watched]:
    """A server, or a tool that starts one and shares its standard output."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.startswith("ready "):
                break
        else:
            raise RuntimeError(f"{command} did not begin")
        ready = json.loads(line.removeprefix("ready "))
        watched = Watched(ready["pid"], ready["port"])
        if watched.pid != process.pid:
            watched.tool = process
        yield watched
        if watched.tool is not None:
            servers = cpu_of(watched.pid)
            os.kill(watched.pid, signal.SIGINT)
            _end(watched)
            assert watched.cpu is not None
            watched.cpu -= servers  # it waited for the server, whose time it was told as its children's
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _end(watched: Watched) -> None:
    """Waits for the tool."""
    assert watched.tool is not None
    _, status, usage = os.wait4(watched.tool.pid, 0)
    watched.tool.returncode = os.waitstatus_to_exitcode(status)
    watched.cpu, watched.memory = usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10


@contextmanager
def _by_rat(path: Path, options: Sequence[str], scratch: Path) -> Iterator[Watched]:
    output = scratch / "peer.pftrace"
    with _started([path]) as watched:
        command: list[str | Path] = [_RAT, "--pid", str(watched.pid), "-o", output, "--json", *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tool:
            assert tool.stderr is not None
            assert tool.stdout is not None
            tool.stderr.readline()  # what it expects to cost
            told = tool.stderr.readline()
            assert "attached" in told, told + tool.stderr.read()
            watched.tool = tool
            yield watched
            tool.send_signal(signal.SIGINT)
            summary = json.loads(tool.stdout.read())
            _end(watched)
        watched.tool = None
        watched.size, watched.lost = output.stat().st_size, summary["lost"]


@contextmanager
def _by_bpftrace(path: Path) -> Iterator[Watched]:
    with open_elf(path) as image:
        functions = rust.read_binary(image, display_path=str(path)).functions
    with _started([path]) as watched:
        with bpftrace_on(path, functions, watched.pid) as tool:
            watched.tool = tool
            yield watched
            tool.kill()
            _end(watched)
        watched.tool = None


@contextmanager
def _by_uftrace(path: Path, folder: Path) -> Iterator[Watched]:
    shutil.rmtree(folder, ignore_errors=True)
    uftrace = shutil.which("uftrace")
    assert uftrace is not None, "apt-get install uftrace"
    command: list[str | Path] = [
        uftrace,
        "record",
        "-d",
        folder,
        "-P",
        _UFTRACE_PATTERN,
        "--no-libcall",
        "--no-event",
        path,
    ]
    with _started(command) as watched:
        yield watched
    watched.size = sum(one.stat().st_size for one in folder.iterdir())


@contextmanager
def _by_console(path: Path, output: Path) -> Iterator[Watched]:
    with _started([path], env={"TOKIO_CONSOLE_RECORD_PATH": str(output)}) as watched:
        yield watched
    watched.size = output.stat().st_size


def _build_console(profile: str, cache: Path) -> Path:
    cargo = shutil.which("cargo")
    assert cargo is not None, "install Rust (https://rustup.rs)"
    env = {**os.environ, "CARGO_TARGET_DIR": str(cache), "RUSTFLAGS": "--cfg tokio_unstable"}
    command = [cargo, "build", "--quiet", "--locked", "--profile", profile]
    subprocess.run(command, cwd=_CONSOLE, env=env, check=True)
    return cache / ("debug" if profile == "dev" else profile) / "console_server"
