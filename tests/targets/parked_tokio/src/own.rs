//! What only tokio has.

use crate::spawn;
use parked::{opaque, Forever};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, Mutex, Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

const LONG: Duration = Duration::from_secs(3600);

async fn waits(value: u64) -> u64 {
    Forever.await + value //@60
}

async fn naps() -> u64 {
    sleep(LONG).await; //@61
    opaque(1)
}

//= joins_three: joins_three@! > {waits@60 > Forever | naps@61 > Sleep | waits@60 > Forever}
async fn joins_three() {
    opaque(tokio::join!(waits(1), naps(), waits(2)));
}

//= selects: selects@! > {waits@60 > Forever | naps@61 > Sleep}
async fn selects() {
    tokio::select! {
        value = waits(3) => { opaque(value); }
        value = naps() => { opaque(value); }
    }
}

//= selects_again: selects_again@! > {waits@60 > Forever}
async fn selects_again() {
    let mut rest = std::pin::pin!(waits(4));
    for turn in 0..2 {
        tokio::select! {
            biased;
            _ = std::future::ready(()), if opaque(turn) == 0 => {}
            value = &mut rest => { opaque(value); }
        }
    }
}

//= limited: limited@62 > Timeout > waits@60 > Forever
async fn limited() {
    let _ = opaque(timeout(LONG, waits(5)).await); //@62
}

//= ticks: ticks@63 > tick@? > PollFn
async fn ticks() {
    let mut clock = interval(LONG);
    clock.tick().await;
    clock.tick().await; //@63
}

//= receives: receives@64 > recv@? > PollFn
async fn receives(mut receiver: mpsc::Receiver<u64>) {
    opaque(receiver.recv().await); //@64
}

//= asks: asks@65 > Receiver
async fn asks(receiver: oneshot::Receiver<u64>) {
    let _ = opaque(receiver.await); //@65
}

//= notified: notified@66 > Notified
async fn notified(notify: Arc<Notify>) {
    notify.notified().await; //@66
}

//= acquires: acquires@67 > acquire@? > Acquire
async fn acquires(semaphore: Arc<Semaphore>) {
    let _ = opaque(semaphore.acquire().await.is_ok()); //@67
}

//= joins_set: joins_set@68 > join_next@? > PollFn > {JoinHandle | JoinHandle}
async fn joins_set() {
    let mut set = JoinSet::new();
    set.spawn(member());
    set.spawn(member());
    let _ = opaque(set.join_next().await.is_some()); //@68
}

//= member: member@69 > Forever
async fn member() {
    opaque(Forever.await); //@69
}

//= joins_blocking: joins_blocking@70 > JoinHandle
async fn joins_blocking() {
    let job = tokio::task::spawn_blocking(|| std::thread::sleep(LONG));
    let _ = opaque(job.await.is_ok()); //@70
}

//= in_local_set: in_local_set@71 > waits@60 > Forever
pub async fn in_local_set() {
    opaque(waits(7).await); //@71
}

//= kept_on_thread: kept_on_thread@73 > kept_on_thread{block}@74 > Forever
pub async fn kept_on_thread() {
    let kept = std::rc::Rc::new(1_u64);
    let inner: std::pin::Pin<Box<dyn std::future::Future<Output = u64>>> = Box::pin(async move {
        Forever.await + *kept //@74
    });
    opaque(inner.await); //@73
}

/// The root of its runtime: no task.
pub async fn on_one_thread() {
    tokio::spawn(on_one_runtime());
    opaque(Forever.await);
}

//= on_one_runtime: on_one_runtime@72 > naps@61 > Sleep
async fn on_one_runtime() {
    opaque(naps().await); //@72
}

/// Polled all the time, in and out of a box.
pub async fn busy() {
    loop {
        let inner: std::pin::Pin<Box<dyn std::future::Future<Output = ()> + Send>> =
            Box::pin(async { tokio::task::yield_now().await });
        inner.await;
        tokio::task::yield_now().await;
    }
}

pub fn spawn_all() {
    tokio::spawn(joins_three());
    tokio::spawn(selects());
    tokio::spawn(selects_again());
    tokio::spawn(limited());
    tokio::spawn(ticks());
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(receives(receiver));
    let (asked, answer) = oneshot::channel();
    tokio::spawn(asks(answer));
    tokio::spawn(notified(Arc::new(Notify::new())));
    tokio::spawn(acquires(Arc::new(Semaphore::new(0))));
    tokio::spawn(joins_set());
    tokio::spawn(joins_blocking());
    let macros = parked::boxes_of!(crate::macros: one_off leaf_off off_in_biased refused off_in_loop many_off
        select_in_select select_in_join tries_two tries_rest join_in_join borrowed dynamic_branches);
    let waits = parked::boxes_of!(crate::waits: until until_leaf until_sleep barrier initialises waits_for_init
        reads_lock writes_lock takes_lock owned_permits owned_notified changes broadcasts sends_full reserves unbounded
        receives_many until_closed joins waits_for_all unconstrained copies reads_line reads_exact writes_all next_line
        accepts receives_packet copies_both waits_for_value);
    macros.into_iter().chain(waits).for_each(spawn);
    let lock = Arc::new(Mutex::new(0_u64));
    std::mem::forget((sender, asked, lock));
}
