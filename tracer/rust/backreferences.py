"""How large a v0-mangled name becomes when its back references are followed.

A back reference repeats an earlier part of the name, which may hold back references itself: 240
characters can stand for hundreds of megabytes.  The demangler follows them all, so that names out
of a stranger's file are measured first.  Grammar: RFC 2603, as in "v0 symbol format" of the rustc
book (1.95).
"""

from __future__ import annotations

import re

_REFERENCE = re.compile(r"B[0-9a-zA-Z]*_")
_HARMLESS = 12
"""With so few back references a name grows 4096-fold at most."""

_LIMIT = 1 << 16
"""Productions that a name may expand to."""

_NUMBER = re.compile(r"[0-9a-zA-Z]*_")
_IDENTIFIER = re.compile(r"(?:s[0-9a-zA-Z]*_)?u?(0|[1-9]\d*)_?")
_BASIC = frozenset("abcdefhijlmnopstuvxyz")


def is_harmless(symbol: str) -> bool:
    """Whether demangling this `_R…` name takes little time and memory.  False also when it makes no sense."""
    if sum(1 for _ in _REFERENCE.finditer(symbol)) <= _HARMLESS:
        return True
    try:
        return _Measure(symbol[2:]).path(0)[1] <= _LIMIT
    except (IndexError, ValueError, RecursionError):
        return False


class _Measure:
    """Each method takes the position of a production and returns (its end, the productions it expands to)."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._known: dict[tuple[str, int], tuple[int, int]] = {}

    def path(self, at: int) -> tuple[int, int]:
        return self._once("path", at)

    def _once(self, kind: str, at: int) -> tuple[int, int]:
        known = self._known.get((kind, at))
        if known is None:
            self._known[kind, at] = (at, _LIMIT + 1)  # what refers to itself never ends
            end, size = self._path(at) if kind == "path" else self._type(at)
            known = self._known[kind, at] = (end, size + 1)
        return known

    def _path(self, at: int) -> tuple[int, int]:
        letter = self._text[at]
        if letter == "C":
            return self._identifier(at + 1), 1
        if letter == "N":
            end, size = self.path(at + 2)
            return self._identifier(end), size
        if letter in "MX":
            start = self._number(at + 2) if self._text[at + 1] == "s" else at + 1
            end, _ = self.path(start)
            return self._then(end, 0, "type") if letter == "M" else self._then(*self._then(end, 0, "type"), "path")
        if letter == "Y":
            return self._then(*self._once("type", at + 1), "path")
        if letter == "I":
            end, size = self.path(at + 1)
            while self._text[end] != "E":
                end, more = self._argument(end)
                size += more
            return end + 1, size
        if letter == "B":
            return self._back(at, "path")
        raise ValueError("no path")

    def _type(self, at: int) -> tuple[int, int]:
        letter = self._text[at]
        if letter in _BASIC:
            return at + 1, 1
        if letter in "RQ":
            return self._once("type", self._number(at + 2) if self._text[at + 1] == "L" else at + 1)
        if letter in "SPO":
            return self._once("type", at + 1)
        if letter == "A":
            end, size = self._once("type", at + 1)
            end, more = self._constant(end)
            return end, size + more
        if letter == "T":
            return self._types(at + 1)
        if letter == "F":
            at = self._binder(at + 1)
            at += self._text[at] == "U"
            if self._text[at] == "K":
                at = at + 2 if self._text[at + 1] == "C" else self._identifier(at + 1)
            return self._then(*self._types(at), "type")
        if letter == "D":
            at, size = self._binder(at + 1), 0
            while self._text[at] != "E":
                at, more = self.path(at)
                size += more
                while self._text[at] == "p":
                    at, size = self._then(self._identifier(at + 1), size, "type")
            return self._number(at + 2), size
        if letter == "B":
            return self._back(at, "type")
        return self.path(at)

    def _types(self, at: int) -> tuple[int, int]:
        size = 0
        while self._text[at] != "E":
            at, size = self._then(at, size, "type")
        return at + 1, size

    def _then(self, at: int, size: int, kind: str) -> tuple[int, int]:
        end, more = self._once(kind, at)
        return end, size + more

    def _argument(self, at: int) -> tuple[int, int]:
        if self._text[at] == "L":
            return self._number(at + 1), 1
        return self._constant(at + 1) if self._text[at] == "K" else self._once("type", at)

    def _constant(self, at: int) -> tuple[int, int]:
        if self._text[at] == "p":
            return at + 1, 1
        if self._text[at] == "B":
            target = self._target(at)
            return self._number(at + 1), self._constant(target)[1]
        end, size = self._once("type", at)
        return self._number(end), size

    def _back(self, at: int, kind: str) -> tuple[int, int]:
        return self._number(at + 1), self._once(kind, self._target(at))[1]

    def _target(self, at: int) -> int:
        """Where the back reference at `at` leads: base 62, `_` is 0, and the others are one more."""
        digits = self._text[at + 1 : self._number(at + 1) - 1]
        value = 0
        for digit in digits:
            value = value * 62 + "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".index(digit)
        target = value + 1 if digits else 0
        if target >= at:
            raise ValueError("a back reference leads forward")
        return target

    def _binder(self, at: int) -> int:
        return self._number(at + 1) if self._text[at] == "G" else at

    def _number(self, at: int) -> int:
        match = _NUMBER.match(self._text, at)
        if match is None:
            raise ValueError("no number")
        return match.end()

    def _identifier(self, at: int) -> int:
        match = _IDENTIFIER.match(self._text, at)
        if match is None:
            raise ValueError("no identifier")
        return match.end() + int(match[1])
