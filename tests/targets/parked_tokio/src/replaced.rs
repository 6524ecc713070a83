//! Tasks that live for a moment: each spawns the next one of its row before it ends, so that there are never fewer.

use std::time::Duration;
use tokio::runtime::Builder;
use tokio::time::sleep;

const ROWS: u64 = 47;
/// Milliseconds.
const LIFE: u64 = 40;

async fn passes(milliseconds: u64) {
    sleep(Duration::from_millis(milliseconds)).await;
    next();
}

fn next() {
    tokio::spawn(passes(LIFE));
}

async fn stays() {
    parked::opaque(parked::Forever.await);
}

pub fn run() {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    for _ in 0..7 {
        runtime.spawn(stays());
    }
    for row in 0..ROWS {
        runtime.spawn(passes(row * LIFE / ROWS)); // they do not all end at once
    }
    std::thread::sleep(Duration::from_millis(10 * LIFE));
    truth::ready("");
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}
