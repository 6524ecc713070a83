"""Runs of short polls that are drawn as one slice each, as rows of TracePacket bytes."""

from __future__ import annotations

import numpy as np

from tracer.output.descriptors import Descriptors
from tracer.output.histogram import Integers
from tracer.output.rows import Rows, Varint, field
from tracer.output.slices import BEGIN, SliceRows, event
from tracer.terminal import printable


class MergedRows:
    """rows: of other slices, which end as these do."""

    def __init__(self, descriptors: Descriptors, rows: SliceRows) -> None:
        self._descriptors = descriptors
        self._names: dict[int, int] = {}
        self._format = event(
            BEGIN,
            field(3, descriptors.category("merged")),
            field(10, Varint("name", 4)),
            field(52, 1),  # one colour for all of them
            rows.number("polls", "count"),
            rows.number("busy (ns)", "busy"),
        )

    def begins(self, starts: Integers, tracks: Integers, counts: Integers, busy: Integers, spans: Integers) -> Rows:
        """The beginnings of merged slices.  busy, spans: ns of polling, and from first start to last end."""
        share = np.rint(100 * busy / np.maximum(spans, 1)).astype(np.int64)
        digits = 10 ** np.maximum(np.floor(np.log10(np.maximum(counts, 1))).astype(np.int64) - 1, 0)
        rounded = counts // digits * digits
        keys = (rounded * 2 + (rounded != counts)) * 1024 + share
        found, inverse = np.unique(keys, return_inverse=True)
        names = np.array([self._name(key) for key in found.tolist()] or [0])
        return self._format.encode(len(starts), time=starts, track=tracks, name=names[inverse], count=counts, busy=busy)

    def _name(self, key: int) -> int:
        iid = self._names.get(key)
        if iid is None:
            iid = self._names[key] = self._descriptors.name(_words(key))
        return iid


def _words(key: int) -> str:
    """The name of a merged slice; its count is rounded so that there are few such names."""
    rest, share = divmod(key, 1024)
    count, is_rounded = divmod(rest, 2)
    return printable(f"{'≈' if is_rounded else ''}{count:,} short polls merged, {share} % busy")
