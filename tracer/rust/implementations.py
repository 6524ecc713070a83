"""What the `{impl#3}` in DWARF's paths stand for: their number says nothing, symbols have the type in their place."""

from __future__ import annotations

import re

from tracer.rust.naming import implementor_and_trait, split_path

_IMPL = re.compile(r"[A-Za-z_]\w*(?:::[A-Za-z_]\w*)*::\{impl#\d+\}")
_V0 = re.compile(r"^<|\{closure#\d+\}")


class Implementations:
    """Learns from pairs of a path and a symbol of one thing; the first word counts."""

    def __init__(self) -> None:
        self._types: dict[str, str] = {}

    def learn(self, path: str, symbol: str) -> None:
        """path: as DWARF has it.  symbol: the demangled name of the same function or coroutine body."""
        segments = split_path(path)
        # `<a::B>::f::<u8>::{closure#0}`: the arguments are no segment of their own.
        named = [one for at, one in enumerate(split_path(symbol)) if at == 0 or not one.startswith("<")]
        impl = max((at for at, segment in enumerate(segments) if segment.startswith("{impl#")), default=-1)
        after = len(segments) - impl - 1
        if impl < 0 or not 0 < after < len(named):
            return
        type_ = "::".join(named[:-after])
        self._types.setdefault(
            "::".join(segments[: impl + 1]), _without_instance(type_) if _V0.search(symbol) else type_
        )

    def unknown(self, path: str) -> bool:
        """Whether the path has an `{impl#3}` that was not learned."""
        return any(match[0] not in self._types for match in _IMPL.finditer(path))

    def resolved(self, path: str) -> str:
        """The path with types instead of numbers, as far as they are known."""
        return _IMPL.sub(lambda match: self._types.get(match[0], match[0]), path)


def _without_instance(type_: str) -> str:
    """v0 symbols are of one instance, `<a::Mutex<u64>>`; what is learned has to be true of all: `a::Mutex`."""
    if not type_.startswith("<"):
        return type_.partition("<")[0]
    implementor, trait = implementor_and_trait(type_)
    implementor = implementor.partition("<")[0] or implementor
    return f"<{implementor} as {trait.partition('<')[0]}>" if trait else implementor
