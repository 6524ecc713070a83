//! Futures whose type nobody knows where they are awaited.

use std::future::Future;
use std::pin::{pin, Pin};
use truth::{here, watch, watch_boxed, Yield};

async fn held(polls: u64) -> u64 {
    for _ in 1..polls {
        here(Yield::default()).await;
    }
    polls
}

pub async fn boxed() -> u64 {
    let future: Pin<Box<dyn Future<Output = u64> + Send>> = std::hint::black_box(Box::pin(held(4)));
    here(watch_boxed("constructs::dynamic::held::{{closure}}", future)).await
}

pub async fn pinned() -> u64 {
    let future = pin!(watch(held(3)));
    let future: Pin<&mut (dyn Future<Output = u64> + Send)> = std::hint::black_box(future);
    here(future).await
}

#[async_trait::async_trait]
trait Job: Sync {
    async fn work(&self, polls: u64) -> u64;
}

struct Counter;

const WORK: &str = "<constructs::dynamic::Counter as constructs::dynamic::Job>::work::{{closure}}";

#[async_trait::async_trait]
impl Job for Counter {
    async fn work(&self, polls: u64) -> u64 {
        here(watch(held(polls))).await
    }
}

pub async fn async_trait() -> u64 {
    let job: &'static dyn Job = std::hint::black_box(&Counter);
    here(watch_boxed(WORK, job.work(5))).await
}
