//! Async functions of all sorts, one statement a line, to be built with and without debug information, and changed.
use std::future::Future;
use std::hint::black_box;
use std::pin::{pin, Pin};
use std::task::{Context, Poll, Waker};

#[derive(Default)]
struct Yield(bool);

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

/// Keeps a future's poll from being inlined.
struct Apart<F>(F);

impl<F: Future> Future for Apart<F> {
    type Output = F::Output;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let poll: fn(Pin<&mut F>, &mut Context<'_>) -> Poll<F::Output> = black_box(F::poll);
        poll(unsafe { Pin::new_unchecked(&mut self.get_unchecked_mut().0) }, context)
    }
}

async fn first(count: u64) -> u64 {
    let mut sum = 0;
    for step in 0..count {
        Yield::default().await;
        sum += black_box(step);
    }
    sum
}

async fn inlined(name: &str) -> usize {
    let text = black_box(name).to_string();
    Yield::default().await;
    text.len()
}

async fn second(name: &str) -> u64 {
    let length = inlined(name).await;
    let sum = Apart(first(3)).await;
    sum + length as u64
}

fn main() {
    let name = std::env::args().next().unwrap();
    let mut future = pin!(Apart(last(&name)));
    let mut context = Context::from_waker(Waker::noop());
    while future.as_mut().poll(&mut context).is_pending() {}
}

async fn last(name: &str) {
    let sum = Apart(second(name)).await;
    println!("{sum}");
    Yield::default().await;
}
