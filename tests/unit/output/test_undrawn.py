"""What is not drawn: by one rule in all formats, and said by what it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.perfetto.simulation import QUERY, make_recording, many, simulate
from tracer.model import FunctionKind, PollFlag, Recording, Tally
from tracer.output.chrome import ChromeWriter
from tracer.output.perfetto import PerfettoWriter
from tracer.output.thinning import select
from tracer.output.undrawn import Undrawn, sorts_of

WRITERS = (PerfettoWriter, ChromeWriter)


def with_jobs() -> Recording:
    """One of its functions is a kind of job."""
    made = make_recording()
    functions = list(made.plan.functions)
    functions[QUERY] = replace(functions[QUERY], name="blocking job echo::zip", kind=FunctionKind.TASK, is_job=True)
    return replace(made, plan=replace(made.plan, functions=tuple(functions)))


@pytest.mark.parametrize("writer", WRITERS)
def test_what_may_be_longer_than_it_is_known_is_not_too_short(
    tmp_path: Path, writer: type[PerfettoWriter | ChromeWriter]
) -> None:
    spans = simulate()
    polls = spans.polls
    polls["flags"][:2] |= np.array([PollFlag.START_UNKNOWN, PollFlag.END_UNKNOWN], np.uint16)
    polls["end"][:2] = polls["end_latest"][:2] = polls["start"][:2] + 500
    blind = int(np.flatnonzero(polls["end"] - polls["start"] >= 100_000)[0])
    polls["end"][blind] = polls["start"][blind]
    short = np.count_nonzero(polls["end_latest"] - polls["start"] < 100_000) - 2
    trace = writer(tmp_path / "t", make_recording(), total_events=2 * len(polls), min_us=100)
    trace.spans(spans)
    written = trace.close(Tally(), None)
    assert written.omitted == short > 0
    assert f"{short} polls shorter than 100 µs are not drawn (--min-us)" in written.remarks


def test_merged_jobs_are_no_polls() -> None:
    sorts = sorts_of(with_jobs().plan.functions)
    spans = many(600, nested=1, tasks=20)
    spans.polls["function"] = np.where(np.arange(len(spans.polls)) // 40 % 2, QUERY, QUERY + 1)
    undrawn = Undrawn(sorts, 0)
    chosen = select(spans.polls, spans.waits, 100, sorts)
    undrawn.add(spans.polls, chosen)
    of_jobs = chosen.merged["function"] == QUERY
    polls, jobs = (int(chosen.merged["instance"][which].sum()) for which in (~of_jobs, of_jobs))
    assert polls
    assert jobs
    assert undrawn.merged == polls + jobs
    merged, left_out = undrawn.remarks()
    assert merged == (
        f"{polls} short polls and {jobs} short blocking jobs are drawn as {len(chosen.merged)} merged slices,"
        " to keep the trace openable (--max-slices)"
    )
    drawn = chosen.polls | chosen.singles
    is_job = spans.polls["function"] == QUERY
    counts = [np.count_nonzero(~drawn & which) for which in (~is_job, is_job)]
    words = f"{counts[0] - polls} short polls, {counts[1] - jobs} short blocking jobs and "
    words += f"{np.count_nonzero(~chosen.waits)} short waits"
    assert left_out == f"{words} are not drawn, to keep the trace openable (--max-slices)"
    assert undrawn.omitted == sum(counts) - polls - jobs + np.count_nonzero(~chosen.waits)


def test_jobs_that_are_too_short_are_no_polls() -> None:
    spans = many(100, nested=1, tasks=20)
    spans.polls["function"] = np.where(np.arange(100) < 30, QUERY, QUERY + 1)
    undrawn = Undrawn(sorts_of(with_jobs().plan.functions), 1e6)
    assert not len(undrawn.long_enough(spans.polls))
    assert undrawn.omitted == 100
    assert undrawn.remarks() == ["70 polls and 30 blocking jobs shorter than 1e+06 µs are not drawn (--min-us)"]
