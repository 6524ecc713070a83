"""The types that poll functions take and return, out of DWARF: structs, enums, coroutines."""

from __future__ import annotations

from dataclasses import dataclass

from tracer.rust.dwarf import Die, Dwarf
from tracer.rust.forms import At, DwarfError, Tag
from tracer.rust.generators import is_wrapper

STATE = "__state"
"""What rustc (1.63 to 1.97) calls the discriminant of a coroutine."""

_MEMBER_TAGS = frozenset({int(Tag.MEMBER), int(Tag.VARIANT_PART)})
_PART_TAGS = frozenset({int(Tag.VARIANT_PART)})
_VARIANT_TAGS = frozenset({int(Tag.VARIANT)})
_FIELD_TAGS = frozenset({int(Tag.MEMBER)})
_ARGUMENT_TAGS = frozenset({int(Tag.TEMPLATE_TYPE)})


_PIN = "Pin<&mut "


@dataclass(frozen=True, slots=True)
class Member:
    """offset: bytes into the containing type.  type: position of its type's entry, or None.
    declared: (number of the file in its unit's line table, line), or None."""

    name: str
    offset: int
    type: int | None
    declared: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Discriminant:
    """offset and size in bytes, into the containing type."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class VariantPart:
    """An enum's variants.  variants: (discriminant's value, or None for all others; its member).

    discriminant is None when only one variant can exist.
    """

    discriminant: Discriminant | None
    variants: tuple[tuple[int | None, Member], ...]


@dataclass(frozen=True, slots=True)
class Type:
    """size: bytes.  target: what a pointer or an enumeration refers to, as position of its entry."""

    offset: int
    tag: int
    name: str
    size: int
    target: int | None
    members: tuple[Member, ...] = ()
    variant_part: VariantPart | None = None


class Types:
    """The types of one binary by the position of their entry; kept."""

    def __init__(self, dwarf: Dwarf) -> None:
        self._dwarf = dwarf
        self._known: dict[int, Type] = {}

    def at(self, offset: int) -> Type:
        """Raises DwarfError."""
        known = self._known.get(offset)
        if known is None:
            known = self._known[offset] = self._read(self._dwarf.die(offset))
        return known

    def name_at(self, offset: int) -> str:
        """The name alone, without reading the members.  Raises DwarfError."""
        known = self._known.get(offset)
        return known.name if known is not None else self._dwarf.die(offset).name

    def argument(self, type_: Type) -> Type | None:
        """T of Vec<T, A>: the first type argument.  Raises DwarfError."""
        die = next(self._dwarf.children(self._dwarf.die(type_.offset), _ARGUMENT_TAGS), None)
        position = die.integer(At.TYPE) if die is not None else None
        return self.at(position) if position is not None else None

    def pinned(self, type_: Type) -> Type | None:
        """T of Pin<&mut T>, by following its pointer; None when it is no such type."""
        if pinned_path(type_.name) is None or not type_.members or type_.members[0].type is None:
            return None
        pointer = self.at(type_.members[0].type)
        return self.at(pointer.target) if pointer.tag == Tag.POINTER and pointer.target is not None else None

    def unwrapped(self, type_: Type) -> Type:
        """The coroutine inside of a future that older compilers put around it; else the type itself.
        Raises DwarfError."""
        if not is_wrapper(type_.name) or len(type_.members) != 1 or type_.members[0].type is None:
            return type_
        inner = self.at(type_.members[0].type)
        return inner if is_coroutine(inner) and type_.members[0].offset == 0 else type_

    def unresumed_at(self, offset: int) -> Die | None:
        """The entry of a coroutine's first state, which is declared where its body begins.  Raises DwarfError."""
        die = self._dwarf.die(offset)
        if die.tag != Tag.STRUCTURE:
            return None
        type_ = self.at(offset)
        inner = self.unwrapped(type_)
        if not is_coroutine(inner):
            return None
        if inner is not type_:
            die = self._dwarf.die(inner.offset)
        for part in self._dwarf.children(die, _PART_TAGS):
            for variant in self._dwarf.children(part, _VARIANT_TAGS):
                if variant.integer(At.DISCR_VALUE) == 0:
                    return next(self._dwarf.children(variant, _FIELD_TAGS), None)
        return None

    def _read(self, die: Die) -> Type:
        size = die.integer(At.BYTE_SIZE)
        if size is None:
            size = 8 if die.tag == Tag.POINTER else 0
        members: list[Member] = []
        variant_part = None
        if die.tag in (Tag.STRUCTURE, Tag.UNION):
            for child in self._dwarf.children(die, _MEMBER_TAGS):
                if child.tag == Tag.MEMBER:
                    members.append(_member(child))
                else:
                    variant_part = self._variant_part(child)
        return Type(die.offset, die.tag, die.name, size, die.integer(At.TYPE), tuple(members), variant_part)

    def _variant_part(self, die: Die) -> VariantPart:
        discriminant = None
        reference = die.integer(At.DISCR)
        if reference is not None:
            member = self._dwarf.die(reference)
            type_offset = member.integer(At.TYPE)
            if member.tag != Tag.MEMBER or type_offset is None:
                raise DwarfError("an enum's discriminant is damaged")
            size = self._dwarf.die(type_offset).integer(At.BYTE_SIZE) or 0
            discriminant = Discriminant(member.name, member.integer(At.DATA_MEMBER_LOCATION) or 0, size)
        variants: list[tuple[int | None, Member]] = []
        for variant in self._dwarf.children(die, _VARIANT_TAGS):
            value = variant.values.get(At.DISCR_VALUE)
            if isinstance(value, bytes):
                value = int.from_bytes(value, "little")
            if isinstance(value, int) and discriminant is not None:
                value &= (1 << 8 * discriminant.size) - 1
            for member in self._dwarf.children(variant, _FIELD_TAGS):
                variants.append((value if isinstance(value, int) else None, _member(member)))
        return VariantPart(discriminant, tuple(variants))


def state_offset(coroutine: Type) -> int | None:
    """Where a coroutine's state byte is, in bytes from its begin; None when it is no coroutine."""
    part = coroutine.variant_part
    if part is None or part.discriminant is None or part.discriminant.name != STATE:
        return None
    return part.discriminant.offset if part.discriminant.size == 1 else None


def pinned_path(name: str) -> str | None:
    """The path of T, by the name of a type that is `Pin<&mut T>`; None of another one."""
    return name.removeprefix(_PIN).removesuffix(">") if name.startswith(_PIN) else None


def is_coroutine(type_: Type) -> bool:
    part = type_.variant_part
    return part is not None and part.discriminant is not None and part.discriminant.name == STATE


def _member(die: Die) -> Member:
    file, line = die.integer(At.DECL_FILE), die.integer(At.DECL_LINE)
    declared = (file, line) if file is not None and line else None
    return Member(die.name, die.integer(At.DATA_MEMBER_LOCATION) or 0, die.integer(At.TYPE), declared)
