//! Tasks and what they spawn.

use crate::plain::brief;
use crate::{Handle, Runtime};
use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;
use truth::{here, watch, Yield};

const TASKS: u64 = 23;
const POLLS: u64 = 47;
const SHORT: u64 = 1000;
const TURNS: u64 = 300;

async fn steps<R: Runtime>(number: u64) -> u64 {
    if let Some(id) = R::task_id() {
        truth::task_id(id);
    }
    for _ in 1..POLLS {
        here(Yield::default()).await;
    }
    number
}

pub async fn many<R: Runtime>() -> u64 {
    let tasks: Vec<_> = (0..TASKS).map(|number| R::spawn(watch(steps::<R>(number)).spawned())).collect();
    let mut sum = 0;
    for task in tasks {
        sum += here(task.join()).await.unwrap();
    }
    sum
}

async fn blink(number: u64) -> u64 {
    if number % 2 == 0 {
        here(Yield::default()).await;
    }
    number
}

pub async fn short<R: Runtime>() -> u64 {
    let tasks: Vec<_> = (0..SHORT).map(|number| R::spawn(watch(blink(number)).spawned())).collect();
    let mut sum = 0;
    for task in tasks {
        sum += here(task.join()).await.unwrap();
    }
    sum
}

async fn grandchild() -> u64 {
    here(watch(brief(3))).await
}

async fn child<R: Runtime>() -> u64 {
    let task = R::spawn(watch(grandchild()).spawned());
    here(task.join()).await.unwrap()
}

pub async fn spawning<R: Runtime>() -> u64 {
    let first = R::spawn(watch(child::<R>()).spawned());
    let second = R::spawn(watch(child::<R>()).spawned());
    here(first.join()).await.unwrap() + here(second.join()).await.unwrap()
}

/// Pending once; the wake comes from a thread outside of the runtime.
#[derive(Default)]
struct FromOutside {
    polled: bool,
}

impl Future for FromOutside {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.polled {
            return Poll::Ready(());
        }
        self.polled = true;
        let waker = context.waker().clone();
        thread::spawn(move || {
            thread::sleep(Duration::from_micros(300));
            waker.wake();
        });
        Poll::Pending
    }
}

/// Keeps a worker busy.
async fn hogging() {
    thread::sleep(Duration::from_millis(2));
}

/// Awaits until two threads have polled it.
async fn restless<R: Runtime>() -> usize {
    let mut threads = HashSet::new();
    for _ in 0..TURNS {
        threads.insert(thread::current().id());
        if threads.len() > 1 || !R::has_workers() {
            break;
        }
        let hog = R::spawn(watch(hogging()).spawned());
        here(FromOutside::default()).await;
        threads.insert(thread::current().id());
        here(hog.join()).await;
    }
    threads.len()
}

pub async fn wandering<R: Runtime>() -> usize {
    here(R::spawn(watch(restless::<R>()).spawned()).join()).await.unwrap()
}

pub async fn blocking<R: Runtime>() -> u64 {
    here(R::blocking(|| 7)).await + here(R::blocking(|| 8)).await
}
