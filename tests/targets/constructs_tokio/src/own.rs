//! What only tokio has.

use constructs::combinators::{endless, fails, succeeds, turning};
use constructs::{Handle, Runtime};
use tokio::task::JoinSet;
use truth::{construct, here, watch};

async fn join() -> u64 {
    let (a, b) = tokio::join!(here(watch(turning(2))), watch(turning(5)));
    a + b
}

async fn try_join() {
    let result = tokio::try_join!(here(watch(succeeds(5))), watch(fails(2)));
    assert!(result.is_err());
}

async fn select() -> u64 {
    tokio::select! { value = here(watch(endless())) => value, value = watch(turning(3)) => value }
}

/// Two tasks end, the third one is aborted when the set is dropped.
async fn join_set() -> u64 {
    let mut set = JoinSet::new();
    set.spawn(watch(turning(4)).spawned());
    set.spawn(watch(turning(2)).spawned());
    set.spawn(watch(endless()).spawned());
    let mut sum = 0;
    for _ in 0..2 {
        sum += here(set.join_next()).await.unwrap().unwrap();
    }
    sum
}

pub async fn root<R: Runtime>() {
    here(watch(constructs::all::<R>())).await;
    construct("tokio::join!");
    here(R::spawn(watch(join()).spawned()).join()).await;
    construct("tokio::try_join!");
    here(R::spawn(watch(try_join()).spawned()).join()).await;
    construct("tokio::select!");
    here(R::spawn(watch(select()).spawned()).join()).await;
    construct("JoinSet");
    here(R::spawn(watch(join_set()).spawned()).join()).await;
    construct("block_on root");
}
