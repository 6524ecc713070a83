//! What async-std has to wait for.

use async_std::channel;
use async_std::future::timeout;
use async_std::io::timeout as io_timeout;
use async_std::net::TcpListener;
use async_std::prelude::*;
use async_std::sync::{Mutex, RwLock};
use async_std::task::spawn_blocking;
use parked::{opaque, Forever};
use std::future::poll_fn;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(3600);

async fn waits(value: u64) -> u64 {
    Forever.await + value //@400
}

//= limited: limited@401 > timeout@? > TimeoutFuture > {waits@400 > Forever | Timer?}
pub async fn limited() {
    let _ = opaque(timeout(LONG, waits(1)).await.is_ok()); //@401
}

//= limited_leaf: limited_leaf@402 > timeout@? > TimeoutFuture > {Forever? | Timer?}
pub async fn limited_leaf() {
    let _ = opaque(timeout(LONG, Forever).await.is_ok()); //@402
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

//= folds_here: folds_here@417 > FoldFuture > EventListener
pub async fn folds_here() {
    let (sender, receiver) = channel::bounded::<u64>(1);
    opaque(Box::pin(receiver).fold(0, |sum, value| sum + value).await); //@417
    drop(sender);
}

//= accepts: accepts@420 > ?
pub async fn accepts() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _ = opaque(listener.accept().await.is_ok()); //@420
}

//= blocks: blocks@421 > JoinHandle > ?
pub async fn blocks() {
    spawn_blocking(|| std::thread::sleep(LONG)).await; //@421
}

//= io_limited: io_limited@422 > timeout@? > Timeout > {io_limited{block}@423 > Forever | Timer?}
pub async fn io_limited() {
    let inner = async {
        Forever.await; //@423
        Ok(())
    };
    let _ = opaque(io_timeout(LONG, inner).await.is_ok()); //@422
}

//= by_poll_fn: by_poll_fn@424 > PollFn > waits@400 > Forever
pub async fn by_poll_fn() {
    let mut inner = std::pin::pin!(waits(1));
    opaque(poll_fn(|context| inner.as_mut().poll(context)).await); //@424
}
