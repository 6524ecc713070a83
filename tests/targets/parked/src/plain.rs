//! One future below the other.

use crate::{opaque, Forever};
use async_trait::async_trait;
use std::future::{poll_fn, Future};
use std::pin::{pin, Pin};
use std::task::{Context, Poll};

//= sum: sum@1 > Forever
pub async fn sum() {
    let before = opaque(1);
    let value = Forever.await; //@1
    opaque(before + value);
}

async fn third(value: u64) -> u64 {
    Forever.await + value //@2
}

async fn second(value: u64) -> u64 {
    let kept = opaque([value; 4]);
    let value = third(value).await; //@3
    value + kept[1]
}

async fn first(value: u64) -> u64 {
    second(opaque(value)).await + 1 //@4
}

//= nested: nested@5 > first@4 > second@3 > third@2 > Forever
pub async fn nested() {
    opaque(first(1).await); //@5
}

//= later: later@7 > Forever
pub async fn later() {
    for _ in 0..3 {
        std::future::ready(()).await;
    }
    std::future::ready(opaque(1)).await;
    Forever.await; //@7
}

async fn carry<T: Copy>(value: T) -> T {
    Forever.await; //@8
    opaque(value)
}

//= carries_byte: carries_byte@9 > carry@8 > Forever
pub async fn carries_byte() {
    opaque(carry(1_u8).await); //@9
}

//= carries_long: carries_long@10 > carry@8 > Forever
pub async fn carries_long() {
    opaque(carry([1_u64; 9]).await); //@10
}

fn deeper(level: u64) -> Pin<Box<dyn Future<Output = u64> + Send>> {
    Box::pin(async move {
        if level == 0 {
            return Forever.await; //@11
        }
        deeper(level - 1).await + 1 //@12
    })
}

//= recursion: recursion@13 > deeper{block}@12 > deeper{block}@12 > deeper{block}@12 > deeper{block}@11 > Forever
pub async fn recursion() {
    opaque(deeper(3).await); //@13
}

//= block: block@14 > block{block}@15 > Forever
pub async fn block() {
    let kept = opaque(3);
    let inner = async {
        Forever.await + kept //@15
    };
    opaque(inner.await); //@14
}

//= boxed: boxed@16 > third@2 > Forever
pub async fn boxed() {
    let inner: Pin<Box<dyn Future<Output = u64> + Send>> = Box::pin(third(5));
    opaque(inner.await); //@16
}

//= boxed_sized: boxed_sized@17 > third@2 > Forever
pub async fn boxed_sized() {
    opaque(Box::pin(third(5)).await); //@17
}

//= pinned: pinned@18 > third@2 > Forever
pub async fn pinned() {
    let mut inner = pin!(third(6));
    opaque(inner.as_mut().await); //@18
}

#[async_trait]
trait Shop: Send + Sync {
    async fn price(&self) -> u64;
}

struct Corner(u64);

#[async_trait]
impl Shop for Corner {
    async fn price(&self) -> u64 {
        Forever.await + self.0 //@19
    }
}

//= traits: traits@20 > price{block}@19 > Forever
pub async fn traits() {
    let shop: Box<dyn Shop> = Box::new(Corner(7));
    opaque(shop.price().await); //@20
}

/// Written by hand, around another future.
struct Around<F>(Pin<Box<F>>);

impl<F: Future<Output = u64>> Future for Around<F> {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        self.0.as_mut().poll(context)
    }
}

//= around: around@21 > Around > third@2 > Forever
pub async fn around() {
    opaque(Around(Box::pin(third(8))).await); //@21
}

//= by_closure: by_closure@22 > PollFn
pub async fn by_closure() {
    let mut polls = 0_u64;
    poll_fn(|_| {
        polls = opaque(polls + 1);
        Poll::<()>::Pending
    })
    .await; //@22
}

//= large: large@23 > Forever
pub async fn large() {
    let field = opaque([1_u64; 3000]);
    Forever.await; //@23
    opaque(field);
}

macro_rules! ask {
    ($future:expr) => {
        $future.await
    };
}

//= in_own_macro: in_own_macro@! > third@2 > Forever
pub async fn in_own_macro() {
    opaque(ask!(third(9)));
}

//= decides: decides@24 > third@2 > Forever
pub async fn decides() {
    match opaque(2) {
        1 => opaque(second(1).await),
        _ => {
            opaque(third(1).await) //@24
        }
    };
}

async fn fails() -> Result<u64, String> {
    let value = opaque(Ok::<u64, String>(1))?;
    Ok(Forever.await + value) //@25
}

//= question: question@27 > question{block}@26 > fails@25 > Forever
pub async fn question() {
    let inner = async {
        fails().await?; //@26
        Ok::<(), String>(())
    };
    opaque(inner.await.is_ok()); //@27
}

//= closure: closure@28 > closure{closure}@29 > Forever
pub async fn closure() {
    let kept = opaque(5);
    let inner = async |value: u64| {
        Forever.await + value + kept //@29
    };
    opaque(inner(1).await); //@28
}
