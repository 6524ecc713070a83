"""Rust symbol names for people: legacy mangling by cxxfilt, v0 by pycxxfilt (LLVM's demangler)."""

from __future__ import annotations

import re
from functools import lru_cache

import cxxfilt
import pycxxfilt

_SUFFIX = re.compile(r"\.(?:llvm|lto_priv|part|isra|constprop|cold)\b[.\w]*$|@@?[\w.]+$")
"""What linkers and LLVM append to a symbol: `.llvm.123`, a symbol version."""

_HASH = re.compile(r"::h[0-9a-f]{16}$")
_ESCAPE = re.compile(r"\$([A-Za-z0-9]+)\$")
_ESCAPES = {"SP": "@", "BP": "*", "RF": "&", "LT": "<", "GT": ">", "LP": "(", "RP": ")", "C": ","}
"""From rustc_symbol_mangling::legacy (rustc 1.95): every other character is `$u<hex>$`."""


@lru_cache(maxsize=1 << 16)
def demangle(symbol: str) -> str:
    """The readable name of a symbol, without hash and linker suffix; itself when it is no Rust name.

    Never raises.
    """
    bare = _SUFFIX.sub("", symbol)
    try:
        if bare.startswith("_R"):
            return pycxxfilt.demangle(bare) or symbol
        if bare.startswith("_ZN"):
            name = cxxfilt.demangle(bare)
            return _unescape(_HASH.sub("", name)) if _HASH.search(name) else name
    except (ValueError, cxxfilt.Error):
        pass
    return symbol


def is_rust_symbol(symbol: str) -> bool:
    """Whether the name is mangled in one of rustc's two ways."""
    return symbol.startswith("_R") or (symbol.startswith("_ZN") and re.search(r"17h[0-9a-f]{16}E", symbol) is not None)


def _unescape(name: str) -> str:
    if "$" not in name and ".." not in name:
        return name
    # A leading underscore only keeps an identifier from beginning with an escape.
    name = re.sub(r"(^|::)_\$", r"\1$", name)
    return _ESCAPE.sub(_escape, name.replace("..", "::"))


def _escape(match: re.Match[str]) -> str:
    code = match[1]
    if code in _ESCAPES:
        return _ESCAPES[code]
    if code[0] == "u":
        try:
            return chr(int(code[1:], 16))
        except (ValueError, OverflowError):
            pass
    return match[0]
