"""Rust symbol names for people: legacy mangling by cxxfilt, v0 by pycxxfilt (LLVM's demangler)."""

from __future__ import annotations

import re
from functools import lru_cache

import cxxfilt
import pycxxfilt

from tracer.rust.backreferences import is_harmless

_SUFFIX = re.compile(r"\.(?:llvm|lto_priv|part|isra|constprop|cold)\b[.\w]*$|@@?[\w.]+$")
"""What linkers and LLVM append to a symbol: `.llvm.123`, a symbol version."""

_LENGTH = re.compile(r"[1-9]\d{0,4}")
_LAST = re.compile(r"^h[0-9a-f]{16}$")
_HASH = re.compile(r"::h[0-9a-f]{16}$")
_ESCAPES = {"SP": "@", "BP": "*", "RF": "&", "LT": "<", "GT": ">", "LP": "(", "RP": ")", "C": ","}
"""From rustc_symbol_mangling::legacy (rustc 1.95): every other character is `$u<hex>$`."""


@lru_cache(maxsize=1 << 16)
def demangle(symbol: str) -> str:
    """The readable name of a symbol, without hash and linker suffix; itself when it is no Rust name.

    Never raises.
    """
    bare = _SUFFIX.sub("", symbol)
    if bare.startswith("_R"):
        try:
            return (pycxxfilt.demangle(bare) or symbol) if is_harmless(bare) else symbol
        except ValueError:
            return symbol
    parts = _legacy_parts(bare) if bare.startswith("_ZN") else None
    if parts is None:
        return symbol
    try:
        name = _HASH.sub("", cxxfilt.demangle(bare))
    except cxxfilt.Error:
        name = "::".join(parts[:-1])  # it takes no names beyond a kilobyte or so
    return _unescape(name)


def _legacy_parts(symbol: str) -> list[str] | None:
    """The identifiers of a name in rustc's subset of the C++ mangling: `_ZN`, identifiers with their
    lengths, the hash, `E`.  None for all others: the whole of C++ mangling has substitutions by which
    a short name stands for an endless one.
    """
    at = 3
    parts: list[str] = []
    while match := _LENGTH.match(symbol, at):
        at = match.end() + int(match[0])
        parts.append(symbol[match.end() : at])
    return parts if symbol[at:] == "E" and len(parts) > 1 and _LAST.match(parts[-1]) else None


def _unescape(name: str) -> str:
    if "$" not in name and ".." not in name:
        return name
    # A leading underscore only keeps an identifier from beginning with an escape; the hyphen of `->` is a dot.
    name = name.removeprefix("_") if name.startswith("_$") else name
    name = name.replace("::_$", "::$").replace("..", "::").replace(".$GT$", "-$GT$")
    pieces = name.split("$")
    try:
        pieces[1::2] = [_meaning(code) for code in pieces[1::2]]
    except ValueError:
        return name  # rustc made no such name
    return "".join(pieces)


@lru_cache(maxsize=1 << 10)
def _meaning(code: str) -> str:
    """Of one escape.  Raises ValueError."""
    if code in _ESCAPES:
        return _ESCAPES[code]
    if not code.startswith("u"):
        raise ValueError(code)
    number = int(code[1:], 16)
    if not 0 <= number < 0x110000 or 0xD800 <= number < 0xE000:  # no character: half of one, in UTF-16
        raise ValueError(code)
    return chr(number)
