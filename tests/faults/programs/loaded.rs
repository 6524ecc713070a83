//! A shared library with futures of its own, and an executor.

use std::future::Future;
use std::pin::{pin, Pin};
use std::task::{Context, Poll, Waker};

struct Yield(bool);

impl Future for Yield {
    type Output = ();

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.0 {
            return Poll::Ready(());
        }
        self.0 = true;
        Poll::Pending
    }
}

async fn turns(count: u64) -> u64 {
    let mut sum = 0;
    for number in 0..count {
        Yield(false).await;
        sum += number;
    }
    sum
}

/// 0 + 1 + … + (count - 1), by as many awaits.
#[no_mangle]
pub extern "C" fn work(count: u64) -> u64 {
    let mut future = pin!(turns(count));
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(sum) = future.as_mut().poll(&mut context) {
            return sum;
        }
    }
}
