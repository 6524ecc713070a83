//! Polls a future of its own for as long as it lives: no runtime that is known.

use std::future::Future;
use std::pin::{pin, Pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

#[derive(Default)]
struct Turn(bool);

impl Future for Turn {
    type Output = ();

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        self.0 = !self.0;
        if self.0 {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}

async fn turns() {
    loop {
        Turn::default().await;
    }
}

fn main() {
    println!("ready {{}}");
    let mut future = pin!(turns());
    while future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
        std::thread::sleep(Duration::from_millis(10));
    }
}
