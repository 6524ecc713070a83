//! What only tokio has.

use constructs::combinators::{endless, fails, succeeds, turning};
use constructs::{Handle, Runtime};
use std::future::Future;
use std::panic::catch_unwind;
use std::pin::Pin;
use std::thread;
use tokio::runtime;
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

fn erased(future: impl Future<Output = u64> + Send + 'static) -> Pin<Box<dyn Future<Output = u64> + Send>> {
    Box::pin(future)
}

/// By every function that spawns, with futures that are handed over in other registers, from inside and outside.
async fn ways() -> u64 {
    let handle = runtime::Handle::current();
    let mut sum = here(handle.spawn(watch(turning(2)).spawned())).await.unwrap();
    let mut set = JoinSet::new();
    set.spawn_on(watch(turning(2)).spawned(), &handle);
    sum += here(set.join_next()).await.unwrap().unwrap();
    sum += here(tokio::spawn(Box::pin(watch(turning(3)).spawned()))).await.unwrap();
    sum += here(tokio::spawn(erased(watch(turning(4)).spawned()))).await.unwrap();
    let other = handle.clone();
    let outside = thread::spawn(move || other.spawn(watch(turning(5)).spawned()));
    sum += here(outside.join().unwrap()).await.unwrap();
    // A spawn that panics makes no task; the next one on its thread is not it.
    let failing = thread::spawn(move || {
        assert!(catch_unwind(|| tokio::spawn(turning(6))).is_err());
        handle.spawn(watch(turning(6)).spawned())
    });
    sum += here(failing.join().unwrap()).await.unwrap();
    let aborted = tokio::spawn(watch(endless()).spawned());
    aborted.abort();
    assert!(here(aborted).await.is_err());
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
    construct("ways to spawn");
    here(R::spawn(watch(ways()).spawned()).join()).await;
    construct("block_on root");
}
