//! Tasks that nobody polls while they are recorded.

use crate::{multi, pause, spin};
use tokio::runtime::Builder;

const FOR_GOOD: u64 = 1_000_000;

async fn computes_in_job() {
    tokio::task::spawn_blocking(|| spin(FOR_GOOD)).await.unwrap();
}

/// One task, which waits, and a processor in use.
pub async fn beside_job() {
    tokio::spawn(computes_in_job());
    std::future::pending().await
}

async fn sleeps_on() {
    pause(FOR_GOOD).await;
}

async fn ticks() {
    loop {
        pause(10).await;
    }
}

/// A task that waits until the runtime is dropped.
pub fn until_the_end() {
    multi().block_on(async {
        tokio::spawn(sleeps_on());
        tokio::spawn(ticks());
        pause(2_000).await;
    });
}

async fn never_polled() {
    pause(10).await;
}

/// The only worker computes once it has spawned five tasks.
pub fn behind_spawner() {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::spawn(async {
            pause(1_000).await;
            for _ in 0..5 {
                // SPAWNS: never_polled
                tokio::spawn(never_polled());
            }
            spin(FOR_GOOD);
        });
        std::future::pending().await
    })
}
