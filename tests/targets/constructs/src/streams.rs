//! Streams made of futures.

use crate::combinators::turning;
use futures::stream::{self, StreamExt};
use truth::{here, watch, Yield};

async fn produce(left: u64) -> Option<(u64, u64)> {
    here(Yield::default()).await;
    (left > 0).then(|| (left, left - 1))
}

pub async fn next() -> u64 {
    let mut numbers = Box::pin(stream::unfold(4, |left| watch(produce(left))));
    let mut sum = 0;
    while let Some(number) = here(numbers.next()).await {
        sum += number;
    }
    sum
}

pub async fn buffered() -> u64 {
    let mut numbers = stream::iter([3, 1, 4, 2, 5]).map(|polls| watch(turning(polls))).buffer_unordered(3);
    let mut sum = 0;
    while let Some(number) = here(numbers.next()).await {
        sum += number;
    }
    sum
}
