//! Several futures at once.

use crate::plain::brief;
use crate::{Handle, Runtime, Turns};
use futures::future;
use futures::stream::{FuturesUnordered, StreamExt};
use futures::FutureExt;
use std::future::{pending, Future};
use std::pin::pin;
use std::time::Duration;
use truth::{here, watch, Yield};

pub async fn turning(polls: u64) -> u64 {
    here(watch(Turns::new(polls))).await
}

pub async fn succeeds(polls: u64) -> Result<u64, u64> {
    Ok(here(watch(turning(polls))).await)
}

pub async fn fails(polls: u64) -> Result<u64, u64> {
    Err(here(watch(turning(polls))).await)
}

/// Suspends once in the first await, for ever in the second.
pub async fn endless() -> u64 {
    here(Yield::default()).await;
    here(pending()).await
}

pub async fn join() -> u64 {
    let (a, b, c) = futures::join!(here(watch(turning(2))), watch(turning(5)), watch(brief(1)));
    a + b + c
}

pub async fn join_without_macro() -> u64 {
    let (a, b) = here(future::join(watch(turning(3)), watch(turning(4)))).await;
    a + b
}

pub async fn try_join() {
    let result = futures::try_join!(here(watch(succeeds(5))), watch(fails(2)), watch(succeeds(1)));
    assert!(result.is_err());
}

pub async fn select() -> u64 {
    let slow = pin!(watch(endless()).fuse());
    let mut fast = pin!(watch(turning(3)).fuse());
    futures::select! { value = here(slow) => value, value = fast => value }
}

pub async fn select_all() -> usize {
    let all = [9, 2, 9].map(|polls| Box::pin(watch(turning(polls))));
    let (_, index, _) = here(future::select_all(all)).await;
    index
}

pub async fn timeout_elapsed<R: Runtime>() {
    let value = here(R::timeout(Duration::from_millis(3), watch(endless()))).await;
    assert!(value.is_none());
}

pub async fn timeout_in_time<R: Runtime>() {
    let value = here(R::timeout(Duration::from_secs(60), watch(turning(3)))).await;
    assert!(value.is_some());
}

pub async fn unordered() -> u64 {
    let mut all: FuturesUnordered<_> = [4, 1, 3, 2].into_iter().map(|polls| watch(turning(polls))).collect();
    let mut sum = 0;
    while let Some(value) = here(all.next()).await {
        sum += value;
    }
    sum
}

async fn waiting<F: Future<Output = u64>>(shared: F) -> u64 {
    here(shared).await
}

/// Two tasks wait for one future; either may poll it.
pub async fn shared<R: Runtime>() -> u64 {
    let shared = watch(turning(6)).shared();
    let first = R::spawn(watch(waiting(shared.clone())).spawned());
    let second = R::spawn(watch(waiting(shared)).spawned());
    here(first.join()).await.unwrap() + here(second.join()).await.unwrap()
}
