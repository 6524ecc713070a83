//! One future below the other, wherever an await can stand.

use crate::containers::item;
use crate::{opaque, Forever};
use std::future::Future;
use std::pin::Pin;

async fn twice<T, F: Future<Output = T>>(make: impl Fn() -> F) -> (T, T) {
    let one = make().await; //@250
    (one, make().await)
}

//= generic: generic@251 > twice@250 > item@40 > Forever
pub async fn generic() {
    opaque(twice(|| item(1)).await); //@251
}

async fn given<F: Future>(future: F) -> F::Output {
    future.await //@252
}

//= given_one: given_one@253 > given@252 > item@40 > Forever
pub async fn given_one() {
    opaque(given(item(1)).await); //@253
}

//= given_two: given_two@254 > given@252 > given@252 > Forever
pub async fn given_two() {
    opaque(given(given(Forever)).await); //@254
}

//= called: called@255 > called{closure}@256 > item@40 > Forever
pub async fn called() {
    let kept = opaque(2);
    let inner = async move |value: u64| {
        opaque(item(value + kept).await) //@256
    };
    opaque(inner(1).await); //@255
}

//= taken_closure: taken_closure@257 > applies@258 > taken_closure{closure}@259 > item@40 > Forever
pub async fn taken_closure() {
    opaque(
        applies(async |value| item(value).await + 1) //@259
            .await, //@257
    );
}

async fn applies(function: impl AsyncFn(u64) -> u64) -> u64 {
    function(opaque(1)).await + 1 //@258
}

//= in_arm: in_arm@260 > in_arm{block}@261 > item@40 > Forever
pub async fn in_arm() {
    let value = match opaque(Some(3)) {
        Some(value) => async move {
            item(value).await + 1 //@261
        }
        .await, //@260
        None => 0,
    };
    opaque(value);
}

//= in_loop: in_loop@262 > in_loop{block}@263 > item@40 > Forever
pub async fn in_loop() {
    for turn in 0..3 {
        let inner = async move {
            if opaque(turn) == 2 {
                item(turn).await; //@263
            }
        };
        inner.await; //@262
    }
}

struct Holder(u64);

impl Holder {
    async fn reads(&self) -> u64 {
        item(self.0).await + self.0 //@264
    }

    fn boxed(&self) -> Pin<Box<dyn Future<Output = u64> + Send + '_>> {
        Box::pin(self.reads())
    }
}

//= temporary: temporary@265 > reads@264 > item@40 > Forever
pub async fn temporary() {
    opaque(Holder(opaque(3)).reads().await + opaque(String::from("x")).len() as u64); //@265
}

//= method_box: method_box@266 > reads@264 > item@40 > Forever
pub async fn method_box() {
    opaque(Holder(opaque(3)).boxed().await); //@266
}

trait Reader {
    async fn value(&self) -> u64;
}

impl Reader for Holder {
    async fn value(&self) -> u64 {
        item(self.0).await //@267
    }
}

//= in_trait: in_trait@268 > value@267 > item@40 > Forever
pub async fn in_trait() {
    opaque(Holder(3).value().await); //@268
}

fn hidden(value: u64) -> impl Future<Output = u64> {
    async move {
        item(value).await //@269
    }
}

//= opaque_type: opaque_type@270 > hidden{block}@269 > item@40 > Forever
pub async fn opaque_type() {
    opaque(hidden(1).await); //@270
}

//= in_condition: in_condition@271 > item@40 > Forever
pub async fn in_condition() {
    if item(1).await > 3 { //@271
        opaque(1);
    }
}

//= in_argument: in_argument@272 > item@40 > Forever
pub async fn in_argument() {
    opaque([opaque(1), item(2).await, opaque(3)]); //@272
}

//= by_mut: by_mut@273 > item@40 > Forever
pub async fn by_mut() {
    let mut one = Box::pin(item(1));
    let again = &mut one;
    opaque(again.await); //@273
}

//= dyn_mut: dyn_mut@274 > item@40 > Forever
pub async fn dyn_mut() {
    let mut one = std::pin::pin!(item(1));
    let again: Pin<&mut (dyn Future<Output = u64> + Send)> = one.as_mut();
    opaque(again.await); //@274
}

//= box_in_box: box_in_box@275 > item@40 > Forever
pub async fn box_in_box() {
    let one: Box<dyn Future<Output = u64> + Send + Unpin> = Box::new(Box::pin(item(1)));
    opaque(one.await); //@275
}

async fn down(level: u64) -> u64 {
    if level == 0 {
        return Forever.await; //@276
    }
    Box::pin(down(level - 1)).await //@277
}

//= recursive_fn: recursive_fn@278 > down@277 > down@277 > down@276 > Forever
pub async fn recursive_fn() {
    opaque(sendable(down(2)).await); //@278
}

fn sendable(future: impl Future<Output = u64> + Send + 'static) -> Pin<Box<dyn Future<Output = u64> + Send>> {
    Box::pin(future)
}
