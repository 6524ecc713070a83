"""What was asked of the kernel's types, kept until it is booted again: to read them takes a tenth of a second."""

from __future__ import annotations

import contextlib
import hashlib
import json
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

from tracer.probe.btf import VMLINUX, KernelTypes
from tracer.target.own_files import OwnFiles, default_cache

_BOOT = Path("/proc/sys/kernel/random/boot_id")


class KeptTypes:
    """Answers as KernelTypes does, whose file is read only for what no earlier run asked; a context, whose end keeps
    the answers.

    path: the kernel's BTF.  cache: the folder in which they are kept.
    A method raises OSError where the kernel has no such file, or it may not be read; ValueError or IndexError when it
    does not make sense.
    """

    def __init__(self, path: Path = VMLINUX, cache: Path | None = None) -> None:
        self._path = path
        self._files = OwnFiles(cache or default_cache(), ".types")
        self._name = _name(path)
        self._answers = self._kept()
        self._is_new = False

    @property
    def are_kept(self) -> bool:
        """Whether an earlier run asked."""
        return bool(self._answers)

    def member(self, structure: str, *path: str) -> tuple[int, int] | None:
        found = self._answer("member", structure, *path)
        return None if found is None else (int(found[0]), int(found[1]))

    def parameters(self, typedef: str) -> list[str] | None:
        found: list[str] | None = self._answer("parameters", typedef)
        return found

    def constants(self, enumeration: str) -> dict[str, int]:
        found: dict[str, int] = self._answer("constants", enumeration)
        return found

    def function(self, name: str) -> int | None:
        found: int | None = self._answer("function", name)
        return found

    def __enter__(self) -> KeptTypes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_new and self._name is not None:
            with contextlib.suppress(OSError):  # what cannot be kept is read again
                self._files.write(self._name, json.dumps(self._answers).encode())

    def _answer(self, question: str, *words: str) -> Any:
        key = " ".join((question, *words))
        if key not in self._answers:
            self._answers[key] = getattr(self._types, question)(*words)
            self._is_new = True
        return self._answers[key]

    @cached_property
    def _types(self) -> KernelTypes:
        return KernelTypes.of_kernel(self._path)

    def _kept(self) -> dict[str, Any]:
        if self._name is None:
            return {}
        try:
            answers = json.loads(self._files.read(self._name))
        except (OSError, ValueError, RecursionError):
            return {}
        return answers if isinstance(answers, dict) else {}


def _name(path: Path) -> str | None:
    """Of the file in which the answers are kept; None: they cannot be told from those of another kernel."""
    try:
        status = path.stat()
        given = [_BOOT.read_text(), str(path), status.st_size, status.st_mtime_ns, _CODE]
    except OSError:
        return None
    return hashlib.sha256(json.dumps(given).encode()).hexdigest()


_CODE = 1
"""Of what is kept; raised when that changes."""
