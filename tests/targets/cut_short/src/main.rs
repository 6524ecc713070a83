//! Tasks and futures that are dropped before they return: aborted, shut down with the runtime, losers of a select!.

use std::future::pending;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use truth::{apart, Yield};

const ABORTED: u32 = 5;
const SELF_ABORTED: u32 = 3;
const TOO_LATE: u32 = 2;
const SHUT_DOWN: u32 = 7;
const SELECTS: u32 = 11;

static PARKED: AtomicU32 = AtomicU32::new(0);

/// Waits for ever.
async fn parked() {
    PARKED.fetch_add(1, Ordering::Relaxed);
    pending::<()>().await;
}

/// Aborts itself and waits for ever.
async fn self_aborted(own: oneshot::Receiver<AbortHandle>) {
    own.await.unwrap().abort();
    pending::<()>().await;
}

/// Aborts itself and returns all the same.
async fn too_late(own: oneshot::Receiver<AbortHandle>) -> u64 {
    own.await.unwrap().abort();
    1
}

async fn loser() {
    pending::<()>().await;
}

async fn selects() -> u64 {
    for _ in 0..SELECTS {
        tokio::select! {
            biased;
            () = apart(loser()) => unreachable!("it waits for ever"),
            () = Yield::default() => {}
        }
    }
    u64::from(SELECTS)
}

fn wait_until_parked(count: u32) {
    while PARKED.load(Ordering::Relaxed) < count {
        std::thread::yield_now();
    }
}

fn main() {
    let runtime = Builder::new_multi_thread().worker_threads(2).build().unwrap();
    truth::wait_for_go();
    let checksum = runtime.block_on(async {
        let mut sum = 0;
        let aborted: Vec<_> = (0..ABORTED).map(|_| tokio::spawn(apart(parked()))).collect();
        wait_until_parked(ABORTED);
        for task in aborted {
            task.abort();
            sum += u64::from(task.await.unwrap_err().is_cancelled());
        }
        for _ in 0..SELF_ABORTED {
            let (give, own) = oneshot::channel();
            let task = tokio::spawn(apart(self_aborted(own)));
            give.send(task.abort_handle()).unwrap();
            sum += u64::from(task.await.unwrap_err().is_cancelled());
        }
        for _ in 0..TOO_LATE {
            let (give, own) = oneshot::channel();
            let task = tokio::spawn(apart(too_late(own)));
            give.send(task.abort_handle()).unwrap();
            sum += task.await.unwrap();
        }
        sum += tokio::spawn(apart(selects())).await.unwrap();
        for _ in 0..SHUT_DOWN {
            drop(tokio::spawn(apart(parked())));
        }
        wait_until_parked(ABORTED + SHUT_DOWN);
        sum
    });
    drop(runtime);
    // How often the tasks that abort themselves are polled depends on who is first.
    let polls = [("cut_short::selects", u64::from(SELECTS + 1)), ("cut_short::loser", u64::from(2 * SELECTS))];
    truth::finish(&[], &polls, checksum);
}
