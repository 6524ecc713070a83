//! A lock that is held while its task waits for something else.

use crate::pause;
use std::collections::HashMap;
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
    for key in 0..3 {
        tokio::spawn(look_up(store.clone(), key));
    }
    std::future::pending().await
}
