//! Tasks that are polled for nothing.

use crate::pause;
use faults::look_again;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

async fn setter(flag: Arc<AtomicBool>) {
    loop {
        pause(400).await;
        flag.store(true, Ordering::Relaxed);
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
