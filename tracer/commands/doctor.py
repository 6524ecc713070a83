"""`rat-ebpf doctor`: what this machine has for tracing, what is missing, and the command that mends it."""

from __future__ import annotations

import argparse
import os
import platform
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from tracer.errors import ExitCode, RatError
from tracer.terminal import say, say_json

_DISTRIBUTION = "rat-ebpf"
_WITHOUT_RIGHTS = "cannot be seen without these rights"


class Status(StrEnum):
    OK = "ok"
    LIMITED = "limited"  # tracing works, with less comfort
    MISSING = "missing"
    UNKNOWN = "unknown"  # could not be looked at; something else is missing


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.  fix: the command that mends it, or ""."""

    name: str
    status: Status
    detail: str
    fix: str = ""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = commands.add_parser("doctor", help="say what this machine lacks for tracing", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> ExitCode:
    """Print what was found; MISSING_DEPENDENCY when anything that tracing needs is missing."""
    findings = examine()
    is_well = all(finding.status in (Status.OK, Status.LIMITED) for finding in findings)
    if options.json:
        say_json({"ok": is_well, "findings": [asdict(finding) for finding in findings]})
    else:
        _print(findings)
        say("everything that tracing needs is there" if is_well else "tracing does not work here yet")
    return ExitCode.OK if is_well else ExitCode.MISSING_DEPENDENCY


def examine() -> list[Finding]:
    """Looks at everything; raises nothing, so that one broken part does not hide the others."""
    findings = [_architecture(), *_packages(), *_rights()]
    has_rights = all(finding.status is Status.OK for finding in findings if finding.name.startswith("CAP_"))
    findings.append(_bpf_call(has_rights))
    findings += _kernel(has_rights, may_load=findings[-1].status is Status.OK)
    findings += [_headers(), _bcc()]
    findings.append(_program(can_try=all(finding.status in (Status.OK, Status.LIMITED) for finding in findings)))
    return findings


def _print(findings: list[Finding]) -> None:
    name_width = max(len(finding.name) for finding in findings)
    status_width = max(len(finding.status) for finding in findings)
    fix_before = ""
    for finding in findings:
        say(f"{finding.name:{name_width}}  {finding.status:{status_width}}  {finding.detail}".rstrip())
        for line in finding.fix.splitlines() if finding.fix != fix_before else ():
            say(f"{'':{name_width + status_width + 4}}{line}")
        fix_before = finding.fix


def _architecture() -> Finding:
    machine = platform.machine()
    if platform.system() == "Linux" and machine == "x86_64":
        return Finding("machine", Status.OK, f"{machine}, Linux {os.uname().release}")
    return Finding("machine", Status.MISSING, f"{platform.system()} on {machine}; only Linux on x86-64 is supported")


def _packages() -> Iterator[Finding]:
    """Python and what pyproject.toml asks for, as pip recorded it at the installation."""
    from importlib import metadata  # all other commands start without it

    try:
        requirements = metadata.requires(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        yield Finding("python packages", Status.MISSING, "rat-ebpf itself is not installed", "scripts/setup")
        return
    names = [re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in requirements if "extra ==" not in text]
    missing = [name for name in names if not list(metadata.distributions(name=name))]
    if missing:
        fix = f"pip install {' '.join(missing)}"
        yield Finding("python packages", Status.MISSING, f"not installed: {', '.join(missing)}", fix)
    else:
        yield Finding("python packages", Status.OK, f"Python {platform.python_version()}, {', '.join(names)}")


def _rights() -> Iterator[Finding]:
    from tracer.probe.permission import missing_capabilities

    uses = {
        "CAP_BPF": "to load BPF programs",
        "CAP_PERFMON": "to attach them to a program",
        "CAP_SYS_PTRACE": "to look at other users' processes",
    }
    missing = missing_capabilities()
    for name, use in uses.items():
        if name in missing:
            yield Finding(name, Status.MISSING, f"needed {use}", "sudo rat-ebpf doctor")
        else:
            yield Finding(name, Status.OK, use)


def _bpf_call(has_rights: bool) -> Finding:
    from tracer.probe.permission import require_bpf

    name = "bpf()"
    if not has_rights:
        return Finding(name, Status.UNKNOWN, _WITHOUT_RIGHTS)

    def call() -> Finding:
        require_bpf()
        return Finding(name, Status.OK, "the kernel lets this process load programs")

    return _examined(name, call)


def _kernel(has_rights: bool, may_load: bool) -> Iterator[Finding]:
    from tracer.probe.kernel import MultiSupport, has_ring_buffer, uprobe_multi_support

    def multi() -> Finding:
        support = uprobe_multi_support()
        if support is MultiSupport.BY_PROCESS:
            return Finding("uprobe_multi links", Status.OK, "all probes are attached at once")
        why = {
            MultiSupport.NONE: "not in this kernel (Linux 6.6 has them): probes are attached one by one, 1,000 at most",
            MultiSupport.BY_THREAD: "this kernel filters them by thread: all processes of the same file pay for them",
        }[support]
        return Finding("uprobe_multi links", Status.LIMITED, why)

    def ring() -> Finding:
        if has_ring_buffer():
            return Finding("BPF ring buffer", Status.OK, "")
        return Finding(
            "BPF ring buffer", Status.LIMITED, "not in this kernel (Linux 5.8 has it): perf buffers are used instead"
        )

    for name, look in (("uprobe_multi links", multi), ("BPF ring buffer", ring)):
        yield _examined(name, look) if may_load else Finding(name, Status.UNKNOWN, _WITHOUT_RIGHTS)
    if Path("/sys/kernel/btf/vmlinux").exists():
        yield Finding("kernel types (BTF)", Status.OK, "/sys/kernel/btf/vmlinux")
    else:
        yield Finding(
            "kernel types (BTF)", Status.LIMITED, "not in this kernel; polls and waits are traced without them"
        )
    yield _perf_events(has_rights)


def _perf_events(has_rights: bool) -> Finding:
    name, path = "perf events", Path("/proc/sys/kernel/perf_event_paranoid")
    if not path.exists():
        return Finding(
            name, Status.MISSING, "this kernel is built without them (CONFIG_PERF_EVENTS), uprobes need them"
        )
    level = path.read_text(encoding="ascii").strip()
    if has_rights:
        return Finding(name, Status.OK, f"perf_event_paranoid is {level}, which CAP_PERFMON passes")
    return Finding(name, Status.UNKNOWN, f"perf_event_paranoid is {level}; CAP_PERFMON would pass it")


def _headers() -> Finding:
    from tracer.probe.headers import kernel_source
    from tracer.probe.scratch import temporary_folder

    def look() -> Finding:
        with tempfile.TemporaryDirectory(dir=temporary_folder()) as scratch:
            folder = kernel_source(Path(scratch))
        if folder is None:
            return Finding("kernel headers", Status.OK, "of the running kernel")
        other = folder.name.removesuffix("-merged")
        return Finding("kernel headers", Status.OK, f"{other}: another kernel's, which serve as well")

    return _examined("kernel headers", look)


def _bcc() -> Finding:
    from tracer.probe.bcc_compiler import bcc_version

    return _examined("BCC for Python", lambda: Finding("BCC for Python", Status.OK, bcc_version()))


def _program(can_try: bool) -> Finding:
    """The proof: the real BPF program is compiled, verified by the kernel and loaded, attached to nothing."""
    name = "BPF program"
    if not can_try:
        return Finding(name, Status.UNKNOWN, "cannot be tried before the above is there")

    def load() -> Finding:
        from tracer.model import ExitMode, Plan
        from tracer.probe.program import PollProgram
        from tracer.probe.scratch import temporary_folder
        from tracer.probe.variant import Variant

        nothing = Plan((), (), (), (), (), ExitMode.DEFAULT)
        # Else what an earlier run has compiled would do.
        with tempfile.TemporaryDirectory(dir=temporary_folder()) as empty:
            variant = Variant.of_kernel(scheduling=False)
            program = PollProgram(nothing, variant, ring_pages=64, cache=Path(empty))
            program.bpf.close()
        return Finding(name, Status.OK, "compiles, and the kernel accepts it")

    return _examined(name, load)


def _examined(name: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except RatError as error:
        detail = " ".join(text.rstrip(".") + "." for text in (error.what, error.why) if text)
        return Finding(name, Status.MISSING, detail.rstrip("."), error.fix)
    except (OSError, ImportError) as error:
        return Finding(name, Status.MISSING, str(error))
