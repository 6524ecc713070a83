//! Hand-written futures whose number of polls is known exactly, whoever wakes them and however often.

use crate::{begin, Outcome};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Is Ready at its `polls`-th poll, Pending before.  Every eighth Pending sleeps by `pause`, the others wake at once.
/// Each poll is recorded at `place`.  It counts its polls itself, so a spurious wake does not change their number.
pub struct Leaf<S> {
    place: u32,
    instance: u32,
    left: u32,
    pause: fn() -> S,
    sleep: Option<Pin<Box<S>>>,
}

impl<S: Future> Leaf<S> {
    pub fn new(place: u32, instance: u32, polls: u32, pause: fn() -> S) -> Self {
        Leaf { place, instance, left: polls, pause, sleep: None }
    }

    /// Returns Pending having made sure of a wake.
    fn suspend(&mut self, context: &mut Context<'_>) -> Poll<u64> {
        if self.left % 8 == 3 {
            let mut sleep = Box::pin((self.pause)());
            if sleep.as_mut().poll(context).is_ready() {
                context.waker().wake_by_ref();
            }
            self.sleep = Some(sleep);
        } else {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl<S: Future> Future for Leaf<S> {
    type Output = u64;

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        let segment = begin();
        self.left -= 1;
        let (result, outcome) = if self.left == 0 {
            (Poll::Ready(u64::from(self.instance)), Outcome::Ready)
        } else {
            (self.suspend(context), Outcome::Pending)
        };
        segment.end(self.place, self.instance, std::ptr::addr_of!(*self) as u64, outcome);
        result
    }
}

/// Pending once, with an immediate wake, then Ready.  Not recorded: two polls each.
#[derive(Default)]
pub struct Yield {
    polled: bool,
}

impl Future for Yield {
    type Output = ();

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.polled {
            return Poll::Ready(());
        }
        self.polled = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Keeps the poll of `F` a function of its own in optimised builds, which `#[inline(never)]` on an async fn does not:
/// it is called through a pointer that the optimiser knows nothing about.
pub struct Apart<F>(F);

/// Wraps a future in [`Apart`].
pub fn apart<F: Future>(future: F) -> Apart<F> {
    Apart(future)
}

/// The same value, of which the optimiser knows nothing any more; std::hint::black_box is not in every rustc from 1.63 on.
#[inline]
pub fn opaque<T>(value: T) -> T {
    // Read as memory that somebody else may have written; only the copy is dropped.
    let value = std::mem::ManuallyDrop::new(value);
    unsafe { std::ptr::read_volatile(&*value) }
}

impl<F: Future> Future for Apart<F> {
    type Output = F::Output;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let poll: fn(Pin<&mut F>, &mut Context<'_>) -> Poll<F::Output> = opaque(F::poll);
        // The field is never moved out of a pinned Apart.
        poll(unsafe { Pin::new_unchecked(&mut self.get_unchecked_mut().0) }, context)
    }
}
