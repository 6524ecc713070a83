//! Async functions that have a function of their own and are inlined into those that await them, or not.

use std::future::Future;
use std::hint::black_box;
use std::pin::{pin, Pin};
use std::task::{Context, Waker};

/// A trait object calls it; who awaits it by its name has it inside.
async fn in_both(value: u64) -> u64 {
    std::future::ready(()).await;
    black_box(value) + 1
}

async fn only_called(value: u64) -> u64 {
    std::future::ready(()).await;
    black_box(value) + 2
}

async fn only_inlined(value: u64) -> u64 {
    std::future::ready(()).await;
    black_box(value) + 3
}

async fn everything() -> u64 {
    let called: [Pin<Box<dyn Future<Output = u64>>>; 2] = [Box::pin(in_both(1)), Box::pin(only_called(2))];
    let mut sum = only_inlined(3).await + in_both(4).await;
    for one in black_box(called) {
        sum += one.await;
    }
    sum
}

fn main() {
    println!("{:?}", pin!(everything()).poll(&mut Context::from_waker(Waker::noop())));
}

async fn thrown_away(value: u64) -> u64 {
    std::future::ready(()).await;
    black_box(value) + 4
}

/// Compiled, since others might call it, and thrown away by the linker, for nobody does.
#[no_mangle]
pub extern "C" fn called_by_nobody() -> bool {
    let mut all = pin!(async { thrown_away(6).await + only_called(7).await });
    all.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
}
