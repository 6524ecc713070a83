"""The summary's figures against the spans they are made of, and how it looks."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from tests.perfetto.simulation import (
    PID,
    QUERY,
    ROW,
    START,
    TASK,
    blocks,
    make_recording,
    make_threads,
    many,
    simulate,
    without_exits,
)
from tracer.model import (
    IN_PART,
    INLINED,
    OFF_CPU,
    PARKED,
    POLL,
    WAIT,
    AwaitPoint,
    Binary,
    CaptureEnd,
    ExitMode,
    FunctionKind,
    Group,
    Loss,
    MemoryReading,
    OffCpuFlag,
    PlanChange,
    PollFlag,
    PollFunction,
    ProcessEnd,
    Recording,
    Refusal,
    Source,
    Spans,
    Tally,
    WaitFlag,
)
from tracer.output.accounts import Accounts
from tracer.output.awaits import layout_remarks
from tracer.output.histogram import PERCENTILE_ERROR
from tracer.output.labels import not_probed_words, short_name
from tracer.output.printed_list import print_functions
from tracer.output.printed_summary import _print_waits
from tracer.output.summary import Summary


def summed(spans: Spans, pieces: int = 3, recording: Recording | None = None) -> Summary:
    summary = Summary(recording or make_recording(duration="5"))
    summary.threads(make_threads())
    for block in blocks(spans, pieces):
        summary.spans(block)
    polls = spans.polls
    tally = Tally(2 * len(polls) + 3, len(polls), len(spans.waits), len(np.unique(polls["instance"])), 3, 2, 1, 4)
    summary.close(tally, CaptureEnd(START + 5_000_000_000, "5 s are over", 2 * len(polls), 0, 0.031))
    return summary


def test_figures() -> None:
    spans = many(60_000, churn=7)
    document = summed(spans, 9).as_json()
    json.dumps(document)
    polls, waits = spans.polls, spans.waits
    functions = make_recording().plan.functions
    for row in document["functions"]:
        index = [one.name for one in functions].index(row["function"])
        mine, my_waits = polls[polls["function"] == index], waits[waits["function"] == index]
        length = mine["end"] - mine["start"]
        assert row["polls"] == len(mine)
        assert row["busy"] == int(length.sum())
        assert row["longest"] == int(length.max())
        assert row["instances"] == len(np.unique(mine["instance"]))
        assert row["waits"] == len(my_waits)
        assert row["waiting"] == int((my_waits["end"] - my_waits["start"]).sum())
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            exact = int(np.sort(length)[int(np.ceil(share * len(length))) - 1])
            assert row[name] == pytest.approx(exact, rel=PERCENTILE_ERROR + 0.001)
    assert PERCENTILE_ERROR < 0.06
    awaits = {(row["function"], row["state"]): row for row in document["waits_by_await"]}
    for function in functions:
        for point in function.awaits:
            if (row := awaits.get((function.name, point.state))) is not None:
                assert (row["file"], row["line"]) == (
                    (point.location.file, point.location.line) if point.location else (None, None)
                )
                assert row["awaitee"] == point.awaitee
                assert row["macro"] == ({"file": "select.rs", "line": 7} if point.macro else None)
                assert (row["function_file"], row["function_line"]) == ("src/db.rs", 77)
    assert any(row["file"] is None and row["function"] == "echo::conn::handle" for row in awaits.values())
    assert sum(row["waits"] for row in document["waits_by_await"]) == len(waits)
    assert [row["busy"] for row in document["functions"]] == sorted(
        (r["busy"] for r in document["functions"]), reverse=True
    )
    assert document["seconds"] == 5.0


def test_tasks_by_kind() -> None:
    spans = many(60_000, churn=7)
    document = summed(spans, 9).as_json()
    (kind,) = document["task_kinds"]
    polls = spans.polls[spans.polls["function"] == 0]
    length = polls["end"] - polls["start"]
    assert document["tasks"] == kind["tasks"] == len(np.unique(polls["instance"]))
    assert (kind["polls"], kind["busy"], kind["longest"]) == (len(polls), int(length.sum()), int(length.max()))
    assert (kind["unidentified"], sum(kind["outcomes"].values())) == (0, kind["tasks"])
    assert kind["outcomes"]["finished"] > kind["outcomes"]["waiting"] > 0


def test_tasks_without_ids_are_said_to_be() -> None:
    spans = simulate()
    spans.over["id"] = 0
    assert "tasks of unknown are told apart by their addresses" in " ".join(rendered(summed(spans)).split())
    assert "told apart" not in rendered(summed(simulate()))


def test_blocks_do_not_matter() -> None:
    spans = simulate(0.5, tasks=30)
    assert summed(spans, 1).as_json() == summed(spans, 50).as_json()


def test_the_longest_polls_are_the_innermost() -> None:
    """A poll of a nest is shown once, by the future that took the time."""
    spans = simulate(0.5, tasks=30)
    slow = np.flatnonzero(spans.polls["function"] == QUERY)[20]
    nest = spans.polls[slow]
    spans.polls["end"][slow + 1 : slow + 3] += 50_000_000
    spans.polls["end"][slow] += 50_000_000
    order = np.argsort(spans.polls["end"], kind="stable")
    longest = summed(Spans(spans.polls[order], spans.waits)).as_json()["longest_polls"]
    assert longest[0]["function"] == "echo::db::query"
    assert (longest[0]["file"], longest[0]["line"]) == ("src/db.rs", 77)
    assert longest[0]["duration"] == int(nest["end"] - nest["start"])
    assert longest[0]["thread"].startswith("tokio-worker-")
    assert [row["duration"] > 40_000_000 for row in longest[:2]] == [True, False]


def test_a_bound_is_no_length() -> None:
    spans = simulate()
    longest = int(np.argmax(spans.polls["end"] - spans.polls["start"]))
    spans.polls["flags"][longest] |= int(PollFlag.END_UNKNOWN)
    spans.polls["depth"][longest] = 60
    row = summed(spans).as_json()["longest_polls"][0]
    assert row["note"] == "end not seen"  # it may have gone on, or have ended: the probes were gone, or events lost


def test_no_functions_and_nothing_seen() -> None:
    recording = replace(make_recording(), plan=replace(make_recording().plan, functions=(), refusals=()))
    summary = Summary(recording)
    summary.close(Tally(), None)
    assert summary.as_json()["complete"] is False
    assert "0 polls" in rendered(summary)
    assert Accounts([]).by_await.by_await() == []


def test_a_wait_that_may_span_two_futures_is_not_added_up() -> None:
    waits = np.zeros(4, WAIT)
    waits["end"], waits["function"] = 1000, [0, 0, 1, 1]
    waits["flags"] = [0, WaitFlag.AMBIGUOUS, WaitFlag.AMBIGUOUS, 0]
    accounts = Accounts([False, True])
    accounts.add(np.empty(0, POLL), waits)
    assert accounts.waits.tolist() == [1, 2]  # a task's header is taken for one task
    assert accounts.waiting.tolist() == [1000, 2000]
    assert accounts.uncertain_waits == 1


def rendered(summary: Summary, width: int = 100) -> str:
    text = io.StringIO()
    summary.print(Console(file=text, width=width, no_color=True, highlight=False))
    return text.getvalue()


@pytest.mark.parametrize(
    ("active", "words"),
    [
        (set(Group), "(12,000/s)"),
        (set(Group) - {Group.FUTURES}, "(≥ 12,000/s)"),
        (set(), "(≥ 12,000/s; tasks probed in 20.0% of the time)"),
    ],
)
def test_a_rate_is_at_least_that_where_not_all_was_probed(active: set[Group], words: str) -> None:
    """From the first of five seconds on only these were."""
    summary = Summary(make_recording(duration="5"))
    summary.spans(many(60_000, churn=7))
    if active != set(Group):
        summary.plan_change(PlanChange(START + 1_000_000_000, frozenset(active), "too dear"))
    summary.close(Tally(120_000, 60_000), CaptureEnd(START + 5_000_000_000, "5 s are over", 1, 0))
    header = rendered(summary, 200).splitlines()[0]
    assert f"· 60,000 polls {words} ·" in header


@pytest.mark.parametrize("every", [1, 2])
def test_of_how_many_polls_it_is_known_what_their_threads_did(every: int) -> None:
    """Said where it is not of nearly all of them: the parts do not come to the whole then."""
    recording, spans = make_recording(), simulate()
    is_task = np.array([one.kind is FunctionKind.TASK for one in recording.plan.functions])
    of_tasks = np.flatnonzero(is_task[spans.polls["function"]])
    spans.polls["flags"][of_tasks[::every]] |= int(PollFlag.SCHEDULED)
    summary = Summary(replace(recording, plan=replace(recording.plan, scheduling=True)))
    summary.spans(spans)
    summary.close(Tally(), CaptureEnd(START + 5_000_000_000, "", 0, 0))
    document = summary.as_json()
    known = sum(one["scheduled"]["polls"] for one in document["task_kinds"] if one["scheduled"])
    polls = sum(one["polls"] for one in document["task_kinds"])
    (line,) = (line for line in rendered(summary, 300).splitlines() if line.startswith("busy: "))
    assert line.endswith(" blocked" if every == 1 else f" blocked (told of {known:,} of {polls:,} polls)")


def test_what_threads_were_blocked_in_is_a_part_of_its_own_sum() -> None:
    """Polls of no task are in it, which are not in how busy tasks were."""
    recording, spans = make_recording(), simulate()
    off = np.zeros(3, OFF_CPU)
    off["start"], off["end"] = START, START + np.array([1_000_000, 2_000_000, 4_000_000])
    off["flags"], off["state"], off["syscall"] = OffCpuFlag.IN_POLL, 1, [202, 202, 232]
    spans.polls["flags"] |= int(PollFlag.SCHEDULED)
    summary = Summary(replace(recording, plan=replace(recording.plan, scheduling=True)))
    summary.spans(replace(spans, off_cpu=off))
    summary.close(Tally(), CaptureEnd(START + 5_000_000_000, "", 0, 0))
    text = " ".join(rendered(summary, 300).split())
    assert "0 ns blocked blocked in polls, those outside of tasks included: 7.00 ms (epoll_wait 4.00 ms," in text


def test_one_screen() -> None:
    """It fits, says what was missed, and lets no control character of the target through."""
    recording = make_recording()
    evil = replace(recording.plan.functions[QUERY], name="echo::\x1b[2Jquery[red]")
    functions = (*recording.plan.functions[:QUERY], evil, *recording.plan.functions[QUERY + 1 :])
    summary = summed(simulate(), recording=replace(recording, plan=replace(recording.plan, functions=functions)))
    summary.plan_change(PlanChange(START + 1_500_000_000, frozenset({Group.TASKS}), "probes took 7.1 %"))
    summary.loss(Loss(1, 53, None, None))
    summary.process_end(ProcessEnd(START + 5_000_000_000, PID, "it exited with status 0"))
    text = rendered(summary)
    assert len(text.splitlines()) <= 50
    assert max(len(line) for line in text.splitlines()) <= 100
    assert "\x1b" not in text
    assert "\\x1b[2Jquery[red]" in text
    for words in (
        "echo-server (4242)",
        "most polling time",
        "longest polls",
        "most waiting",
        "await #1",
        "Mutex::lock",
        "echo/src/db.rs:80",
        "(function)",
        "53 lost",
        "3 exits without an entry",
        "2 polls unwound",
        "from 1.50 s probed: tasks only (probes took 7.1 %)",
        "not probed, to keep the cost down: ",
        "for 70.0% of the time; ",
        "process 4242: it exited with status 0",
        "overhead: the probes took about 3.1% of the target's CPU time",
        "not probed 3 (2: exists only inlined into its callers",
    ):
        assert words in " ".join(text.split())
    for width in (60, 80, 100):  # a narrow terminal has fewer columns, but no figure is cut
        lines = rendered(summary, width).splitlines()
        assert max(map(len, lines)) <= width
        assert not [line for line in lines if re.search(r" [\d.,]+…", line)]


@pytest.mark.parametrize(
    ("allowed", "of_target", "of_processor", "quota", "words"),
    [
        (0.05, 0.03, None, None, "3.0% of the target's CPU time (allowed: 5 %)"),
        (0.05, 0.03, 0.02, None, "3.0% of the target's CPU time, 2.00% of one processor (allowed: 5 % of either)"),
        (0.05, 0.4, 0.011, 4.0, "1.10% of one processor (allowed: 5 %), 40.0% of what the target used"),
        (0.05, 0.08, 0.07, None, "8.0% of the target's CPU time, 7.00% of one processor (allowed: 5 % of either)"),
        (0.05, 0.4, 0.01, 0.25, "4.00% of the 0.25 processors that it may use (allowed: 5 %), 40.0% of what the"),
        (0.005, 0.4, 0.0048, None, "0.48% of one processor (allowed: 0.5 %), 40.0% of what the target used"),
    ],
)
def test_the_overhead_is_told_by_the_share_that_holds_it(
    allowed: float, of_target: float, of_processor: float | None, quota: float | None, words: str
) -> None:
    summary = summed(many(2000))
    summary.recording = replace(summary.recording, max_overhead=allowed, cpu_quota=quota)
    summary.end = CaptureEnd(START + 1, "over", 0, 0, of_target, of_processor)
    assert f"overhead: the probes took about {words}" in " ".join(rendered(summary).split())


@pytest.mark.parametrize(("allowed", "words"), [(0.005, "0.5 %"), (0.0005, "0.05 %"), (100.0, "10000 %")])
def test_what_is_allowed_is_told_as_it_was_asked(allowed: float, words: str) -> None:
    summary = summed(many(20), recording=replace(make_recording(), max_overhead=allowed))
    assert f"(allowed: {words})" in " ".join(rendered(summary).split())


def test_tasks_that_were_probed_in_windows_only() -> None:
    """Their figures are of a part, which is said below them; all of a list that has no end is not."""
    summary = summed(many(2000))
    others = frozenset(Group) - {Group.TASKS}
    summary.plan_change(PlanChange(START + 1_000_000_000, others, "9 %"))
    summary.plan_change(PlanChange(START + 4_000_000_000, frozenset(Group), "2 %"))
    assert summary.as_json()["tasks_probed"] == pytest.approx(0.4)
    text = rendered(summary)
    assert "tasks were probed in 40.0% of the time only: their figures are of that part" in text
    for number in range(100):
        summary.process_end(ProcessEnd(START + number, 1000 + number, "it exited"))
    text = rendered(summary)
    assert text.count("it exited") == 16
    assert "84 more of these: see --json" in text


def test_what_was_probed_by_its_entries_only() -> None:
    """A function that is not probed at all is not among them, nor one that nobody knows."""
    functions = make_recording().plan.functions
    summary = summed(simulate())
    blind = frozenset({QUERY, len(functions)})
    summary.plan_change(PlanChange(START + 1_000_000_000, frozenset(Group), "7 %", frozenset(), blind))
    summary.plan_change(PlanChange(START + 1_500_000_000, frozenset(Group), "9 %", frozenset({QUERY}), frozenset()))
    summary.plan_change(PlanChange(START + 2_500_000_000, frozenset(Group), "3 %", frozenset({QUERY}), blind))
    summary.plan_change(PlanChange(START + 4_500_000_000, frozenset(Group), "2 %"))
    document = summary.as_json()
    (row,) = document["exits_not_always_probed"]
    assert (row["function"], row["entries_only"]) == (functions[QUERY].name, 500_000_000)
    assert [row["not_probed"] for row in document["not_always_probed"]] == [3_000_000_000]
    words = "probed without their exits (how long polls took in that time is not known), to keep the cost down: "
    assert f"{words}{short_name(functions[QUERY])} for 10.0% of the time" in " ".join(rendered(summary).split())


@pytest.mark.parametrize("flag", [PollFlag.START_UNKNOWN, PollFlag.END_UNKNOWN])
def test_a_poll_that_was_cut_is_at_least_as_long_as_it_was_seen(flag: PollFlag) -> None:
    """The recording ended, or the probes of its function went, in the middle of it."""
    spans, name = simulate(), make_recording().plan.functions[QUERY].name
    mine = np.flatnonzero(spans.polls["function"] == QUERY)
    cut, whole, length = mine[::3], np.setdiff1d(mine, mine[::3]), spans.polls["end"] - spans.polls["start"]
    spans.polls["flags"][cut] |= int(flag)
    summary = summed(spans)
    (row,) = [one for one in summary.as_json()["functions"] if one["function"] == name]
    assert (row["polls"], row["timed"], row["cut"]) == (len(mine), len(whole), len(cut))
    assert (row["busy"], row["longest"]) == (int(length[mine].sum()), int(length[mine].max()))
    assert row["mean"] == int(length[whole].sum()) // len(whole)
    for key, share in (("p50", 0.5), ("p99", 0.99)):
        assert row[key] == pytest.approx(np.quantile(length[whole], share, method="inverted_cdf"), rel=0.06)
    (line,) = re.findall(
        rf"^{re.escape(short_name(make_recording().plan.functions[QUERY]))} +{len(mine):,} .*$",
        rendered(summary),
        re.MULTILINE,
    )
    assert line.count("≥") == 2
    assert f"≥: {len(cut):,} polls under way as probes came or went" in rendered(summary)
    assert "exits were not seen" not in rendered(summary)


def test_of_polls_that_were_all_cut_there_is_no_mean() -> None:
    spans = simulate()
    mine = spans.polls["function"] == TASK
    spans.polls["flags"][mine] |= int(PollFlag.END_UNKNOWN)
    summary = summed(spans)
    document = summary.as_json()
    (row,) = [one for one in document["functions"] if one["kind"] == "task"]
    assert (row["timed"], row["mean"], row["p50"], row["p99"]) == (0, None, None, None)
    assert row["busy"] == int((spans.polls["end"] - spans.polls["start"])[mine].sum())
    assert [kind["timed"] for kind in document["task_kinds"]] == [0]
    name = short_name(make_recording().plan.functions[TASK])
    assert re.search(rf"^{re.escape(name)} .* ≥ [^?]+ +\? +\? +≥ ", rendered(summary), re.MULTILINE)
    kind = name.removeprefix("task ")
    assert re.search(rf"^{re.escape(kind)} .* ≥ .*$", rendered(summary).split("tasks by kind")[1], re.MULTILINE)


def test_how_long_polls_took_is_not_known_without_their_exits() -> None:
    spans = simulate()
    recording = make_recording()
    plan, count = (
        replace(recording.plan, exit_mode=ExitMode.TASK),
        int(np.count_nonzero(spans.polls["function"] == ROW)),
    )
    spans = without_exits(spans, spans.polls["function"] == ROW)
    summary = summed(spans, recording=replace(recording, plan=plan))
    (row,) = [one for one in summary.as_json()["functions"] if one["function"] == plan.functions[ROW].name]
    assert (row["polls"], row["timed"]) == (count, 0)
    assert {row[key] for key in ("busy", "mean", "p50", "p99", "longest")} == {None}
    text, name = rendered(summary), short_name(plan.functions[ROW])
    assert re.search(rf"^{re.escape(name)} +{count} +\d+ +\? +\? +\? +\? ", text, re.MULTILINE)
    words = (
        f"exits were not seen of all polls (--exits task): how long they took is known of 0 of {count} polls of {name}"
    )
    assert f"{words}; the time of the others is in that of what polled them" in " ".join(text.split())


def test_figures_are_of_the_polls_of_which_they_are_known() -> None:
    """Those whose ends are uncertain by no more than a 16th of their length are among them."""
    spans, plan = simulate(), make_recording().plan
    of_row = spans.polls["function"] == ROW
    is_blind = of_row & (np.cumsum(of_row) % 2 == 0)
    known = spans.polls[of_row & ~is_blind]
    spans.polls["end_latest"][of_row & ~is_blind] += (known["end"] - known["start"]) // 16
    summary = summed(without_exits(spans, is_blind))
    length, polls = known["end"] - known["start"], int(np.count_nonzero(of_row))
    (row,) = [one for one in summary.as_json()["functions"] if one["function"] == plan.functions[ROW].name]
    assert (row["polls"], row["timed"], row["busy"]) == (polls, len(known), int(length.sum()))
    assert (row["mean"], row["longest"]) == (int(length.sum()) // len(known), int(length.max()))
    assert row["p50"] >= int(length.min()) > 0
    text, name = rendered(summary), short_name(plan.functions[ROW])
    (line,) = re.findall(rf"^{re.escape(name)} +{polls} .*$", text, re.MULTILINE)
    assert line.count("≥") == 2
    assert f"is known of {len(known)} of {polls} polls of {name};" in " ".join(text.split())


def test_whose_memory_was_read_is_said_of_several_processes() -> None:
    made = make_recording()
    (one,) = made.processes
    other = replace(one, pid=one.pid + 1, name="other")
    for processes, words in (
        ((one,), "1 task in 5.00 µs; at the begin 0 tasks in 7.00 µs"),
        ((one, other), f"1 task of {one.name} ({one.pid}) in 5.00 µs; at the begin 0 tasks of other ({other.pid}) in"),
    ):
        summary = Summary(replace(made, processes=processes))
        for index, (tasks, duration) in enumerate(((1, 5_000), (0, 7_000))):
            process = min(index, len(processes) - 1)
            summary.memory_reading(
                MemoryReading(START, duration, process, is_last=False, tasks=tasks, parked=np.empty(0, PARKED))
            )
        summary.close(Tally(), None)
        assert f"memory read, without probes: at the begin {words}" in " ".join(rendered(summary, 200).split())


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    plan = make_recording().plan
    print_functions(plan)
    text = capsys.readouterr().out
    for name in [one.name for one in plan.functions] + [one.name for one in plan.refusals]:
        assert name in text
    assert "its first instruction cannot be probed" in text
    assert "6 functions can be probed, 3 not" in text
    in_part = Refusal("echo::frame::read", IN_PART)
    plan = replace(make_recording().plan, refusals=(*make_recording().plan.refusals, in_part))
    assert not_probed_words(plan) == ", 3 not, 1 in part"
    assert [one.name for one in plan.seen_in_part] == ["echo::frame::read"]
    assert len(plan.unseen) == 3
    print_functions(plan, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert [one["function"] for one in document["probed"]] == [one.name for one in plan.functions]
    assert document["not_probed"][0]["reason"] == "exists only inlined into its callers"
    assert "PollFn" not in text
    (query,) = [one for one in document["probed"] if one["function"] == "echo::db::query"]
    assert [(one["await"], one["line"], one["awaitee"] is None) for one in query["awaits"]] == [
        ("await #1", 80, False),
        ("await #2", None, False),
        ("await #3", 84, True),
    ]
    assert query["awaits"][1]["macro"] == {"file": "select.rs", "line": 7}


def test_what_code_tells_of_awaits_is_said_as_it_is() -> None:
    """By number where no line is known; else without what a twin tells beyond lines."""
    made = make_recording().plan
    query = next(index for index, one in enumerate(made.functions) if one.name == "echo::db::query")
    by_code = replace(made.functions[query], layout_source=Source.CODE)
    nowhere = replace(by_code, awaits=(AwaitPoint(3, None, "echo::Reply"),))
    without = replace(by_code, awaits=())

    def said(function: PollFunction, symbols: str, refusals: tuple[Refusal, ...] = ()) -> str:
        functions = (*made.functions[:query], function, *made.functions[query + 1 :])
        binary = Binary("echo", None, "x86_64", 1, symbols, True, ())
        plan = replace(made, functions=functions, binaries=(binary,), function_binary=(0,) * len(functions))
        plan = replace(plan, refusals=refusals)
        (remark,) = layout_remarks(plan)
        return remark

    for function, symbols in ((by_code, "line tables"), (without, "line tables"), (by_code, "symbol table")):
        assert "by number" not in said(function, symbols)
        assert "the lines" not in said(function, symbols)
    for function, symbols in ((nowhere, "line tables"), (nowhere, "symbol table"), (without, "symbol table")):
        assert "mostly by number; --symbols TWIN tells the lines" in said(function, symbols)
    inlined = tuple(Refusal(f"echo::{name}", INLINED) for name in ("a", "b"))
    assert "and those that the compiler inlined; --symbols TWIN" in said(by_code, "line tables")
    assert "and those that the compiler inlined (2 are known); --symbols TWIN" in said(by_code, "line tables", inlined)


def test_the_list_with_awaits(capsys: pytest.CaptureFixture[str]) -> None:
    print_functions(make_recording().plan, with_awaits=True)
    lines = capsys.readouterr().out.splitlines()
    for words in (
        ("echo::db::query", "async fn or block", "3", "src/db.rs:77"),
        ("db::query await #1", "Mutex::lock", "/srv/echo/src/db.rs:80"),
        ("db::query await #2", "PollFn<db::query {closure 0}>", "in the macro at select.rs:7"),
    ):
        assert any(all(word in line for word in words) for line in lines), words


def test_two_awaits_of_one_line_are_told_apart_and_what_is_cut_is_at_least_so_long() -> None:
    row = {
        "function": "app::step", "kind": "coroutine", "awaitee": "Sleep", "where": "src/a.rs:7",
        "task_kinds": [], "waiting": 8_000_000, "p50": 1_000_000, "p99": 2_000_000, "longest": 3_000_000,
    }  # fmt: skip
    rows = [
        row | {"state": 3, "await": "await #1", "waits": 100, "cut": 1, "longest_is_cut": True},
        row | {"state": 4, "await": "await #2", "waits": 100},  # as earlier versions had it
    ]
    text = io.StringIO()
    _print_waits({"waits_by_await": rows, "uncertain_waits": 0}, Console(file=text, width=200, no_color=True))
    _, _, first, second, *_ = text.getvalue().splitlines()
    assert "Sleep (await #1)" in first
    assert "Sleep (await #2)" in second
    assert re.findall(r"(?:≥ )?[\d.]+ ms", first) == ["8.00 ms", "1.00 ms", "≥ 2.00 ms", "≥ 3.00 ms"]
    assert "≥" not in second


def test_what_was_never_polled_is_one_of_its_function() -> None:
    spans = many(3_000, churn=7)
    before = summed(spans).as_json()
    unpolled = spans.waits[:2].copy()
    unpolled["flags"], unpolled["function"] = WaitFlag.START_UNKNOWN | WaitFlag.END_UNKNOWN, 1
    unpolled["instance"] = int(spans.polls["instance"].max()) + 1 + np.arange(2)
    document = summed(replace(spans, waits=np.concatenate([spans.waits, unpolled]))).as_json()
    counts = [sum(row["instances"] for row in one["functions"]) for one in (before, document)]
    assert counts == [before["instances"], document["instances"]]
    assert counts[1] == counts[0] + 2


def test_how_many_futures_is_a_bound_where_one_may_have_followed_another_at_its_address() -> None:
    spans = many(3_000, churn=7)
    mine = np.flatnonzero(spans.waits["function"] == 1)[:5]
    spans.waits["flags"][mine] |= int(WaitFlag.AMBIGUOUS)
    spans.waits["flags"][mine[0]] |= int(WaitFlag.END_UNKNOWN)  # nothing was polled behind it
    recording = make_recording(duration="5")
    sure = summed(spans, recording=recording)
    name = recording.plan.functions[1].name
    (row,) = (one for one in sure.as_json()["functions"] if one["function"] == name)
    assert row["more_instances"] == 4
    assert f"≥ {row['instances']:,}" in rendered(sure)
    functions = list(recording.plan.functions)
    functions[1] = replace(functions[1], name="tokio::future::maybe_done::MaybeDone<app::query>")
    recording = replace(recording, plan=replace(recording.plan, functions=tuple(functions)))
    document = summed(spans, recording=recording).as_json()
    (again,) = (one for one in document["functions"] if one["function"] == functions[1].name)
    assert (again["instances"], again["more_instances"]) == (None, None)
    assert document["instances"] == sure.as_json()["instances"] - row["instances"]
