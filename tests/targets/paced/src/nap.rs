//! A task that blocks its thread again and again, with much on its stack.

use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::Builder;
use truth::opaque;

const NAP: Duration = Duration::from_micros(300);
/// Of KiB on the stack.
const DEPTH: usize = 24;

#[inline(never)]
fn nap(depth: usize) -> usize {
    let kept = opaque([depth as u8; 1024]);
    let mut below = 0;
    if depth == 0 {
        thread::sleep(NAP);
    } else {
        below = nap(depth - 1);
    }
    below + usize::from(opaque(kept)[depth])
}

/// Tells how often it blocked.
pub fn run(length: Duration) {
    let runtime = Builder::new_current_thread().build().unwrap();
    truth::wait_for_go();
    let naps = runtime.block_on(async move {
        let napping = tokio::spawn(async move {
            let began = Instant::now();
            let mut naps = 0u64;
            while began.elapsed() < length {
                opaque(nap(DEPTH));
                naps += 1;
                tokio::task::yield_now().await;
            }
            naps
        });
        napping.await.unwrap()
    });
    println!("{{\"naps\": {naps}}}");
}
