//! Thousands of tasks that wait alike, and one that does not.

use parked::by_hand::Stage;
use parked::{opaque, Forever};
use std::future::Ready;
use std::time::Duration;
use tokio::runtime::Builder;

const COUNT: u64 = 5_000;

/// What tells in which stage it is differs from task to task: it is a part of the text.
async fn alike(number: u64) {
    if number == COUNT / 3 {
        opaque(Forever.await);
    }
    let text = "x".repeat(number as usize % 50 + 1);
    opaque(opaque(Stage::<Ready<u64>, _>::Second(Box::pin(Forever), text)).await);
}

pub fn run() {
    let runtime = Builder::new_multi_thread().worker_threads(2).build().unwrap();
    for number in 0..=COUNT {
        runtime.spawn(alike(number));
    }
    std::thread::sleep(Duration::from_millis(300));
    truth::ready("");
    parked::until_input_ends();
    std::process::exit(0);
}
