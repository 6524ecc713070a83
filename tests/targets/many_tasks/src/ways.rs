//! The ways to wait.  Each wait is entered on the line before it: `line!() + 1` is the line of its await.

use crate::Places;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, Mutex};
use tokio::time::sleep;
use truth::opaque;

/// What a task needs to tell where it is.
#[derive(Clone)]
struct At {
    places: Arc<Places>,
    task: usize,
}

impl At {
    fn enter(&self, line: u32) {
        self.places.enter(self.task, line);
    }

    fn leave(&self) {
        self.places.leave(self.task);
    }

    /// A time that differs from task to task and from turn to turn, `mean` on average.
    fn time(&self, turn: u64, mean: u64) -> Duration {
        let mixed = (self.task as u64 * 7919 + turn * 104_729) % 1_009;
        Duration::from_micros(mean * 1000 / 2 + mean * mixed * 1000 / 1_009)
    }
}

async fn deeper(at: &At, turn: u64) {
    at.enter(line!() + 1);
    sleep(at.time(turn, 60)).await;
    at.leave();
}

async fn nested(at: At) {
    for turn in 0.. {
        deeper(&at, turn).await;
        at.enter(line!() + 1);
        sleep(at.time(turn, 120)).await;
        at.leave();
    }
}

fn behind(at: &At, turn: u64) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        at.enter(line!() + 1);
        sleep(at.time(turn, 200)).await;
        at.leave();
    })
}

async fn boxed(at: At) {
    for turn in 0.. {
        opaque(behind(&at, turn)).await;
    }
}

const JOINED: u32 = line!() + 1;
async fn joined(at: At) {
    for turn in 0.. {
        at.enter(JOINED);
        tokio::join!(sleep(at.time(turn, 80)), sleep(at.time(turn + 7, 80)));
        at.leave();
    }
}

async fn locking(at: At, lock: Arc<Mutex<u64>>) {
    for turn in 0.. {
        at.enter(line!() + 1);
        let mut held = lock.lock().await;
        at.leave();
        *held += turn;
        at.enter(line!() + 1);
        sleep(at.time(turn, 10)).await;
        at.leave();
    }
}

async fn receiving(at: At, mut receiver: mpsc::Receiver<u64>) {
    loop {
        at.enter(line!() + 1);
        let value = receiver.recv().await;
        at.leave();
        opaque(value);
    }
}

async fn sending(at: At, sender: mpsc::Sender<u64>) {
    for turn in 0.. {
        at.enter(line!() + 1);
        sleep(at.time(turn, 150)).await;
        at.leave();
        let _ = sender.send(turn).await;
    }
}

async fn gathering(at: At) {
    for turn in 0.. {
        let mut several: FuturesUnordered<_> = (0..3).map(|one| sleep(at.time(turn + one, 90))).collect();
        loop {
            at.enter(line!() + 1);
            let next = several.next().await;
            at.leave();
            if next.is_none() {
                break;
            }
        }
    }
}

/// A task of its own for each wait: they come and go.
async fn brief(at: At, turn: u64) {
    at.enter(line!() + 1);
    sleep(at.time(turn, 40)).await;
    at.leave();
}

async fn starting(at: At) {
    for turn in 0.. {
        let _ = tokio::spawn(brief(at.clone(), turn)).await;
    }
}

async fn working(at: At) {
    for turn in 0.. {
        at.enter(line!() + 1);
        sleep(at.time(turn, 100)).await;
        at.leave();
        let until = Instant::now() + Duration::from_micros(20);
        while Instant::now() < until {}
    }
}

pub async fn spawn_all(count: usize, places: Arc<Places>) {
    let mut lock: Arc<Mutex<u64>> = Arc::default();
    let mut pair = None;
    for task in 0..count {
        let at = At { places: places.clone(), task };
        match task % 10 {
            0 | 1 => drop(tokio::spawn(nested(at))),
            2 => drop(tokio::spawn(boxed(at))),
            3 => drop(tokio::spawn(joined(at))),
            4 | 5 => {
                if task % 40 == 4 {
                    lock = Arc::default();
                }
                tokio::spawn(locking(at, lock.clone()));
            }
            6 => {
                let (sender, receiver) = mpsc::channel(8);
                pair = Some(sender);
                tokio::spawn(receiving(at, receiver));
            }
            7 => drop(tokio::spawn(sending(at, pair.take().unwrap()))),
            8 if task % 20 == 8 => drop(tokio::spawn(gathering(at))),
            8 => drop(tokio::spawn(starting(at))),
            _ => drop(tokio::spawn(working(at))),
        }
    }
}
