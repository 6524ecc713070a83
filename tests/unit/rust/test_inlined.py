"""Async functions that the compiler inlined: everywhere, or in some places; and those that the linker threw away."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tracer.model import IN_PART, INLINED
from tracer.rust import read_binary
from tracer.target.elf import open_elf

SOURCE = Path(__file__).parent / "in_part.rs"


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("-Cpanic=abort",),
        ("-Csymbol-mangling-version=v0",),
        ("-Cdwarf-version=5",),
        # It gives what it throws away addresses from 0 on; the others one and the same.
        pytest.param(
            ("-Clink-arg=-fuse-ld=gold",), marks=pytest.mark.skipif(not shutil.which("ld.gold"), reason="no ld.gold")
        ),
    ],
    ids=" ".join,
)
def test_what_is_inlined_in_some_places_is_said_to_be(tmp_path: Path, flags: tuple[str, ...]) -> None:
    program = tmp_path / "program"
    command = ["rustc", "--edition", "2021", "-Copt-level=3", "-Cdebuginfo=2", *flags, str(SOURCE), "-o", str(program)]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    with open_elf(program) as image:
        binary = read_binary(image, display_path="program")
    own = {one.name.removeprefix("in_part::") for one in binary.functions if one.crate == "in_part"}
    reasons = {one.name.removeprefix("in_part::"): one.reason for one in binary.refusals}
    assert {"in_both", "only_called"} <= own
    assert reasons["in_both"] == IN_PART
    assert reasons["only_inlined"] == INLINED
    # It is inlined into `called_by_nobody`, which is not in the program.
    assert "only_called" not in reasons
    assert not any("thrown_away" in name or "called_by_nobody" in name for name in own | reasons.keys())


BELOW = """
pub fn run(context: &mut std::task::Context<'_>) -> bool {
    for number in 0..std::hint::black_box(3) {
        println!("{number} {number:?} {number:x} {number:o}");
    }
    std::future::Future::poll(std::pin::pin!(below(7)).as_mut(), context).is_ready()
}

async fn below(value: u64) -> u64 {
    std::future::ready(()).await;
    std::hint::black_box(value) + 1
}
"""
ABOVE = """
fn main() {
    println!("{}", below::run(&mut std::task::Context::from_waker(std::task::Waker::noop())));
}
"""


def test_what_link_time_optimisation_inlines_into_another_crate_is_listed(tmp_path: Path) -> None:
    (tmp_path / "below.rs").write_text(BELOW)
    (tmp_path / "above.rs").write_text(ABOVE)
    for arguments in (["--crate-type=rlib", "below.rs"], ["--extern=below=libbelow.rlib", "above.rs"]):
        command = ["rustc", "--edition=2021", "-Copt-level=3", "-Cdebuginfo=2", "-Clto=fat", *arguments]
        subprocess.run(command, cwd=tmp_path, check=True, timeout=120)
    with open_elf(tmp_path / "above") as image:
        binary = read_binary(image, display_path="above")
    assert [(one.name, one.reason) for one in binary.refusals] == [("below::below", INLINED)]
