//! A lock that is held while its task waits for something else.

use crate::pause;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::Mutex;

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
