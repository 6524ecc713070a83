//! Tasks that are polled for nothing.

use crate::pause;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::task::Poll;

async fn setter(flag: Arc<AtomicBool>) {
    loop {
        pause(400).await;
        flag.store(true, Ordering::Relaxed);
    }
}

async fn look_again(flag: Arc<AtomicBool>) {
    loop {
        poll_fn(|context| {
            if flag.swap(false, Ordering::Relaxed) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        // FAULT: busy-loop
        .await;
    }
}

async fn yield_again(flag: Arc<AtomicBool>) {
    loop {
        while !flag.swap(false, Ordering::Relaxed) {
            // FAULT: busy-loop-yield
            tokio::task::yield_now().await;
        }
    }
}

pub async fn looping() {
    let flag = Arc::new(AtomicBool::new(false));
    tokio::spawn(setter(flag.clone()));
    tokio::spawn(look_again(flag));
    std::future::pending().await
}

pub async fn yielding() {
    let flag = Arc::new(AtomicBool::new(false));
    tokio::spawn(setter(flag.clone()));
    tokio::spawn(yield_again(flag));
    std::future::pending().await
}
