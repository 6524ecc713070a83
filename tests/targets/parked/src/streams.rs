//! Streams: what is in flight is waited for, not where it comes from.

use crate::combinators::tries;
use crate::containers::item;
use crate::{opaque, Forever};
use futures::channel::mpsc;
use futures::stream::{self, SelectAll, StreamExt, TryStreamExt};
use futures::SinkExt;

async fn eats(_: u64) {
    Forever.await; //@100
}

async fn keeps(value: &u64) -> bool {
    Forever.await == opaque(*value) //@101
}

//= in_flight: in_flight@102 > Next > {item@40 > Forever | item@40 > Forever}
pub async fn in_flight() {
    let mut several = stream::iter(0..3).map(item).buffer_unordered(2);
    opaque(several.next().await); //@102
}

//= in_order: in_order@103 > Next > {item@40 > Forever | item@40 > Forever}
pub async fn in_order() {
    let mut several = stream::iter(0..3).map(item).buffered(2);
    opaque(several.next().await); //@103
}

//= all_in_flight: all_in_flight@104 > Next > {item@40 > Forever | item@40 > Forever}
pub async fn all_in_flight() {
    let mut several = stream::iter(0..2).map(item).buffer_unordered(9);
    opaque(several.next().await); //@104
}

//= tries_in_flight: tries_in_flight@105 > TryNext > {IntoFuture > tries@32 > Forever | IntoFuture > tries@32 > Forever}
pub async fn tries_in_flight() {
    let several = stream::iter((0..3).map(|value| Ok::<_, u64>(tries(value)))).try_buffer_unordered(2);
    let mut several = Box::pin(several);
    let _ = opaque(several.try_next().await); //@105
}

//= each_at_once: each_at_once@106 > ForEachConcurrent > {eats@100 > Forever | eats@100 > Forever}
pub async fn each_at_once() {
    stream::iter(0..3).for_each_concurrent(2, eats).await; //@106
}

//= one_by_one: one_by_one@107 > ForEach > eats@100 > Forever
pub async fn one_by_one() {
    stream::iter(0..3).for_each(eats).await; //@107
}

//= collects: collects@108 > Collect > {item@40 > Forever | item@40 > Forever}
pub async fn collects() {
    opaque(stream::iter(0..3).map(item).buffered(2).collect::<Vec<_>>().await); //@108
}

//= collects_then: collects_then@109 > Collect > item@40 > Forever
pub async fn collects_then() {
    opaque(stream::iter(0..3).map(opaque).then(item).collect::<Vec<_>>().await); //@109
}

//= folds: folds@110 > Fold > item@40 > Forever
pub async fn folds() {
    opaque(stream::iter(0..3).fold(0, |sum, value| item(sum + value)).await); //@110
}

//= folds_mapped: folds_mapped@111 > Fold > item@40 > Forever
pub async fn folds_mapped() {
    opaque(stream::iter(0..3).map(opaque).then(item).fold(0, |sum, value| item(sum + value)).await); //@111
}

//= filters: filters@112 > Collect > filters{block}@112 > keeps@101 > Forever
pub async fn filters() {
    opaque(stream::iter(0..3).filter(|value| { let value = *value; async move { keeps(&value).await } }).collect::<Vec<_>>().await); //@112
}

//= unfolds: unfolds@113 > Next > steps@114 > Forever
pub async fn unfolds() {
    let mut several = Box::pin(stream::unfold(1, steps));
    opaque(several.next().await); //@113
}

async fn steps(value: u64) -> Option<(u64, u64)> {
    Some((Forever.await, value)) //@114
}

//= either_stream: either_stream@115 > Next > {item@40 > Forever | item@40 > Forever}
pub async fn either_stream() {
    let mut both = Box::pin(stream::select(stream::once(item(1)), stream::once(item(2))));
    opaque(both.next().await); //@115
}

//= preferred_stream: preferred_stream@116 > Next > {item@40 > Forever | item@40 > Forever}
pub async fn preferred_stream() {
    let prefer = |_: &mut ()| stream::PollNext::Left;
    let mut both = Box::pin(stream::select_with_strategy(stream::once(item(1)), stream::once(item(2)), prefer));
    opaque(both.next().await); //@116
}

//= one_stream_left: one_stream_left@117 > Next > item@40 > Forever
pub async fn one_stream_left() {
    let mut both = Box::pin(stream::select(stream::once(std::future::ready(1)), stream::once(item(2))));
    both.next().await;
    opaque(both.next().await); //@117
}

//= many_streams: many_streams@118 > Next > {StreamFuture > item@40 > Forever | StreamFuture > item@40 > Forever}
pub async fn many_streams() {
    let mut several: SelectAll<_> = (0..2).map(|value| Box::pin(stream::once(item(value)))).collect();
    opaque(several.next().await); //@118
}

//= chained: chained@119 > Next > item@40 > Forever
pub async fn chained() {
    let mut several = Box::pin(stream::iter(0..2).chain(stream::once(item(1))));
    while let Some(value) = several.next().await { //@119
        opaque(value);
    }
}

//= zipped: zipped@120 > Next > {item@40 > Forever | item@40 > Forever}
pub async fn zipped() {
    let mut both = Box::pin(stream::once(item(1)).zip(stream::once(item(2))));
    opaque(both.next().await); //@120
}

//= flattened: flattened@121 > Next > item@40 > Forever
pub async fn flattened() {
    let mut several = Box::pin(stream::iter(0..2).map(|value| stream::once(item(value))).flatten());
    opaque(several.next().await); //@121
}

//= left_stream: left_stream@122 > Next > Either > item@40 > Forever
pub async fn left_stream() {
    let one = if opaque(true) { stream::once(item(1)).left_stream() } else { stream::iter(0..2).right_stream() };
    let mut one = Box::pin(one);
    opaque(one.next().await); //@122
}

//= boxed_stream: boxed_stream@123 > Next > ?
pub async fn boxed_stream() {
    let mut one = stream::once(item(1)).boxed();
    opaque(one.next().await); //@123
}

//= peeks: peeks@124 > Peek > item@40 > Forever
pub async fn peeks() {
    let mut one = Box::pin(stream::once(item(1)).peekable());
    opaque(one.as_mut().peek().await); //@124
}

//= takes: takes@125 > Next > item@40 > Forever
pub async fn takes() {
    let mut one = Box::pin(stream::iter(0..5).then(item).skip(1).take(2).enumerate().fuse());
    opaque(one.next().await); //@125
}

//= received: received@126 > Next
pub async fn received() {
    let (sender, mut receiver) = mpsc::channel::<u64>(1);
    opaque(receiver.next().await); //@126
    drop(sender);
}

//= sends: sends@127 > Send > Feed
pub async fn sends() {
    let (mut sender, receiver) = mpsc::channel::<u64>(0);
    let _ = opaque(sender.send(1).await); //@127
    drop(receiver);
}

//= mapped_last: mapped_last@128 > Map > Map > Collect > item@40 > Forever
pub async fn mapped_last() {
    use futures::FutureExt;
    opaque(stream::iter(0..3).then(item).map(opaque).collect::<Vec<_>>().map(opaque).await); //@128
}

//= tries_each: tries_each@129 > TryForEach > tries_one@130 > Forever
pub async fn tries_each() {
    let _ = opaque(stream::iter((0..3).map(Ok::<u64, u64>)).try_for_each(tries_one).await); //@129
}

async fn tries_one(value: u64) -> Result<(), u64> {
    Err(Forever.await + value) //@130
}
