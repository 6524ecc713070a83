//! Many tasks that sleep most of the time, and a thread that notices when it was stopped.

use parked::opaque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::runtime::Builder;
use tokio::time::sleep;

static TURNS: AtomicU64 = AtomicU64::new(0);
static GAP: AtomicU64 = AtomicU64::new(0);

async fn nap(number: u64, turn: u64) -> u64 {
    sleep(Duration::from_millis(1_000 + (number * 7919 + turn * 104_729) % 8_000)).await;
    opaque(number + turn)
}

async fn napping(number: u64) {
    for turn in 0.. {
        opaque(nap(number, turn).await);
        TURNS.fetch_add(1, Relaxed);
    }
}

/// The longest time between two readings of the clock that follow each other with a short sleep between.
fn watch() {
    let mut before = Instant::now();
    loop {
        std::thread::sleep(Duration::from_millis(1));
        let now = Instant::now();
        GAP.fetch_max((now - before).as_nanos() as u64, Relaxed);
        before = now;
    }
}

/// Says each second: turns made in it, and the longest gap in nanoseconds.
pub fn run(count: u64) {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    for number in 0..count {
        runtime.spawn(napping(number));
    }
    std::thread::spawn(watch);
    truth::ready("");
    let mut before = 0;
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let turns = TURNS.load(Relaxed);
        println!("{{\"turns\": {}, \"gap\": {}}}", turns - before, GAP.swap(0, Relaxed));
        before = turns;
    }
}
