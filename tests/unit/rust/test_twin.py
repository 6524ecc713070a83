"""Layouts and lines from a twin: what is taken over is right, and another program, or another line, is refused."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.running import Targets
from tracer.errors import ExitCode, TwinRefused
from tracer.model import Binary, FunctionKind, PollFunction, Source
from tracer.rust import read_binary
from tracer.rust.returns import next_emulated
from tracer.rust.twin import BUILD_TWIN, with_twin
from tracer.target.elf import open_elf

SOURCE = Path(__file__).parent / "twin_sample.rs"

Build = Callable[..., Path]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Compiles the sample, with pieces of its text replaced, as cargo's release profile does."""

    def one(*changes: tuple[str, str], debug: int = 2) -> Path:
        text = SOURCE.read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        folder = tmp_path_factory.mktemp("twin")
        (folder / "sample.rs").write_text(text)
        command = ["rustc", "--edition", "2021", "-Copt-level=3", f"-Cdebuginfo={debug}", "sample.rs"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
        return folder / "sample"

    return one


@pytest.fixture(scope="module")
def running(build: Build) -> Path:
    return build(debug=0)


@pytest.fixture(scope="module")
def twin(build: Build) -> Path:
    return build()


def read(path: Path) -> Binary:
    with open_elf(path) as image:
        return read_binary(image, display_path=str(path))


def joined(running: Path, twin: Path, **changes: str) -> Binary:
    with open_elf(running) as image, open_elf(twin) as twin_image:
        binary = replace(read_binary(image, display_path="deployed"), **changes)  # type: ignore[arg-type]
        return with_twin(binary, image, read_binary(twin_image, display_path="twin"), twin_image)


def coroutines(binary: Binary) -> dict[str, PollFunction]:
    return {one.name: one for one in binary.functions if one.kind is FunctionKind.COROUTINE}


def refusal(running: Path, twin: Path, **changes: str) -> TwinRefused:
    with pytest.raises(TwinRefused) as caught:
        joined(running, twin, **changes)
    assert caught.value.code is ExitCode.TWIN_REFUSED
    return caught.value


def test_a_twin_tells_what_debug_information_would(running: Path, twin: Path) -> None:
    alone, both, described = coroutines(read(running)), coroutines(joined(running, twin)), coroutines(read(twin))
    assert both.keys() == alone.keys() == {"sample::first", "sample::second", "sample::last"}
    for name, function in both.items():
        truth, own = described[name], alone[name]
        assert [(one.state, one.awaitee) for one in function.awaits] == [
            (one.state, one.awaitee) for one in truth.awaits
        ]
        assert [str(one.location) for one in function.awaits] == [str(one.location) for one in truth.awaits]
        assert (function.state_offset, function.result) == (truth.state_offset, truth.result)
        assert (function.location, function.layout_source) == (truth.location, Source.TWIN)
        # What depends on addresses is the running binary's own.
        assert (function.address, function.offset, function.size) == (own.address, own.offset, own.size)
        assert (function.exits, function.entry_cost) == (own.exits, own.entry_cost)
        assert (function.self_register, own.layout_source) == (own.self_register, Source.CODE)
    assert joined(running, twin).twin == "twin"
    assert [one.awaitee for one in both["sample::second"].awaits] == ["sample::inlined", "sample::Apart<sample::first>"]


def test_a_function_that_is_only_inlined_is_listed_by_its_twin(running: Path, twin: Path) -> None:
    found = {one.name: one for one in joined(running, twin).refusals if "inlined" in one.reason}
    assert found["sample::inlined"].location is not None
    assert found["sample::inlined"].location.line == _line("async fn inlined")


def test_an_argument_more_is_another_program(build: Build, running: Path) -> None:
    twin = build(("first(count: u64)", "first(count: u64, _key: u64)"), ("first(3)", "first(3, 4)"))
    error = refusal(running, twin)
    assert error.what == "twin is no build of deployed."
    assert re.fullmatch(r"sample::first: its code reads its state at \+\d+, the twin has it at \+\d+\.", error.why)
    assert error.fix.endswith(BUILD_TWIN)


def test_a_field_more_in_a_function_that_is_only_inlined_is_another_program(build: Build, running: Path) -> None:
    text = "let text = black_box(name).to_string();"
    error = refusal(running, build((text, f"{text} let _more = black_box(text.clone());")))
    assert re.fullmatch(r"sample::inlined: it has fields at \+\d+.*, in the twin at \+\d+.*\.", error.why)


def test_a_blank_line_costs_the_lines_after_it(build: Build, running: Path) -> None:
    shifted = coroutines(joined(running, build(("async fn second", "\nasync fn second"))))
    assert [point.location and point.location.line for point in shifted["sample::first"].awaits] == [
        _line("Yield::default().await;")
    ]
    for name in ("sample::second", "sample::last"):
        location = shifted[name].location  # the running code's own, of its panic when it is polled after its end
        assert location is not None
        assert location.line == _line(f"async fn {name.partition('::')[2]}")
        assert {point.location for point in shifted[name].awaits} == {None}
        # What does not depend on lines is as right as before.
        assert shifted[name].layout_source is Source.TWIN
    assert [one.awaitee for one in shifted["sample::second"].awaits] == [
        "sample::inlined",
        "sample::Apart<sample::first>",
    ]


def test_a_blank_line_that_nothing_gives_away_is_marked(build: Build, running: Path, twin: Path) -> None:
    """After the last panic location of the file a line can be anywhere."""
    assert coroutines(joined(running, twin))["sample::last"].awaits[-1].is_verified is False
    shifted = coroutines(joined(running, build(('println!("{sum}");', '\n    println!("{sum}");'))))
    assert all(point.is_verified for point in shifted["sample::second"].awaits)
    assert not any(point.is_verified for point in shifted["sample::last"].awaits)


def test_an_await_more_is_another_program(build: Build, running: Path) -> None:
    error = refusal(running, build(('println!("{sum}");', 'println!("{sum}"); Yield::default().await;')))
    assert error.why == "sample::last: its code goes on at 2 awaits, the twin's at 3."


def test_the_code_alone_tells_where_a_coroutine_is(running: Path) -> None:
    for name, function in coroutines(read(running)).items():
        assert function.location is not None
        assert function.location.line == _line(f"async fn {name.partition('::')[2]}")
        assert function.layout_source is Source.CODE


@pytest.mark.parametrize("name", ["tokio_multi", "tokio_current", "server", "smol_log", "async_std_log"])
def test_the_code_alone_never_names_another_awaitee(targets: Targets, name: str) -> None:
    running, twin = targets.path(name, "release"), targets.path(name, "release-debug")
    truth = {one.address: one for one in joined(running, twin).functions}
    named = 0
    for function in read(running).functions:
        if function.kind is not FunctionKind.COROUTINE:
            continue
        awaited = {one.state: (one.awaitee or "").partition("<")[0] for one in truth[function.address].awaits}
        assert {one.state for one in function.awaits} == awaited.keys()
        for point in function.awaits:
            if point.awaitee is not None:
                named += 1
                assert point.awaitee.partition("<")[0].endswith(awaited[point.state])
    assert named


@pytest.mark.parametrize("name", ["async_std_log", "parked_tokio"])
def test_a_result_that_the_twin_tells_of_is_there_where_it_is_read(targets: Targets, name: str) -> None:
    running, twin = targets.path(name, "release"), targets.path(name, "release-debug")
    content = running.read_bytes()
    read_at = 0
    for function in joined(running, twin).functions:
        if function.result is None or function.state_offset is not None:
            continue
        for site in function.returned:
            back = site.offset - site.after
            found = next_emulated(content[back:][:64], 0, keeps_rax=True)
            assert found == (site.after, site.after), function.name
            read_at += 1
    assert read_at


@pytest.mark.parametrize(("more", "is_known"), [(0, True), (8, False)])
def test_the_running_task_is_known_where_thread_local_variables_lie_alike(
    targets: Targets, more: int, is_known: bool
) -> None:
    running, twin = targets.path("parked_tokio", "release"), targets.path("parked_tokio", "release-debug")
    with open_elf(running) as image, open_elf(twin) as twin_image:
        described = read_binary(twin_image, display_path="twin")
        assert image.thread_local_block is not None
        image.thread_local_block += more
        binary = with_twin(read_binary(image, display_path="deployed"), image, described, twin_image)
    assert described.current_task is not None
    assert binary.current_task == (described.current_task if is_known else None)


def test_of_a_function_for_other_types_nothing_is_taken_over(targets: Targets) -> None:
    """Where the twin has inlined all functions of one type, those of another one with the same name are there yet."""
    running, twin = targets.path("async_std_log", "release"), targets.path("async_std_log", "release-debug")
    whole, alone = joined(running, twin), {one.address: one for one in read(running).functions}
    names = {"async_task::task::Task<u64, ()>", "async_task::task::Task<(), ()>"}
    assert {one.name for one in whole.functions} >= names
    with open_elf(running) as image, open_elf(twin) as twin_image:
        described = read_binary(twin_image, display_path="twin")
        for name in names:
            others = replace(described, functions=tuple(one for one in described.functions if one.name != name))
            binary = with_twin(read_binary(image, display_path="deployed"), image, others, twin_image)
            found = {one.address: one for one in binary.functions}
            for function in whole.functions:
                if function.name == name:
                    assert found[function.address] == alone[function.address]


def test_another_name_is_another_program(build: Build, running: Path) -> None:
    error = refusal(running, build(("async fn first", "async fn frist"), ("first(3)", "frist(3)")))
    assert error.why == "sample::first: the twin does not have it (of 3 poll functions it lacks 1)."


def test_another_program_is_refused(samples: dict[str, Path], running: Path) -> None:
    error = refusal(running, samples["release"])
    assert "the twin does not have it" in error.why


def test_a_twin_without_debug_information_is_refused(running: Path) -> None:
    error = refusal(running, running)
    assert "no debug information" in error.what
    assert error.fix == BUILD_TWIN


def test_another_compiler_is_refused(running: Path, twin: Path) -> None:
    error = refusal(running, twin, rustc="1.80.1")
    assert "rustc 1.80.1" in error.why
    assert error.fix.startswith("CARGO_PROFILE_RELEASE_DEBUG=2 cargo +1.80.1 build --release")


def _line(text: str) -> int:
    return next(number for number, line in enumerate(SOURCE.read_text().splitlines(), 1) if text in line)
