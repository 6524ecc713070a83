//! Polls that keep their thread.

use crate::{current, pause, spin};
use faults::{sleep_in_task, told};
use std::sync::mpsc::{channel, Receiver};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use truth::apart;

// FAULT: long-poll-spin
async fn compute_in_task() {
    let begin = truth::now();
    spin(60);
    told(begin);
}

// FAULT: long-poll-lock
async fn lock_in_task(lock: Arc<Mutex<u64>>) {
    let begin = truth::now();
    // BLOCKS: long-poll-lock
    *lock.lock().unwrap() += 1;
    told(begin);
}

/// For something that nobody ever sends.
// FAULT: long-poll-forever
async fn receive_in_task(receiver: Receiver<u64>) {
    // BLOCKS: long-poll-forever
    let _ = receiver.recv();
}

fn compute_for_ever() {
    // FAULT: long-poll-loop
    loop {
        std::hint::black_box(0);
    }
}

async fn loop_in_task() {
    compute_for_ever();
}

async fn bystander() {
    loop {
        pause(3).await;
    }
}

pub async fn sleeping() {
    tokio::spawn(bystander());
    tokio::spawn(async {
        loop {
            for _ in 0..20 {
                pause(5).await;
            }
            apart(sleep_in_task()).await;
        }
    });
    std::future::pending().await
}

pub async fn receiving() {
    let (_sender, receiver) = channel();
    tokio::spawn(bystander());
    tokio::spawn(receive_in_task(receiver));
    std::future::pending().await
}

pub async fn looping() {
    tokio::spawn(bystander());
    tokio::spawn(loop_in_task());
    std::future::pending().await
}

/// The thread that polls the tasks, outside of all tasks.
pub fn blocking_on() {
    current().block_on(async {
        for _ in 0..4 {
            tokio::spawn(bystander());
        }
        loop {
            pause(20).await;
            sleep_in_task().await;
        }
    });
}

/// One worker, which receives; another task is ready by then.
pub fn hanging() {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (_sender, receiver) = channel::<u64>();
    runtime.block_on(async {
        tokio::spawn(async move {
            tokio::spawn(bystander());
            // BLOCKS: hung
            let _ = receiver.recv();
        });
        std::future::pending().await
    })
}

/// Nothing is ever polled again.
pub fn spinning_forever() {
    current().block_on(async {
        tokio::spawn(bystander());
        tokio::spawn(async {
            pause(20).await;
            spin(1_000_000);
        });
        std::future::pending().await
    })
}

pub async fn spinning() {
    tokio::spawn(bystander());
    tokio::spawn(async {
        loop {
            for _ in 0..20 {
                pause(5).await;
            }
            apart(compute_in_task()).await;
        }
    });
    std::future::pending().await
}

/// A thread holds the lock for long, again and again.
pub async fn locking() {
    let lock = Arc::new(Mutex::new(0));
    let other = lock.clone();
    std::thread::spawn(move || loop {
        let held = other.lock().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        drop(held);
        std::thread::sleep(Duration::from_millis(2));
    });
    tokio::spawn(bystander());
    tokio::spawn(async move {
        loop {
            pause(20).await;
            apart(lock_in_task(lock.clone())).await;
        }
    });
    std::future::pending().await
}

/// There are more of these than threads, and their polls are all alike.
// FAULT: starved-by-all
async fn sleep_in_turn() {
    loop {
        pause(5).await;
        std::thread::sleep(Duration::from_millis(40));
    }
}

pub async fn all_alike() {
    for _ in 0..6 {
        tokio::spawn(sleep_in_turn());
    }
    std::future::pending().await
}

// FAULT: starved-tasks
async fn hog() {
    let begin = truth::now();
    spin(60);
    told(begin);
}

async fn victim(mut messages: mpsc::UnboundedReceiver<()>) {
    while messages.recv().await.is_some() {}
}

/// One thread for all tasks; messages come from another.
pub fn starving() {
    current().block_on(async {
        for _ in 0..3 {
            let (sender, receiver) = mpsc::unbounded_channel();
            tokio::spawn(victim(receiver));
            std::thread::spawn(move || loop {
                std::thread::sleep(Duration::from_millis(7));
                let _ = sender.send(());
            });
        }
        tokio::spawn(async {
            loop {
                pause(150).await;
                apart(hog()).await;
            }
        });
        std::future::pending::<()>().await
    });
}
