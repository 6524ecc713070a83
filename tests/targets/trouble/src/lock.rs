//! A lock that is held while its task waits for something else.

use crate::pause;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, Mutex};

type Store = Arc<Mutex<HashMap<u64, u64>>>;

async fn refresh(store: Store) {
    loop {
        let mut items = store.lock().await;
        // FAULT: held-lock
        pause(30).await;
        items.insert(0, 1);
        drop(items);
        pause(7).await;
    }
}

async fn look_up(store: Store, key: u64) {
    loop {
        let found = store.lock().await.get(&key).copied();
        pause(3 + found.unwrap_or_default()).await;
    }
}

async fn ask(upstream: oneshot::Receiver<u64>) -> u64 {
    upstream.await.unwrap_or_default()
}

async fn reload(store: Store, upstream: oneshot::Receiver<u64>) {
    let mut items = store.lock().await;
    // FAULT: held-lock-forever
    let item = ask(upstream).await;
    items.insert(0, item);
}

/// Gives up, as clients do.
async fn impatient(store: Store) {
    loop {
        let items = tokio::time::timeout(Duration::from_millis(400), store.lock()).await;
        drop(items);
        pause(3).await;
    }
}

/// Keeps a lock, too, while it waits for that one.
async fn patient(log: Arc<Mutex<u64>>, store: Store) {
    let mut log = log.lock().await;
    *log += store.lock().await.len() as u64;
}

/// Gives the lock back before it waits: where nothing tells that, the guard's bytes are there still.
async fn careful(store: Store) {
    let items = store.lock().await;
    let count = items.len();
    drop(items);
    pause(100_000).await;
    std::hint::black_box(count);
}

/// Its upstream never answers.
pub async fn holding_forever() {
    let store = Store::default();
    for _ in 0..3 {
        tokio::spawn(careful(store.clone()));
    }
    pause(50).await;
    let (_upstream, answer) = oneshot::channel();
    tokio::spawn(reload(store.clone(), answer));
    pause(50).await;
    for _ in 0..11 {
        tokio::spawn(impatient(store.clone()));
    }
    let log = Arc::new(Mutex::new(0));
    for _ in 0..3 {
        tokio::spawn(patient(log.clone(), store.clone()));
    }
    std::future::pending().await
}

pub async fn holding() {
    let store = Store::default();
    tokio::spawn(refresh(store.clone()));
    tokio::spawn(look_up(store.clone(), 0));
    for key in 1..3 {
        // As handlers of web frameworks are: nothing in the task tells what is in there.
        let handler: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(look_up(store.clone(), key));
        tokio::spawn(handler);
    }
    std::future::pending().await
}
