//! The faults of `trouble` that are the same on smol, and a program without any: trouble_smol FAULT.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;
use truth::apart;

async fn pause(ms: u64) {
    smol::Timer::after(Duration::from_millis(ms)).await;
}

async fn ticking() {
    loop {
        pause(5).await;
    }
}

async fn sleeping() {
    loop {
        for _ in 0..20 {
            pause(5).await;
        }
        apart(faults::sleep_in_task()).await;
    }
}

async fn looping() {
    let flag = Arc::new(AtomicBool::new(false));
    smol::spawn(apart(faults::look_again(flag.clone()))).detach();
    loop {
        pause(400).await;
        flag.store(true, Ordering::Relaxed);
    }
}

async fn forgetting() {
    let flag = Arc::new(AtomicBool::new(false));
    let waiting = smol::spawn(faults::waits_for_flag(flag.clone()));
    pause(100).await;
    flag.store(true, Ordering::Relaxed);
    waiting.await;
}

async fn leaking() {
    let mut never_used = Vec::new();
    loop {
        let (sender, receiver) = smol::channel::bounded::<()>(1);
        never_used.push(sender);
        smol::spawn(faults::session(async move { receiver.recv().await })).detach();
        pause(15).await;
    }
}

type Store = Arc<smol::lock::Mutex<u64>>;

async fn refresh(store: Store) {
    loop {
        let mut item = store.lock().await;
        // FAULT: held-lock
        pause(30).await;
        *item += 1;
        drop(item);
        pause(7).await;
    }
}

async fn look_up(store: Store) {
    loop {
        let found = *store.lock().await;
        pause(3 + found % 2).await;
    }
}

async fn holding() {
    let store = Store::default();
    smol::spawn(refresh(store.clone())).detach();
    for _ in 0..3 {
        smol::spawn(look_up(store.clone())).detach();
    }
}

async fn echo(requests: smol::channel::Receiver<u64>, answers: smol::channel::Sender<u64>) {
    while let Ok(request) = requests.recv().await {
        let answer = smol::unblock(move || request.rotate_left(1)).await;
        let _ = answers.send(answer).await;
    }
}

/// Requests and answers, tasks that come and go, a job now and then.
async fn clean() {
    let (ask, requests) = smol::channel::bounded(4);
    let (answer, answers) = smol::channel::bounded(4);
    smol::spawn(echo(requests, answer)).detach();
    let mut number = 0;
    loop {
        ask.send(number).await.unwrap();
        number = answers.recv().await.unwrap() + 1;
        smol::future::or(pause(50), smol::spawn(pause(number % 3))).await;
        pause(4).await;
    }
}

fn main() {
    let fault = std::env::args().nth(1).expect("trouble_smol FAULT");
    truth::wait_for_go();
    smol::spawn(ticking()).detach();
    match fault.as_str() {
        "clean" => smol::spawn(clean()).detach(),
        "long-poll-sleep" => smol::spawn(sleeping()).detach(),
        "busy-loop" => smol::spawn(looping()).detach(),
        "lost-wake" => smol::spawn(forgetting()).detach(),
        "task-leak" => smol::spawn(leaking()).detach(),
        "held-lock" => smol::spawn(holding()).detach(),
        other => panic!("no such fault: {other}"),
    }
    smol::block_on(std::future::pending())
}
