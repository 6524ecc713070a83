//! On smol, whose timers have a thread of their own.

use std::future::Future;
use std::time::Duration;

struct Smol;

impl wakes::Runtime for Smol {
    fn spawn(future: impl Future<Output = ()> + Send + 'static) -> impl Future<Output = ()> + Send {
        smol::spawn(future)
    }

    async fn sleep(duration: Duration) {
        smol::Timer::after(duration).await;
    }
}

fn main() {
    wakes::wait_for_go();
    smol::block_on(wakes::all::<Smol>());
}
