//! Work that is thrown away.

use crate::pause;
use std::time::Duration;
use tokio::time::{interval, sleep};
use truth::apart;

// FAULT: cancel-storm
async fn attempt() {
    pause(1).await;
    pause(200).await;
}

/// Gives up on all of them long before they can be done.
pub async fn storming() {
    tokio::spawn(async {
        loop {
            let attempts: Vec<_> = (0..16).map(|_| tokio::spawn(attempt())).collect();
            pause(20).await;
            for one in &attempts {
                one.abort();
            }
            for one in attempts {
                let _ = one.await;
            }
        }
    });
    std::future::pending().await
}

/// Takes longer than the ticks are apart.
// FAULT: select-cancelled
async fn refresh() {
    for _ in 0..5 {
        sleep(Duration::from_millis(6)).await;
    }
    sleep(Duration::from_millis(6)).await;
}

/// Begins to refresh anew at each tick, and is never done with it.
pub async fn selecting() {
    tokio::spawn(async {
        let mut ticks = interval(Duration::from_millis(20));
        loop {
            tokio::select! {
                () = apart(refresh()) => {}
                _ = ticks.tick() => {}
            }
        }
    });
    std::future::pending().await
}

/// The same, which a release build makes a part of the future around it.
// FAULT: select-cancelled-inlined
async fn reload() {
    for _ in 0..2 {
        sleep(Duration::from_millis(6)).await;
    }
    sleep(Duration::from_millis(60)).await;
}

/// Begins to reload anew at each tick, as `selecting` does.
pub async fn selecting_inlined() {
    tokio::spawn(async {
        let mut ticks = interval(Duration::from_millis(20));
        loop {
            tokio::select! {
                () = reload() => {}
                _ = ticks.tick() => {}
            }
        }
    });
    std::future::pending().await
}
