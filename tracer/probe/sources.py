"""Where the BPF C files are: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

from tracer.errors import MissingDependency

_PACKAGE = Path(__file__).resolve().parent.parent


def bpf_folder() -> Path:
    """Raises MissingDependency when the installation is incomplete."""
    for folder in (_PACKAGE / "bpf", _PACKAGE.parent / "bpf"):
        if (folder / "poll.c").is_file():
            return folder
    raise MissingDependency(
        "The BPF programs are not installed.",
        why=f"no folder bpf with poll.c in {_PACKAGE} or beside it",
        fix="pip install --force-reinstall rat-ebpf",
    )
