"""A Rust program of more than 100 MB: thousands of async fns, in a debug build."""

from __future__ import annotations

import subprocess
from pathlib import Path

MODULES = 220
FUNCTIONS = 20
"""Async fns of a module, each awaiting the next; rustc limits how deep they may nest."""

_HEAD = """\
use std::collections::HashMap;
use std::future::Future;
use std::pin::{pin, Pin};
use std::task::{Context, Poll, Waker};

struct Twice(bool);
impl Future for Twice {
    type Output = u64;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        if std::mem::replace(&mut self.0, true) { return Poll::Ready(1); }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
fn block_on(future: impl Future<Output = u64>) -> u64 {
    let (mut future, mut context) = (pin!(future), Context::from_waker(Waker::noop()));
    loop { if let Poll::Ready(value) = future.as_mut().poll(&mut context) { return value; } }
}
type Names = HashMap<u64, String>;
"""


def build(folder: Path) -> Path:
    """Generate and compile it, unless that has been done; about a minute on two cores."""
    folder.mkdir(parents=True, exist_ok=True)
    source, program = folder / "big.rs", folder / "big"
    text = _source()
    if program.exists() and source.exists() and source.read_text() == text:
        return program
    source.write_text(text)
    command = ["rustc", "--edition", "2021", "-Cdebuginfo=2", "-Ccodegen-units=64", str(source), "-o", str(program)]
    subprocess.run(command, check=True)
    return program


def _source() -> str:
    parts = [_HEAD]
    for module in range(MODULES):
        parts.append(f"mod m{module} {{\nuse super::*;")
        for number in range(FUNCTIONS):
            rest = f"f{number + 1}(key + 1, names).await" if number + 1 < FUNCTIONS else "Twice(false).await"
            parts.append(
                f"pub async fn f{number}(key: u64, names: &mut Names) -> u64 {{\n"
                f'    let name = format!("{{key}}-{module}-{number}");\n'
                "    names.insert(key, name.clone());\n"
                "    Twice(false).await;\n"
                f"    let values: Vec<u64> = (0..key % 7).map(|value| value * {number + 1}).collect();\n"
                f"    {rest} + values.iter().sum::<u64>() + name.len() as u64\n}}"
            )
        parts.append("}")
    calls = "\n".join(f"    sum += block_on(m{module}::f0(1, &mut names));" for module in range(MODULES))
    parts.append(f'fn main() {{\n    let (mut sum, mut names) = (0, Names::new());\n{calls}\n    println!("{{sum}}");')
    parts.append("    std::thread::sleep(std::time::Duration::from_secs(30));\n}")
    return "\n".join(parts) + "\n"
