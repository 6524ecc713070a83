"""A Rust program of 100 MB in a debug build: hundreds of async fns among thousands of other functions."""

from __future__ import annotations

import subprocess
from pathlib import Path

MODULES = 82
ASYNC_FUNCTIONS = 4
"""Of a module, each awaiting the next."""

PLAIN_FUNCTIONS = 4
"""Of a module, each with closures and instances of generic code of its own."""

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
        for number in range(PLAIN_FUNCTIONS):
            parts.append(
                f"#[derive(Clone, Debug, Default, PartialEq, PartialOrd)]\n"
                f"pub struct S{number} {{ key: u64, name: String, values: Vec<u64>, next: Option<Box<S{number}>> }}\n"
                f"pub fn p{number}(key: u64) -> u64 {{\n"
                f"    let one = S{number} {{ key, values: vec![key; 3], ..S{number}::default() }};\n"
                f"    let mut all: HashMap<u64, S{number}> = (0..3).map(|k| (k, one.clone())).collect();\n"
                f"    all.retain(|k, value| *k != {number} || value.name.is_empty());\n"
                "    let mut sorted: Vec<_> = all.into_values().filter(|value| value.next.is_none()).collect();\n"
                "    sorted.sort_by(|a, b| a.partial_cmp(b).unwrap());\n"
                '    sorted.iter().map(|value| format!("{value:?}").len() as u64).sum()\n}'
            )
        for number in range(ASYNC_FUNCTIONS):
            last = number + 1 == ASYNC_FUNCTIONS
            rest = "Twice(false).await" if last else f"f{number + 1}(key + 1, names).await"
            parts.append(
                f"pub async fn f{number}(key: u64, names: &mut Names) -> u64 {{\n"
                f'    let name = format!("{{key}}-{module}-{number}");\n'
                "    names.insert(key, name.clone());\n"
                "    Twice(false).await;\n"
                f"    let values: Vec<u64> = (0..key % 7).map(|value| p{number}(value)).collect();\n"
                f"    {rest} + values.iter().sum::<u64>() + name.len() as u64\n}}"
            )
        calls = " + ".join(f"p{number}(1)" for number in range(PLAIN_FUNCTIONS))
        parts.append(f"pub fn all() -> u64 {{ {calls} }}\n}}")
    calls = "\n".join(
        f"    sum += m{module}::all() + block_on(m{module}::f0(1, &mut names));" for module in range(MODULES)
    )
    parts.append(f'fn main() {{\n    let (mut sum, mut names) = (0, Names::new());\n{calls}\n    println!("{{sum}}");')
    pause = "std::thread::sleep(std::time::Duration::from_millis(10));"
    parts.append(f"    for _ in 0..30_000 {{ block_on(m0::f0(1, &mut names)); {pause} }}\n}}")
    return "\n".join(parts) + "\n"
