//! A task in each state that a task can be in; its only worker never gets further than one of them.

use parked::{opaque, Forever};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::Notify;

static RUNS: AtomicBool = AtomicBool::new(false);

async fn completes() -> u64 {
    opaque(1)
}

/// Nobody has its handle.
async fn is_gone() {
    opaque(1);
}

async fn waits() {
    opaque(Forever.await);
}

async fn is_woken(notify: Arc<Notify>) {
    notify.notified().await;
    opaque(1);
}

async fn is_aborted() {
    opaque(Forever.await);
}

async fn is_new() {
    opaque(Forever.await);
}

async fn runs() {
    RUNS.store(true, SeqCst);
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

pub fn run() {
    let build = Builder::new_multi_thread().worker_threads(1).thread_name("only-worker").enable_all().build();
    let runtime = build.unwrap();
    let notify = Arc::new(Notify::new());
    let complete = runtime.spawn(completes());
    runtime.spawn(is_gone());
    runtime.spawn(waits());
    runtime.spawn(is_woken(notify.clone()));
    let aborted = runtime.spawn(is_aborted());
    std::thread::sleep(Duration::from_millis(100));
    runtime.spawn(runs());
    while !RUNS.load(SeqCst) {
        std::thread::sleep(Duration::from_millis(1));
    }
    notify.notify_one();
    aborted.abort();
    runtime.spawn(is_new());
    truth::ready("");
    parked::until_input_ends();
    drop(complete);
    std::process::exit(0);
}
