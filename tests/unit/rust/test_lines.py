"""Places from the line table alone are those that binutils reads from it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tracer.rust import read_binary
from tracer.target.elf import open_elf

SOURCE = """\
use std::{future::Future, pin::pin, task::{Context, Poll, Waker}};
async fn leaf() -> u32 { 1 }

async fn outer(more: u32) -> u32 { leaf().await + more }
fn main() {
    let mut future = pin!(outer(2));
    let mut context = Context::from_waker(Waker::noop());
    if let Poll::Ready(value) = future.as_mut().poll(&mut context) { println!("{value}"); }
}
"""


@pytest.mark.parametrize("version", ["4", "5"])
@pytest.mark.parametrize("debug", ["-Csplit-debuginfo=packed", "-Cdebuginfo=line-tables-only"])
def test_places_are_those_of_addr2line(tmp_path: Path, version: str, debug: str) -> None:
    source, program = tmp_path / "lines.rs", tmp_path / "lines"
    source.write_text(SOURCE)
    options = ["--edition", "2021", "-Cdebuginfo=2", debug, f"-Cdwarf-version={version}"]
    subprocess.run(["rustc", *options, source, "-o", program], check=True, capture_output=True)
    with open_elf(program) as image:
        functions = read_binary(image, display_path="lines").functions
    found = {function.name: str(function.location) for function in functions if function.name.startswith("lines::")}
    assert found.keys() == {"lines::leaf", "lines::outer"}
    addresses = [hex(function.address) for function in functions if function.name in found]
    told = subprocess.run(["addr2line", "-e", program, *addresses], capture_output=True, text=True, check=True).stdout
    assert list(found.values()) == [line.partition(" ")[0] for line in told.splitlines()]
    assert found["lines::outer"].endswith("lines.rs:4")
