"""Which rustc made a binary, as its `.comment` says."""

from __future__ import annotations

import re

from tracer.target.elf import ElfImage

_RUSTC = re.compile(rb"rustc version (\d+\.\d+\.\d+[-.\w]*)")


def compiler_of(image: ElfImage) -> str | None:
    """The newest rustc named in .comment: older ones come with the precompiled parts."""
    content = image.section(".comment")
    if content is None:
        return None
    versions = {match.decode("ascii") for match in _RUSTC.findall(bytes(content[: 64 << 10]))}
    return max(versions, key=lambda version: [int(part) for part in re.findall(r"\d+", version)[:3]], default=None)
