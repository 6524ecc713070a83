"""Names of futures as users know them.

`a::f::{async_fn_env#0}<T>` (DWARF), `a::f::{{closure}}` (legacy symbol) and `a::f::{closure#0}`
(v0 symbol) are all the body of `async fn f`: shown as `a::f`.  An async block in it is
`a::f::{async block#0}`.  A hand-written future goes by its type.
"""

from __future__ import annotations

import re
from functools import lru_cache

from tracer.rust.generators import unwrapped

_PRELUDE = re.compile(
    r"\b(?:alloc::(?:boxed::(?=Box)|string::(?=String)|vec::(?=Vec)|sync::(?=Arc)|rc::(?=Rc))"
    r"|core::(?:pin::(?=Pin)|option::(?=Option)|result::(?=Result)|future::future::(?=Future)))"
)
_ALLOCATOR = re.compile(r", alloc::alloc::Global\b")
_PARTS = (
    (re.compile(r"::\{async_fn(?:_env)?#\d+\}"), ""),
    (re.compile(r"\{async_(block|closure)(?:_env|_body|_body_env)?#(\d+)\}"), r"{async \1#\2}"),
    (re.compile(r"\{\{closure\}\}"), "{closure}"),
    (re.compile(r"\{(closure|gen_block|coroutine)_env#(\d+)\}"), r"{\1#\2}"),
)
_FUTURE_TRAIT = "core::future::future::Future"
_AS_FUTURE = re.compile(rf"^<(?P<type>.+) as {_FUTURE_TRAIT}>::poll$")
_FOR_FUTURE = re.compile(rf"<impl {_FUTURE_TRAIT} for (?P<type>.+)>::poll$")
_AS_STREAM = re.compile(r"^<(?P<type>.+) as futures_core::stream::Stream>::poll_next$")
_CLOSURE = re.compile(r"^\{(?:\{closure\}|closure#(?P<number>\d+))\}$")
_FIRST_WORD = re.compile(r"[A-Za-z_]\w*(?=::)")
_ARGUMENTS = re.compile(r"(?<=\w)<[^<>]*>")
_NUMBER = re.compile(r"(?<=\{async block)#\d+")
_MAX_LENGTH = 120
_SIGNATURE = re.compile(r'^(?:unsafe )?(?:extern "[^"]*" )?fn\(')
_ANGLES = re.compile(r"<|(?<!-)>")
_TOKENS = {separator: re.compile(rf"[<(\[{{)\]}}]|(?<!-)>|{separator}") for separator in ("::", ",", " as ")}


def split_path(path: str) -> list[str]:
    """The segments between the top-level `::` of a path."""
    return _split(path, "::")


def implementor_and_trait(name: str) -> tuple[str, str]:
    """`a::B` and `c::D` of `<a::B as c::D>`; "" for the trait of `<a::B>`.  Both can have others like it inside."""
    implementor, *trait = _split(name[1:-1], " as ")
    return implementor, " as ".join(trait)


def generic_arguments(name: str) -> list[str]:
    """The arguments of the last `<…>` of a name, which must end the name; [] when there are none."""
    if not name.endswith(">"):
        return []
    depth = 0
    for angle in reversed(list(_ANGLES.finditer(name))):
        if angle[0] == ">":
            depth += 1
            continue
        depth -= 1
        if depth == 0:
            return [argument.strip() for argument in _split(name[angle.end() : -1], ",")]
    return []


def with_items(path: str, symbol: str, deeper: int = 100) -> str:
    """A type's path as debug information has it, where a function's type is just its signature, `a::B<fn() -> u8>`,
    with the path of that function, as the symbol of the same type tells it: `a::B<c::d>`."""
    if is_function_type(path):
        return symbol
    arguments, named = generic_arguments(path), generic_arguments(symbol)
    if not any(is_function_type(one) or "<" in one for one in arguments) or len(arguments) != len(named) or not deeper:
        return path
    base = _without_last_arguments(path)
    inside = (with_items(one, of, deeper - 1) for one, of in zip(arguments, named, strict=True))
    return f"{base}<{', '.join(inside)}>"


def is_function_type(path: str) -> bool:
    """Whether it is the type of functions of a signature."""
    return _SIGNATURE.match(path) is not None


def _without_last_arguments(path: str) -> str:
    depth = 0
    for angle in reversed(list(_ANGLES.finditer(path))):
        depth += 1 if angle[0] == ">" else -1
        if depth == 0:
            return path[: angle.start()]
    return path


def own_name(path: str) -> str:
    """A type's name as its entry has it, with its arguments: without the modules that it is in."""
    return split_path(path)[-1]


def _split(text: str, separator: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for match in _TOKENS[separator].finditer(text):
        token = match[0]
        if token in "<([{":
            depth += 1
        elif token != separator:
            depth -= 1
        elif depth == 0:
            parts.append(text[start : match.start()])
            start = match.end()
    parts.append(text[start:])
    return parts


def future_type_of(symbol_name: str) -> str | None:
    """T of a demangled `<T as Future>::poll` or `<impl Future for T>::poll`; None for other functions."""
    match = _AS_FUTURE.match(symbol_name) or _FOR_FUTURE.search(symbol_name)
    return match["type"] if match else None


def stream_type_of(symbol_name: str) -> str | None:
    """T of a demangled `<T as Stream>::poll_next`; None for other functions."""
    match = _AS_STREAM.match(symbol_name)
    return match["type"] if match else None


def is_closure(symbol_name: str) -> bool:
    """Whether a demangled name is that of a closure's or a coroutine's body."""
    return _CLOSURE.match(symbol_name.rpartition("::")[2]) is not None


@lru_cache(maxsize=1 << 14)
def display_name(path: str) -> str:
    """A type's path as users know it: coroutine environments and the prelude's paths shortened."""
    path = unwrapped(_inherent(path.replace("::<", "<")))
    for pattern, replacement in _PARTS:
        path = pattern.sub(replacement, path)
    return _shorten(_PRELUDE.sub("", _ALLOCATOR.sub("", path)))


def coroutine_name(symbol_name: str, type_path: str | None, own_name: str | None = None) -> str:
    """The name of a coroutine's body, by the path of its type where DWARF gives it, else by its symbol.

    own_name: `{async_block#0}` or the like, where DWARF has no types but names.
    """
    if type_path is None:
        segments = split_path(symbol_name)
        if own_name is None:
            return display_name(_closure_name(segments))
        return display_name(f"{_closure_name(segments[:-1])}::{own_name}")
    segments = split_path(type_path)
    impl = max((i for i, segment in enumerate(segments) if segment.startswith("{impl#")), default=-1)
    if impl >= 0:
        # `{impl#3}` says nothing: the symbol has the type in its place, and the same segments after it.
        after = len(segments) - impl - 1
        named = split_path(symbol_name)
        if len(named) > after and is_closure(symbol_name):
            segments = named[:-after] + segments[impl + 1 :]
    return display_name("::".join(segments))


def _closure_name(segments: list[str]) -> str:
    """Of nested closures the first #0 is the async fn's body, further ones are async blocks."""
    names: list[str] = []
    inside = False
    for segment in segments:
        match = _CLOSURE.match(segment)
        if match is None:
            names.append(segment)
            continue
        number = match["number"]
        if inside or number not in (None, "0"):
            names.append("{async block}" if number is None else f"{{async block#{number}}}")
        inside = True
    return "::".join(names)


def bare_name(name: str) -> str:
    """A coroutine's display name without what some sources of names do not tell: generic arguments, and the numbers of
    blocks."""
    name = _NUMBER.sub("", name.replace("->", ""))
    while (shorter := _ARGUMENTS.sub("", name)) != name:
        name = shorter
    return name


def crate_of(path: str) -> str | None:
    """The crate that a path begins in: of `<&mut a::B as c::D>::e` it is `a`."""
    match = _FIRST_WORD.search(path)
    return match[0] if match else None


def _inherent(path: str) -> str:
    """`<a::B>::c`, as v0 names inherent methods, is `a::B::c`; `<a::B as c::D>::e` stays."""
    first = split_path(path)[0]
    if first.startswith("<") and first.endswith(">") and not implementor_and_trait(first)[1]:
        return first[1:-1] + path[len(first) :]
    return path


def _shorten(name: str) -> str:
    """What is nested too deep in generic arguments becomes `…`, the deepest first, until it is short enough."""
    for limit in (4, 3, 2, 1):
        if len(name) <= _MAX_LENGTH:
            break
        name = _cut_below(name, limit)
    return name


def _cut_below(name: str, limit: int) -> str:
    kept: list[str] = []
    depth = 0
    for at, character in enumerate(name):
        closes = character == ">" and name[at - 1 : at] != "-"
        depth -= closes
        if depth <= limit:
            kept.append(character)
        elif depth == limit + 1 and kept[-1] == "<":
            kept.append("…")
        depth += character == "<"
    return "".join(kept)
