//! Async fns that await async fns.

use crate::{once, Turns};
use std::future::Future;
use std::pin::Pin;
use truth::{here, watch, watch_inlined, Yield};

const LEVELS: u64 = 7;

pub(crate) async fn brief(number: u64) -> u64 {
    here(Yield::default()).await;
    number
}

pub async fn recursion() -> u64 {
    here(descend(LEVELS)).await
}

fn descend(levels: u64) -> Pin<Box<dyn Future<Output = u64> + Send>> {
    Box::pin(watch(level(levels)))
}

async fn level(levels: u64) -> u64 {
    if levels == 1 {
        return here(watch(Turns::new(5))).await;
    }
    here(descend(levels - 1)).await + 1
}

/// Each future is finished when the next one takes its place.
pub async fn reuse() {
    let mut slot = Box::pin(watch(brief(0)));
    here(slot.as_mut()).await;
    for number in 1..11 {
        slot.set(watch(brief(number)));
        here(slot.as_mut()).await;
    }
}

/// Each future is Pending when the next one takes its place; only the last one ends.
pub async fn reuse_of_cancelled() {
    let mut slot = Box::pin(watch(brief(0)));
    for number in 1..11 {
        here(once(slot.as_mut())).await;
        slot.set(watch(brief(number)));
    }
    here(slot.as_mut()).await;
}

pub async fn reuse_of_written() {
    let mut slot = Box::pin(watch(Turns::new(3)));
    for _ in 1..5 {
        here(once(slot.as_mut())).await;
        slot.set(watch(Turns::new(3)));
    }
    here(slot.as_mut()).await;
}

/// The first is made where the second one will be.
pub async fn moved() -> u64 {
    let mut futures = vec![watch(brief(1)), watch(brief(2)), watch(brief(3))];
    futures.swap(0, 2);
    let last = Box::new(futures.pop().unwrap());
    let mut sum = 0;
    for future in futures {
        sum += here(future).await;
    }
    sum + here(*last).await
}

async fn carry<T: ToString>(value: T) -> u64 {
    here(Yield::default()).await;
    value.to_string().len() as u64
}

/// One async fn of two types: two functions of one name.
pub async fn generics() -> u64 {
    let mut sum = 0;
    for _ in 0..3 {
        sum += here(watch(carry(1_u8))).await;
    }
    for _ in 0..5 {
        sum += here(watch(carry(String::from("one")))).await;
    }
    sum
}

pub async fn never_polled() -> u64 {
    drop(watch(brief(1)));
    here(watch(brief(2))).await
}

/// The optimiser may make `around` and `inside` a part of this function.
pub async fn inlined() -> u64 {
    here(watch_inlined(around(3))).await
}

async fn around(number: u64) -> u64 {
    here(watch_inlined(inside(number))).await + 1
}

async fn inside(number: u64) -> u64 {
    here(Yield::default()).await;
    here(watch(Turns::new(number))).await
}
