//! Hand-written futures.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Is Ready at its `left`-th poll; wakes at once before.
pub struct Turns {
    left: u64,
}

impl Turns {
    pub fn new(polls: u64) -> Self {
        Turns { left: polls }
    }
}

impl Future for Turns {
    type Output = u64;

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        self.left -= 1;
        if self.left == 0 {
            return Poll::Ready(7);
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Polls a future one time, whatever comes of it.
pub struct Once<'a, F>(Pin<&'a mut F>);

pub fn once<F: Future>(future: Pin<&mut F>) -> Once<'_, F> {
    Once(future)
}

impl<F: Future> Future for Once<'_, F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let _ = self.0.as_mut().poll(context);
        Poll::Ready(())
    }
}

/// The end of a task; None when it panicked, which async-task hands on to whoever awaits it.
pub struct Joined<F>(pub F);

impl<F: Future + Unpin> Future for Joined<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<F::Output>> {
        match std::panic::catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.0).poll(context))) {
            Ok(result) => result.map(Some),
            Err(_) => Poll::Ready(None),
        }
    }
}
