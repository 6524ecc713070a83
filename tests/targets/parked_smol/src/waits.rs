//! What smol has to wait for, and its own ways to wait for several.

use parked::{opaque, Forever};
use smol::channel;
use smol::future::{self, FutureExt};
use smol::lock::{Barrier, Mutex, OnceCell, RwLock, Semaphore};
use smol::net::TcpListener;
use smol::stream::StreamExt;
use smol::Timer;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(3600);

async fn waits(value: u64) -> u64 {
    Forever.await + value //@400
}

async fn at_once() -> u64 {
    opaque(1)
}

//= either_way: either_way@401 > Or > {waits@400 > Forever | Forever}
pub async fn either_way() {
    opaque(future::or(waits(1), Forever).await); //@401
}

//= races: races@402 > Race > {waits@400 > Forever | waits@400 > Forever}
pub async fn races() {
    opaque(waits(1).race(waits(2)).await); //@402
}

//= zips: zips@403 > Zip > {waits@400 > Forever | waits@400 > Forever}
pub async fn zips() {
    opaque(future::zip(waits(1), waits(2)).await); //@403
}

//= zips_rest: zips_rest@404 > Zip > waits@400 > Forever
pub async fn zips_rest() {
    opaque(future::zip(at_once(), waits(2)).await); //@404
}

//= once: once@405 > PollFn > waits@400 > Forever
pub async fn once() {
    let mut inner = std::pin::pin!(waits(1));
    opaque(future::poll_fn(|context| inner.as_mut().poll(context)).await); //@405
}


//= caught_here: caught_here@406 > CatchUnwind > AssertUnwindSafe > waits@400 > Forever
pub async fn caught_here() {
    let _ = opaque(std::panic::AssertUnwindSafe(waits(1)).catch_unwind().await.is_ok()); //@406
}

//= takes_lock: takes_lock@407 > ?
pub async fn takes_lock() {
    let lock = Mutex::new(1_u64);
    let held = lock.lock().await;
    opaque(*lock.lock().await); //@407
    drop(held);
}

//= reads_lock: reads_lock@408 > ?
pub async fn reads_lock() {
    let lock = RwLock::new(1_u64);
    let held = lock.write().await;
    opaque(*lock.read().await); //@408
    drop(held);
}

//= writes_lock: writes_lock@409 > ?
pub async fn writes_lock() {
    let lock = RwLock::new(1_u64);
    let held = lock.read().await;
    opaque(*lock.write().await); //@409
    drop(held);
}

//= acquires: acquires@410 > ?
pub async fn acquires() {
    let semaphore = Semaphore::new(1);
    let first = semaphore.acquire().await;
    drop(opaque(semaphore.acquire().await)); //@410
    drop(first);
}

//= acquires_arc: acquires_arc@411 > ?
pub async fn acquires_arc() {
    drop(opaque(Arc::new(Semaphore::new(0)).acquire_arc().await)); //@411
}

//= barrier: barrier@412 > ?
pub async fn barrier() {
    opaque(Barrier::new(2).wait().await.is_leader()); //@412
}

//= initialises: initialises@413 > ?
pub async fn initialises() {
    opaque(OnceCell::new().get_or_init(|| waits(1)).await); //@413
}

//= receives: receives@414 > ?
pub async fn receives() {
    let (sender, receiver) = channel::bounded::<u64>(1);
    let _ = opaque(receiver.recv().await.is_ok()); //@414
    drop(sender);
}

//= sends_full: sends_full@415 > ?
pub async fn sends_full() {
    let (sender, receiver) = channel::bounded::<u64>(1);
    let _ = sender.send(1).await;
    let _ = opaque(sender.send(2).await.is_ok()); //@415
    drop(receiver);
}

//= next_message: next_message@416 > NextFuture > EventListener
pub async fn next_message() {
    let (sender, receiver) = channel::bounded::<u64>(1);
    opaque(Box::pin(receiver).next().await); //@416
    drop(sender);
}

//= ticks: ticks@417 > NextFuture > Timer
pub async fn ticks() {
    opaque(Timer::interval(LONG).next().await); //@417
}

//= limited: limited@418 > Or > {waits@400 > Forever | limited{block}@419 > Timer}
pub async fn limited() {
    let late = async {
        Timer::after(LONG).await; //@419
        0
    };
    opaque(waits(1).or(late).await); //@418
}

//= accepts: accepts@420 > ?
pub async fn accepts() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _ = opaque(listener.accept().await.is_ok()); //@420
}

//= blocks: blocks@421 > ?
pub async fn blocks() {
    smol::unblock(|| std::thread::sleep(LONG)).await; //@421
}

//= chosen: chosen@422 > Or > {waits@400 > Forever | waits@400 > Forever}
pub async fn chosen() {
    opaque(waits(1).boxed().or(waits(2)).await); //@422
}
