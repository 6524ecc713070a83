"""Runs of short polls that are drawn as one slice each, as rows of TracePacket bytes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tracer.assemble.lookup import distinct
from tracer.model import Array, PollFlag
from tracer.output.descriptors import Descriptors
from tracer.output.histogram import Integers
from tracer.output.rows import RowFormat, Rows, Varint, field
from tracer.output.slices import BEGIN, SliceRows, event
from tracer.output.undrawn import sort_words
from tracer.terminal import printable


class MergedRows:
    """rows: of other slices, which end as these do.  sorts: by function."""

    def __init__(self, descriptors: Descriptors, rows: SliceRows, sorts: Integers) -> None:
        self._descriptors = descriptors
        self._rows = rows
        self._sorts = sorts
        self._names: dict[tuple[int, bool, int], int] = {}
        self._formats: dict[tuple[int, bool], RowFormat] = {}

    def begins(self, merged: Array, tracks: Integers) -> Iterator[tuple[Integers, Rows]]:
        """The beginnings of merged slices (as Selection has them): (indices into them, their rows), each index once."""
        sorts = self._sorts[merged["function"]]
        is_least = (merged["flags"] & int(PollFlag.INFERRED_END)) != 0
        kinds = sorts * 2 + is_least
        for kind in distinct(kinds)[0].tolist():
            chosen = np.flatnonzero(kinds == kind)
            yield chosen, self._of_sort(kind // 2, bool(kind % 2), merged.take(chosen), tracks[chosen])

    def _of_sort(self, sort: int, is_least: bool, merged: Array, tracks: Integers) -> Rows:
        counts, busy = merged["instance"].astype(np.int64), merged["parent"].astype(np.int64)
        spans = merged["end"] - merged["start"]
        share = np.rint(100 * busy / np.maximum(spans, 1)).astype(np.int64)
        digits = 10 ** np.maximum(np.floor(np.log10(np.maximum(counts, 1))).astype(np.int64) - 1, 0)
        rounded = counts // digits * digits
        keys = (rounded * 2 + (rounded != counts)) * 1024 + share
        found, inverse = np.unique(keys, return_inverse=True)
        names = np.array([self._name(sort, is_least, key) for key in found.tolist()])
        return self._format(sort, is_least).encode(
            len(merged), time=merged["start"], track=tracks, name=names[inverse], count=counts, busy=busy
        )

    def _format(self, sort: int, is_least: bool) -> RowFormat:
        known = self._formats.get((sort, is_least))
        if known is None:
            known = self._formats[sort, is_least] = event(
                BEGIN,
                field(3, self._descriptors.category("merged")),
                field(10, Varint("name", 4)),
                field(52, 1),  # one colour for all of them
                self._rows.number(sort_words(sort), "count"),
                self._rows.number(busy_words(is_least), "busy"),
            )
        return known

    def _name(self, sort: int, is_least: bool, key: int) -> int:
        iid = self._names.get((sort, is_least, key))
        if iid is None:
            words = _words(sort_words(sort), is_least, key)
            iid = self._names[sort, is_least, key] = self._descriptors.name(words)
        return iid


def busy_words(is_least: bool) -> str:
    """The argument of a merged slice that tells how long its polls took together; is_least: of some it is not known."""
    return "busy at the least (ns)" if is_least else "busy (ns)"


def _words(what: str, is_least: bool, key: int) -> str:
    """The name of a merged slice; its count is rounded so that there are few such names."""
    rest, share = divmod(key, 1024)
    count, is_rounded = divmod(rest, 2)
    return printable(
        f"{'≈' if is_rounded else ''}{count:,} short {what} merged, {'≥ ' if is_least else ''}{share} % busy"
    )
