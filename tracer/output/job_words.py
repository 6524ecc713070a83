"""What the table of blocking jobs cannot tell of some of them, in words."""

from __future__ import annotations

from collections.abc import Sequence

from tracer.output.labels import duration_words
from tracer.output.tables import Document, some


def time_in_all(job: Document) -> int | None:
    """ns that the jobs of one function ran, as far as that was seen; None: none ran."""
    known = [one["total"] for one in (job["ran"], job.get("partial")) if one]
    return sum(known) if known else None


def left_out(jobs: Sequence[Document], inside: int) -> list[str]:
    """Which are in some of the figures only; recordings by earlier versions do not say.

    inside: polls of what jobs block on.
    """
    words = []
    if inside:
        were, they = ("was", "it is") if inside == 1 else ("were", "they are")
        words.append(f"inside of jobs there {were} {some(inside, 'poll')}: {they} in the trace, and in no other table")
    partial = [one["partial"] for one in jobs if one.get("partial")]
    if partial:
        count, total = (sum(one[key] for one in partial) for key in ("jobs", "total"))
        words.append(
            f"of {some(count, 'job')} the begin or the end was not seen: {duration_words(total)} of that were seen,"
            " and are in the time in all only"
        )
    unseen = sum(one["jobs"] - (one["queued"]["jobs"] if one["queued"] else 0) for one in jobs)
    if unseen:
        words.append(f"of {some(unseen, 'job')} the spawn was not seen: the time in the queue is not known")
    return words
