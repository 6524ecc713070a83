//! Tasks that nothing will ever wake.

use crate::pause;
use faults::waits_for_flag;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use tokio::sync::{Mutex, Notify, RwLock};

async fn ticking() {
    loop {
        pause(5).await;
    }
}

pub async fn forgetting() {
    let flag = Arc::new(AtomicBool::new(false));
    tokio::spawn(ticking());
    let waiting = tokio::spawn(waits_for_flag(flag.clone()));
    pause(100).await;
    flag.store(true, Ordering::Relaxed); // nobody is told
    waiting.await.unwrap();
}

async fn holds(mutex: Arc<Mutex<u64>>) {
    let mut guard = mutex.lock().await;
    pause(10).await;
    *guard += 1;
}

/// Has the lock given to a future that it polls no more, and waits for it.
async fn futurelocked(mutex: Arc<Mutex<u64>>) {
    let mut holder = Box::pin(holds(mutex.clone()));
    tokio::select! {
        () = &mut holder => {}
        () = pause(5) => {
            // FAULT: futurelock
            let mut guard = mutex.lock().await;
            *guard += 1;
        }
    }
    holder.await;
}

pub async fn futurelocking() {
    tokio::spawn(ticking());
    tokio::spawn(futurelocked(Arc::new(Mutex::new(0))));
    std::future::pending().await
}

async fn takes_both(first: Arc<Mutex<u64>>, second: Arc<Mutex<u64>>) {
    let mut one = first.lock().await;
    pause(20).await;
    // FAULT: deadlock
    let mut other = second.lock().await;
    *one += 1;
    *other += 1;
}

pub async fn deadlocking() {
    let (first, second) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
    tokio::spawn(ticking());
    tokio::spawn(takes_both(first.clone(), second.clone()));
    tokio::spawn(takes_both(second, first));
    std::future::pending().await
}

async fn reads_twice(lock: Arc<RwLock<u64>>) -> u64 {
    let one = lock.read().await;
    pause(20).await;
    // FAULT: deadlock-rwlock
    let other = lock.read().await;
    *one + *other
}

async fn writes_between(lock: Arc<RwLock<u64>>) {
    pause(5).await;
    *lock.write().await += 1;
}

pub async fn deadlocking_readers() {
    let lock = Arc::new(RwLock::new(0));
    tokio::spawn(ticking());
    for _ in 0..2 {
        tokio::spawn(reads_twice(lock.clone()));
    }
    tokio::spawn(writes_between(lock));
    std::future::pending().await
}

async fn takes_in_turn(first: Arc<Mutex<u64>>, second: Arc<Mutex<u64>>) {
    let mut one = first.lock().await;
    pause(20).await;
    // FAULT: deadlock-branches
    let mut other = second.lock().await;
    *one += 1;
    *other += 1;
}

async fn until_stopped(work: impl Future<Output = ()>, stop: Arc<Notify>) {
    tokio::select! {
        () = work => {}
        () = stop.notified() => {}
    }
}

pub async fn deadlocking_branches() {
    let (first, second) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
    let stop = Arc::new(Notify::new());
    tokio::spawn(ticking());
    tokio::spawn(until_stopped(takes_in_turn(first.clone(), second.clone()), stop.clone()));
    tokio::spawn(until_stopped(takes_in_turn(second, first), stop));
    std::future::pending().await
}
