//! Faults that are the same on every runtime.  The line to be found is the one below `// FAULT: name`.

use std::future::{poll_fn, Future};
use std::io::Write;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Tells the test when a fault was there.
pub fn told(begin: u64) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{{\"begin\": {begin}, \"end\": {}}}", truth::now()).unwrap();
    out.flush().unwrap();
}

// FAULT: long-poll-sleep
pub async fn sleep_in_task() {
    let begin = truth::now();
    // BLOCKS: long-poll-sleep
    std::thread::sleep(Duration::from_millis(40));
    told(begin);
}

pub async fn look_again(flag: Arc<AtomicBool>) {
    loop {
        poll_fn(|context| {
            if flag.swap(false, Ordering::Relaxed) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        // FAULT: busy-loop
        .await;
    }
}

/// Does not keep the waker that it is given.
struct Forgetful(Arc<AtomicBool>);

impl Future for Forgetful {
    type Output = ();

    #[inline(never)]
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.0.load(Ordering::Relaxed) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

pub async fn waits_for_flag(flag: Arc<AtomicBool>) {
    // FAULT: lost-wake
    Forgetful(flag).await;
}

// FAULT: task-leak
pub async fn session(closed: impl Future) {
    closed.await;
}
