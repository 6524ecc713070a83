//! The work: a chunk has a fixed seed, and a sum at its end that does not depend on who ran when.

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::{spawn_blocking, JoinSet};
use truth::{apart, Yield};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Plain,
    Churn,
    Panics,
}

const TASKS: u64 = 7;
const TURNS: u64 = 13;
const THREADS: u64 = 3;

/// How often a chunk polls each function.
pub fn polls(kind: Kind) -> Vec<(&'static str, u64)> {
    let runs = if kind == Kind::Churn { THREADS } else { 1 };
    let turns = runs * TASKS * TURNS;
    let mut polls = vec![
        ("endure::work::turns", turns + runs * TASKS),
        ("endure::work::turn", 2 * turns),
        ("endure::work::step", 2 * turns),
        ("truth::future::Yield", 2 * turns),
    ];
    if kind == Kind::Panics {
        polls.extend([("endure::work::burst", turns), ("endure::work::fuse", turns)]);
    }
    polls
}

async fn step(value: u64) -> u64 {
    Yield::default().await;
    value.rotate_left(7) ^ 0x9e37_79b9_7f4a_7c15
}

async fn turn(value: u64) -> u64 {
    apart(step(value)).await.wrapping_mul(0x0100_0000_01b3)
}

async fn turns(seed: u64) -> u64 {
    let mut value = seed;
    for _ in 0..TURNS {
        value = apart(turn(value)).await;
    }
    value
}

async fn fuse(value: u64) -> u64 {
    panic!("{value}");
}

async fn burst(value: u64) -> u64 {
    apart(fuse(value)).await + 1
}

/// Beside what is counted: a channel, a lock and jobs, whose polls depend on the schedule, and whose sum does not.
async fn uncounted() -> u64 {
    let (sender, mut receiver) = unbounded_channel();
    for number in 0..TASKS {
        let sender = sender.clone();
        tokio::spawn(async move {
            let value = spawn_blocking(move || number * number).await.unwrap();
            sender.send(value).unwrap();
        });
    }
    drop(sender);
    let mut sum = 0;
    while let Some(value) = receiver.recv().await {
        sum += value;
    }
    sum
}

async fn all(kind: Kind) -> u64 {
    let mut set = JoinSet::new();
    for seed in 0..TASKS {
        set.spawn(apart(turns(seed)));
    }
    let mut sum = 0_u64;
    if kind == Kind::Panics {
        for value in 0..TASKS * TURNS {
            let message = tokio::spawn(apart(burst(value))).await.unwrap_err().into_panic();
            sum += message.downcast::<String>().unwrap().parse::<u64>().unwrap();
        }
    }
    while let Some(value) = set.join_next().await {
        sum = sum.wrapping_add(value.unwrap());
    }
    sum.wrapping_add(uncounted().await)
}

/// Short enough for JSON's numbers.
fn shortened(sum: u64) -> u64 {
    sum % 4_294_967_291
}

pub struct Work {
    kind: Kind,
    runtime: Option<Runtime>,
}

impl Work {
    pub fn new(kind: Kind) -> Self {
        let lasts = kind != Kind::Churn;
        let runtime = lasts.then(|| Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap());
        Work { kind, runtime }
    }

    pub fn chunk(&mut self) -> u64 {
        let kind = self.kind;
        let Some(runtime) = &self.runtime else { return churn() };
        shortened(runtime.block_on(all(kind)))
    }
}

fn churn() -> u64 {
    let alone = || Builder::new_current_thread().build().unwrap().block_on(all(Kind::Churn));
    let threads: Vec<_> = (0..THREADS).map(|_| std::thread::spawn(alone)).collect();
    shortened(threads.into_iter().fold(0_u64, |sum, thread| sum.wrapping_add(thread.join().unwrap())))
}
