//! Ends that are not Ready.

use crate::combinators::endless;
use crate::{once, Handle, Runtime};
use futures::channel::oneshot;
use futures::FutureExt;
use std::future::pending;
use std::panic::AssertUnwindSafe;
use truth::{here, watch, Yield};

async fn outer() -> u64 {
    here(watch(endless())).await
}

/// Dropped in their second await, the outer and the inner one.
pub async fn cancelled() {
    let mut future = Box::pin(watch(outer()));
    for _ in 0..3 {
        here(once(future.as_mut())).await;
    }
    drop(future);
    here(Yield::default()).await;
}

async fn burst(at_once: bool) -> u64 {
    if !at_once {
        here(Yield::default()).await;
    }
    panic!("as it should");
}

async fn around_burst(at_once: bool) -> u64 {
    here(watch(burst(at_once))).await + 1
}

pub async fn panic_caught() {
    for at_once in [true, false, true] {
        let result = here(AssertUnwindSafe(watch(around_burst(at_once))).catch_unwind()).await;
        assert!(result.is_err());
    }
}

pub async fn task_panics<R: Runtime>() {
    for at_once in [true, false, true] {
        let task = R::spawn(watch(around_burst(at_once)).spawned());
        assert!(here(task.join()).await.is_none());
    }
}

/// Says that it runs, then never ends.
async fn parked(runs: oneshot::Sender<()>) {
    here(Yield::default()).await;
    runs.send(()).unwrap();
    here(pending::<()>()).await;
}

pub async fn abort<R: Runtime>() {
    for _ in 0..3 {
        let (sender, receiver) = oneshot::channel();
        let task = R::spawn(watch(parked(sender)).spawned());
        here(receiver).await.unwrap();
        here(task.abort()).await;
    }
}

/// A task that is still there when the runtime is dropped, or when the process ends.
pub async fn left_behind<R: Runtime>() {
    let (sender, receiver) = oneshot::channel();
    R::spawn(watch(parked(sender)).spawned()).detach();
    here(receiver).await.unwrap();
}
