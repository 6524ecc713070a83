//! Results that nobody takes: finished tasks stay in memory with them.

use crate::pause;
use futures::stream::FuturesUnordered;
use std::hint::black_box;
use tokio::task::JoinSet;

/// Has a result of some size.
async fn answer(number: u64) -> Vec<u8> {
    pause(1).await;
    vec![number as u8; 1024]
}

/// Spawns into a set and never asks it for what is done.
async fn collects() {
    let mut set = JoinSet::new();
    for number in 0.. {
        set.spawn(answer(number));
        // FAULT: result-leak
        pause(10).await;
    }
    black_box(&set);
}

/// Keeps the handles of all that it ever spawned.
async fn lists() {
    let mut handles = Vec::new();
    for number in 0.. {
        handles.push(tokio::spawn(answer(number)));
        // FAULT: result-leak-vec
        pause(10).await;
    }
    black_box(&handles);
}

/// The same, of handles that could be polled.
async fn queues() {
    let handles = FuturesUnordered::new();
    for number in 0.. {
        handles.push(tokio::spawn(answer(number)));
        // FAULT: result-leak-unordered
        pause(10).await;
    }
    black_box(&handles);
}

/// Takes what is done, each time.
async fn drains() {
    let mut set = JoinSet::new();
    for number in 0.. {
        set.spawn(answer(number));
        pause(10).await;
        while set.try_join_next().is_some() {}
    }
}

/// Wants no results.
async fn lets_go() {
    for number in 0.. {
        tokio::spawn(answer(number));
        pause(10).await;
    }
}

/// Keeps them in a set.
pub async fn in_set() {
    tokio::spawn(collects()).await.unwrap();
}

/// Keeps them in a Vec of handles.
pub async fn in_vec() {
    tokio::spawn(lists()).await.unwrap();
}

/// Keeps them in a FuturesUnordered of handles.
pub async fn in_unordered() {
    tokio::spawn(queues()).await.unwrap();
}

/// As it should be: finished tasks go.
pub async fn nowhere() {
    let both = tokio::spawn(drains());
    tokio::spawn(lets_go()).await.unwrap();
    both.await.unwrap();
}
