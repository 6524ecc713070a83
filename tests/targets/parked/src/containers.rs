//! As many futures as there are.

use crate::{opaque, Forever};
use futures::future::{join_all, select_all};
use futures::stream::{self, FuturesOrdered, FuturesUnordered, StreamExt};

pub(crate) async fn item(value: u64) -> u64 {
    Forever.await + value //@40
}

//= all_of: all_of@41 > JoinAll > {item@40 > Forever | item@40 > Forever | item@40 > Forever}
pub async fn all_of() {
    opaque(join_all((0..3).map(item)).await); //@41
}

//= any_of: any_of@42 > SelectAll > {item@40 > Forever | item@40 > Forever}
pub async fn any_of() {
    opaque(select_all((0..2).map(|value| Box::pin(item(value)))).await.0); //@42
}

//= unordered: unordered@43 > Next > {item@40 > Forever | item@40 > Forever | item@40 > Forever}
pub async fn unordered() {
    let mut several: FuturesUnordered<_> = (0..3).map(item).collect();
    opaque(several.next().await); //@43
}

//= ordered: ordered@44 > Next > {item@40 > Forever | item@40 > Forever}
pub async fn ordered() {
    let mut several: FuturesOrdered<_> = (0..2).map(item).collect();
    opaque(several.next().await); //@44
}

//= stream: stream@45 > Next > item@40 > Forever
pub async fn stream() {
    let mut one = Box::pin(stream::once(item(1)));
    opaque(one.next().await); //@45
}

//= alike: alike@46 > item@40 > Forever
pub async fn alike() {
    opaque(item(2).await); //@46
}
