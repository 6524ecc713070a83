//! Polls as fast as it can for some time, and says how often.
//!
//! spin MODE SECONDS [TASKS [WORKERS]]: `nested`, three async fns deep; `called`, the same of futures that are called
//! directly, not through a pointer; or `bare`, where only the task is polled.

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use truth::{apart, Yield};

/// Polls between two looks at the clock.
const ROUND: u64 = 64;

async fn inner(value: u64) -> u64 {
    Yield::default().await;
    black_box(value) ^ 1
}

async fn middle(value: u64) -> u64 {
    apart(inner(value)).await.wrapping_add(1)
}

async fn outer(value: u64) -> u64 {
    apart(middle(value)).await.wrapping_mul(3)
}

/// Returns how many times it awaited `outer`: the task is polled once more, each function below it twice each time.
async fn nested(deadline: Instant) -> u64 {
    let (mut value, mut rounds) = (0, 0);
    while Instant::now() < deadline {
        for _ in 0..ROUND {
            value = apart(outer(value)).await;
        }
        rounds += 1;
    }
    black_box(value);
    rounds * ROUND
}

/// Polls the one inside, and is no part of its caller.
struct Called<F>(F);

impl<F: Future> Future for Called<F> {
    type Output = F::Output;

    #[inline(never)]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        unsafe { self.map_unchecked_mut(|called| &mut called.0) }.poll(context)
    }
}

/// As `nested`.
async fn called(deadline: Instant) -> u64 {
    let (mut value, mut rounds) = (0, 0);
    while Instant::now() < deadline {
        for _ in 0..ROUND {
            value = Called(async {
                let middle = Called(async { black_box(Called(plain(value)).await).wrapping_add(1) });
                black_box(middle.await).wrapping_mul(3)
            })
            .await;
        }
        rounds += 1;
    }
    black_box(value);
    rounds * ROUND
}

async fn plain(value: u64) -> u64 {
    Yield::default().await;
    black_box(value) ^ 1
}

/// Returns how many times it was polled, not counting the last poll.
async fn bare(deadline: Instant) -> u64 {
    let mut polls = 0;
    std::future::poll_fn(move |context| {
        if polls % ROUND == 0 && Instant::now() >= deadline {
            return Poll::Ready(polls);
        }
        polls += 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |index: usize, otherwise: u32| arguments.get(index).map_or(otherwise, |text| text.parse().unwrap());
    let mode = arguments[1].as_str();
    let seconds: f64 = arguments[2].parse().unwrap();
    let tasks = number(3, 4);
    let runtime = Builder::new_multi_thread().worker_threads(number(4, 2) as usize).build().unwrap();
    truth::wait_for_go();
    let deadline = Instant::now() + Duration::from_secs_f64(seconds);
    let turns: u64 = runtime.block_on(async {
        let mut set = JoinSet::new();
        for _ in 0..tasks {
            match mode {
                "nested" => set.spawn(nested(deadline)),
                "called" => set.spawn(called(deadline)),
                "bare" => set.spawn(bare(deadline)),
                _ => panic!("no mode {mode}"),
            };
        }
        set.join_all().await.iter().sum()
    });
    drop(runtime);
    let task_polls = turns + u64::from(tasks);
    match mode {
        "bare" => truth::finish(&[], &[("task", task_polls)], turns),
        "called" => {
            let polls = [
                ("spin::Called", 6 * turns),
                ("truth::future::Yield", 2 * turns),
                ("spin::called", task_polls),
                ("task", task_polls),
            ];
            truth::finish(&[], &polls, turns);
        }
        _ => {
            let below = ["spin::outer", "spin::middle", "spin::inner", "truth::future::Yield"];
            let mut polls: Vec<(&str, u64)> = below.iter().map(|&name| (name, 2 * turns)).collect();
            polls.extend([("spin::nested", task_polls), ("task", task_polls)]);
            truth::finish(&[], &polls, turns);
        }
    }
}
