"""Which types implement Future, and which Stream, by the mangled names in the debug information's strings.

They name every `poll` that was compiled, also those that exist only inlined.  The linker keeps each
string once, so that this is one search; the types' entries themselves do not tell their traits.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tracer.rust.demangle import demangle
from tracer.rust.naming import future_type_of, stream_type_of

_MAX_NAMES = 1 << 14
_PATH = re.compile(r"[A-Za-z_]\w*(?:::[A-Za-z_]\w*)+")

_FUTURE = (
    b"4poll",
    re.compile(rb"_ZN[\w.$]*core\.\.future\.\.future\.\.Future[\w.$]*4poll17h[0-9a-f]{16}E"),
    re.compile(rb"_R\w*6Future4poll\w*"),
)
_STREAM = (
    b"9poll_next",
    re.compile(rb"_ZN[\w.$]*futures_core\.\.stream\.\.Stream[\w.$]*9poll_next17h[0-9a-f]{16}E"),
    re.compile(rb"_R\w*6Stream9poll_next\w*"),
)
"""What all such names have in them, legacy names, and v0 names."""


def future_paths(strings: bytes) -> frozenset[str]:
    """The types' paths without arguments, out of the content of .debug_str: `tokio::time::sleep::Sleep`.

    Pointers and references that are futures are left out.
    """
    return _implementors(strings, *_FUTURE, future_type_of)


def stream_paths(strings: bytes) -> frozenset[str]:
    """The same of streams, whatever crate the trait is of: `futures_util::stream::stream::map::Map`."""
    return _implementors(strings, *_STREAM, stream_type_of)


def _implementors(
    strings: bytes, part: bytes, legacy: re.Pattern[bytes], v0: re.Pattern[bytes], type_of: Callable[[str], str | None]
) -> frozenset[str]:
    mangled: set[bytes] = set()
    at = strings.find(part)
    while at >= 0 and len(mangled) < _MAX_NAMES:
        begin = strings.rfind(b"\0", 0, at) + 1
        end = strings.find(b"\0", at)
        name = strings[begin : end if end >= 0 else len(strings)]
        if legacy.fullmatch(name) or v0.fullmatch(name):
            mangled.add(name)
        at = strings.find(part, max(end, at + 1))
    types = (type_of(demangle(name.decode("ascii"))) for name in mangled)
    paths = (base_name(type_) for type_ in types if type_ is not None)
    return frozenset(path for path in paths if _PATH.fullmatch(path))


def base_name(name: str) -> str:
    """A type's name without its arguments."""
    return name.partition("<")[0]
