"""Which types implement Future, by the mangled names in the debug information's strings.

They name every `poll` that was compiled, also those that exist only inlined.  The linker keeps each
string once, so that this is one search; the types' entries themselves do not tell their traits.
"""

from __future__ import annotations

import re

from tracer.rust.demangle import demangle
from tracer.rust.naming import future_type_of, split_path

_POLL = b"4poll"
_LEGACY = re.compile(rb"_ZN[\w.$]*core\.\.future\.\.future\.\.Future[\w.$]*4poll17h[0-9a-f]{16}E")
_V0 = re.compile(rb"_R\w*6Future4poll\w*")
_MAX_NAMES = 1 << 14
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")


def future_names(strings: bytes) -> frozenset[str]:
    """The types' own names, without path and arguments, out of the content of .debug_str: `Sleep`, `Timeout`.

    Pointers and references that are futures are left out.
    """
    mangled: set[bytes] = set()
    at = strings.find(_POLL)
    while at >= 0 and len(mangled) < _MAX_NAMES:
        begin = strings.rfind(b"\0", 0, at) + 1
        end = strings.find(b"\0", at)
        name = strings[begin : end if end >= 0 else len(strings)]
        if _LEGACY.fullmatch(name) or _V0.fullmatch(name):
            mangled.add(name)
        at = strings.find(_POLL, max(end, at + 1))
    types = (future_type_of(demangle(name.decode("ascii"))) for name in mangled)
    names = (base_name(split_path(type_)[-1]) for type_ in types if type_ is not None)
    return frozenset(name for name in names if _IDENTIFIER.fullmatch(name))


def base_name(name: str) -> str:
    """A type's own name without its arguments."""
    return name.partition("<")[0]
