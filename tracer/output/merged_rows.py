"""Runs of short polls that are drawn as one slice each, as rows of TracePacket bytes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tracer.model import Array
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
        self._names: dict[tuple[int, int], int] = {}
        self._formats: dict[int, RowFormat] = {}

    def begins(self, merged: Array, tracks: Integers) -> Iterator[tuple[Integers, Rows]]:
        """The beginnings of merged slices (as Selection has them): (indices into them, their rows), each index once."""
        sorts = self._sorts[merged["function"]]
        for sort in np.unique(sorts).tolist():
            chosen = np.flatnonzero(sorts == sort)
            yield chosen, self._of_sort(sort, merged.take(chosen), tracks[chosen])

    def _of_sort(self, sort: int, merged: Array, tracks: Integers) -> Rows:
        counts, busy = merged["instance"].astype(np.int64), merged["parent"].astype(np.int64)
        spans = merged["end"] - merged["start"]
        share = np.rint(100 * busy / np.maximum(spans, 1)).astype(np.int64)
        digits = 10 ** np.maximum(np.floor(np.log10(np.maximum(counts, 1))).astype(np.int64) - 1, 0)
        rounded = counts // digits * digits
        keys = (rounded * 2 + (rounded != counts)) * 1024 + share
        found, inverse = np.unique(keys, return_inverse=True)
        names = np.array([self._name(sort, key) for key in found.tolist()])
        return self._format(sort).encode(
            len(merged), time=merged["start"], track=tracks, name=names[inverse], count=counts, busy=busy
        )

    def _format(self, sort: int) -> RowFormat:
        known = self._formats.get(sort)
        if known is None:
            known = self._formats[sort] = event(
                BEGIN,
                field(3, self._descriptors.category("merged")),
                field(10, Varint("name", 4)),
                field(52, 1),  # one colour for all of them
                self._rows.number(sort_words(sort), "count"),
                self._rows.number("busy (ns)", "busy"),
            )
        return known

    def _name(self, sort: int, key: int) -> int:
        iid = self._names.get((sort, key))
        if iid is None:
            iid = self._names[sort, key] = self._descriptors.name(_words(sort_words(sort), key))
        return iid


def _words(what: str, key: int) -> str:
    """The name of a merged slice; its count is rounded so that there are few such names."""
    rest, share = divmod(key, 1024)
    count, is_rounded = divmod(rest, 2)
    return printable(f"{'≈' if is_rounded else ''}{count:,} short {what} merged, {share} % busy")
