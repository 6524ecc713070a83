//! A thousand tasks, most of them one after the other, so that their memory is used again and again.

use std::sync::atomic::{AtomicU32, Ordering};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use truth::{apart, Yield};

/// How many tasks of each kind, and the polls of each.
const ONCE: (u32, u32) = (613, 1);
const TWICE: (u32, u32) = (317, 2);
const THRICE: (u32, u32) = (67, 3);
const KEPT: (u32, u32) = (3, 2);

static KEPT_BEGUN: AtomicU32 = AtomicU32::new(0);

async fn once(instance: u32) -> u64 {
    u64::from(std::hint::black_box(instance))
}

async fn twice(instance: u32) -> u64 {
    Yield::default().await;
    u64::from(instance)
}

async fn thrice(instance: u32) -> u64 {
    Yield::default().await;
    Yield::default().await;
    u64::from(instance)
}

/// Lives as long as all the others.
async fn kept(end: oneshot::Receiver<u64>) -> u64 {
    KEPT_BEGUN.fetch_add(1, Ordering::Relaxed);
    end.await.unwrap()
}

fn main() {
    let runtime = Builder::new_multi_thread().worker_threads(2).build().unwrap();
    truth::wait_for_go();
    let checksum = runtime.block_on(async {
        let mut sum = 0;
        let mut ends = Vec::new();
        for _ in 0..KEPT.0 {
            let (end, ended) = oneshot::channel();
            ends.push((end, tokio::spawn(apart(kept(ended)))));
        }
        while KEPT_BEGUN.load(Ordering::Relaxed) < KEPT.0 {
            std::thread::yield_now();
        }
        for instance in 0..ONCE.0 {
            sum += tokio::spawn(apart(once(instance))).await.unwrap();
            if instance < TWICE.0 {
                sum += tokio::spawn(apart(twice(instance))).await.unwrap();
            }
            if instance < THRICE.0 {
                sum += tokio::spawn(apart(thrice(instance))).await.unwrap();
            }
        }
        for (end, task) in ends {
            end.send(1).unwrap();
            sum += task.await.unwrap();
        }
        sum
    });
    drop(runtime);
    let tasks: u32 = [ONCE, TWICE, THRICE, KEPT].iter().map(|&(tasks, polls)| tasks * polls).sum();
    truth::finish(&[], &[("task", u64::from(tasks))], checksum);
}
