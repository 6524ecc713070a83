//! Works for some time at an even pace, then rests for some time.
//!
//! paced RATE WORK REST: three async fns deep, each polled through a pointer, are awaited RATE times a second for WORK
//! seconds; then nothing happens for REST seconds.
//!
//! paced scan COUNT SECONDS: see scan.rs.  paced nap SECONDS: see nap.rs.

mod nap;
mod scan;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::time::{interval, sleep, Instant, MissedTickBehavior};
use truth::apart;

/// A second.
const TICKS: u64 = 100;

/// Pending once, with an immediate wake; a part of whoever awaits it.
struct Pause(bool);

impl Future for Pause {
    type Output = ();

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0 {
            return Poll::Ready(());
        }
        self.0 = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

async fn inner(value: u64) -> u64 {
    Pause(false).await;
    value ^ 1
}

async fn middle(value: u64) -> u64 {
    apart(inner(value)).await.wrapping_add(1)
}

async fn outer(value: u64) -> u64 {
    apart(middle(value)).await.wrapping_mul(3)
}

/// Returns how many times it awaited `outer`.
async fn work(rate: u64, until: Instant) -> u64 {
    let mut ticks = interval(Duration::from_millis(1000 / TICKS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (mut value, mut turns): (u64, u64) = (0, 0);
    while Instant::now() < until {
        ticks.tick().await;
        for _ in 0..rate / TICKS {
            value = apart(outer(value)).await;
            turns += 1;
        }
    }
    std::hint::black_box(value);
    turns
}

fn main() {
    let number = |index: usize| std::env::args().nth(index).unwrap().parse::<u64>().unwrap();
    match std::env::args().nth(1).as_deref() {
        Some("scan") => return scan::run(number(2) as usize, Duration::from_secs(number(3))),
        Some("nap") => return nap::run(Duration::from_secs(number(2))),
        _ => (),
    }
    let (rate, busy, rest) = (number(1), number(2), number(3));
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    truth::wait_for_go();
    let turns = runtime.block_on(async {
        let until = Instant::now() + Duration::from_secs(busy);
        let turns = tokio::spawn(work(rate, until)).await.unwrap();
        sleep(Duration::from_secs(rest)).await;
        turns
    });
    drop(runtime);
    let polls = ["paced::outer", "paced::middle", "paced::inner"].map(|name| (name, 2 * turns));
    truth::finish(&[], &polls, turns);
}
