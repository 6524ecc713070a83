"""The debug sections of a program and of the files its debug information is split into, joined kind by kind.

So a position means one place, whichever file it is in: first comes the program's own section, then
NAME.dwo of each file.
"""

from __future__ import annotations

from collections.abc import Iterable

from tracer.target.elf import ElfImage


class Sections:
    """files: opened .dwp or .dwo files.  Contents are read when first asked for, and kept."""

    def __init__(self, image: ElfImage, files: Iterable[ElfImage] = ()) -> None:
        self._image = image
        self._files = list(dict.fromkeys(files))
        self._contents: dict[str, bytes] = {}
        self._begins: dict[str, dict[ElfImage, int]] = {}

    def content(self, name: str) -> bytes:
        """The joined section; empty when no file has it."""
        content = self._contents.get(name)
        if content is None:
            # Copied once: bytes are searched and indexed faster than a memoryview.
            pieces = [bytes(self._image.section(name) or b"")]
            begins, at = {}, len(pieces[0])
            for file in self._files:
                pieces.append(bytes(file.section(f"{name}.dwo") or b""))
                begins[file] = at
                at += len(pieces[-1])
            self._begins[name] = begins
            content = self._contents[name] = b"".join(pieces) if self._files else pieces[0]
        return content

    def begin(self, name: str, file: ElfImage) -> int:
        """Where NAME.dwo of one of the files begins in the joined section, in bytes."""
        self.content(name)
        return self._begins[name][file]
