"""Local variables that a coroutine's state has no member for, because another one of the same name is there.

rustc (1.63 to 1.97) makes each variable a member; of those of one name LLVM (15 to 22) keeps the first, as many times
as there are: it takes members of one type with one name for the same.  `let state = state.lock().await` is lost so.
Which types such variables have, those of the function tell, which are in scope at the await; where they are, only what
the other members leave free.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tracer.model import SourceLocation
from tracer.rust.awaits import AWAITEE
from tracer.rust.dwarf import Die, Dwarf
from tracer.rust.forms import At, DwarfError, Tag
from tracer.rust.lines import LineTables
from tracer.rust.types import Member, Type, Types

_ENVIRONMENT = "_env#"
_IN_SCOPE = frozenset({int(Tag.VARIABLE), int(Tag.LEXICAL_BLOCK)})
_WORD = 8
_MOST_PLACES = 16


@dataclass(frozen=True, slots=True)
class Shadowed:
    """type: of the variable.  places: offsets into the coroutine, where it may be."""

    type: int
    places: tuple[int, ...]


_Scope = tuple[tuple[str, int], ...]
"""Variables, the outermost first: (name, position of the type)."""


class ShadowedVariables:
    """Of one binary.  bodies: entries of coroutines' functions; asked for when the first is needed.

    begin_of: where the body of a coroutine type begins.
    """

    def __init__(
        self,
        dwarf: Dwarf,
        types: Types,
        lines: LineTables,
        begin_of: Callable[[int], SourceLocation | None],
        bodies: Callable[[], Iterable[Die]],
    ) -> None:
        self._dwarf = dwarf
        self._types = types
        self._lines = lines
        self._begin_of = begin_of
        self._bodies = bodies
        self._by_name: dict[tuple[str, SourceLocation], list[Die]] | None = None
        self._scopes: dict[int, dict[int, list[_Scope]]] = {}

    def of_state(
        self, type_: Type, variant: Member, own: Sequence[Member], taken: Sequence[Member]
    ) -> Iterator[Shadowed]:
        """own: the members of one state that are for its local variables.  taken: what else is in the coroutine then,
        by offset into it.  Raises DwarfError."""
        counts = Counter((one.name, one.offset, one.type) for one in own)
        twice = {name: type_at for (name, _, type_at), count in counts.items() if count > 1 and type_at is not None}
        if not twice or variant.declared is None:
            return
        scopes = self._scopes_of(type_).get(variant.declared[1], [])
        lost = {
            type_name: type_at
            for name, known in twice.items()
            for type_name, type_at in self._all(name, scopes).items()
            if type_name != self._types.name_at(known)
        }
        free = _free(type_.size, [*self._spans(0, taken), *self._spans(variant.offset, own)]) if lost else []
        for type_at in lost.values():
            places = tuple(_places(free, self._types.at(type_at).size))
            if 0 < len(places) <= _MOST_PLACES:
                yield Shadowed(type_at, places)

    def _all(self, name: str, scopes: Sequence[_Scope]) -> dict[str, int]:
        """By name the types of the variables of this name that are in scope wherever the state may be; of a function
        that is in several units there is an entry in each."""
        found = [{self._types.name_at(type_at): type_at for one, type_at in scope if one == name} for scope in scopes]
        return {one: found[0][one] for one in found[0] if all(one in other for other in found)} if found else {}

    def _spans(self, base: int, members: Sequence[Member]) -> Iterator[tuple[int, int]]:
        for one in members:
            yield base + one.offset, self._types.at(one.type).size if one.type is not None else 1

    # ------------------------------------------------------------ the function's variables

    def _scopes_of(self, type_: Type) -> dict[int, list[_Scope]]:
        """By line of an await, what is in scope there; of each await in that line."""
        known = self._scopes.get(type_.offset)
        if known is None:
            known = self._scopes[type_.offset] = defaultdict(list)
            begin = self._begin_of(type_.offset)
            name = type_.name.replace(_ENVIRONMENT, "#", 1)
            for die in self._index().get((name, begin), []) if begin is not None else ():
                with suppress(DwarfError):
                    for line, scope in self._awaits(die):
                        known[line].append(scope)
        return known

    def _awaits(self, die: Die) -> Iterator[tuple[int, _Scope]]:
        """(its line, what is in scope) of each await."""
        scopes: list[_Scope] = [()]
        for depth, one in self._dwarf.inside(die, _IN_SCOPE, Tag.LEXICAL_BLOCK):
            del scopes[depth + 1 :]
            if one.tag == Tag.LEXICAL_BLOCK:
                scopes.append(scopes[-1])
                continue
            type_at, line = one.integer(At.TYPE), one.integer(At.DECL_LINE)
            if one.name == AWAITEE and line is not None:
                yield line, scopes[-1]
            elif type_at is not None:
                scopes[-1] = (*scopes[-1], (one.name, type_at))

    def _index(self) -> dict[tuple[str, SourceLocation], list[Die]]:
        """The entries with variables by the function's own name and where it is declared."""
        if self._by_name is None:
            self._by_name = defaultdict(list)
            for entry in self._bodies():
                with suppress(DwarfError):
                    chain = self._dwarf.chain(entry)
                    file, line = chain[-1].integer(At.DECL_FILE), chain[-1].integer(At.DECL_LINE)
                    path = self._lines.file(chain[-1].unit, file) if file is not None else None
                    if path is not None and line:
                        full = chain[1] if At.ABSTRACT_ORIGIN in entry.values else entry
                        self._by_name[chain[-1].name, SourceLocation(path, line)].append(full)
        return self._by_name


def _free(size: int, taken: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """(begin, end) of what is left of so many bytes."""
    free, at = [], 0
    for begin, length in sorted(taken):
        if begin > at:
            free.append((at, begin))
        at = max(at, begin + length)
    return [*free, (at, size)] if at < size else free


def _places(free: Iterable[tuple[int, int]], size: int) -> Iterator[int]:
    """Where something of that size, with a pointer in it, can be."""
    if size >= _WORD:
        for begin, end in free:
            yield from range(-(-begin // _WORD) * _WORD, end - size + 1, _WORD)
