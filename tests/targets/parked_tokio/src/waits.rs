//! What tokio has to wait for.

use parked::{opaque, Forever};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{self, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{broadcast, mpsc, oneshot, watch, Barrier, Mutex, Notify, OnceCell, RwLock, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout_at, Instant};

const LONG: Duration = Duration::from_secs(3600);

async fn waits(value: u64) -> u64 {
    Forever.await + value //@320
}

//= until: until@321 > Timeout > waits@320 > Forever
pub async fn until() {
    let _ = opaque(timeout_at(Instant::now() + LONG, waits(1)).await.is_ok()); //@321
}

//= until_leaf: until_leaf@322 > Timeout > Notified
pub async fn until_leaf() {
    let notify = Notify::new();
    let _ = opaque(timeout_at(Instant::now() + LONG, notify.notified()).await.is_ok()); //@322
}

//= until_sleep: until_sleep@323 > Timeout > Sleep
pub async fn until_sleep() {
    let _ = opaque(timeout_at(Instant::now() + LONG, sleep_until(Instant::now() + LONG * 2)).await.is_ok()); //@323
}

//= barrier: barrier@324 > wait@? > wait_internal@? > changed@? > ?
pub async fn barrier() {
    opaque(Barrier::new(2).wait().await.is_leader()); //@324
}

//= initialises: initialises@325 > get_or_init@? > waits@320 > Forever
pub async fn initialises() {
    opaque(OnceCell::new().get_or_init(|| waits(1)).await); //@325
}

//= waits_for_init: waits_for_init@326 > get_or_init@? > acquire@? > Acquire
pub async fn waits_for_init() {
    static CELL: OnceCell<u64> = OnceCell::const_new();
    let mut first = Box::pin(CELL.get_or_init(|| waits(1)));
    std::future::poll_fn(|context| {
        let _ = std::future::Future::poll(first.as_mut(), context);
        std::task::Poll::Ready(())
    })
    .await;
    opaque(CELL.get_or_init(|| waits(2)).await); //@326
}

//= reads_lock: reads_lock@327 > read@? > read{block}@? > Acquire
pub async fn reads_lock() {
    let lock = RwLock::new(1_u64);
    let held = lock.write().await;
    opaque(*lock.read().await); //@327
    drop(held);
}

//= writes_lock: writes_lock@328 > write@? > write{block}@? > Acquire
pub async fn writes_lock() {
    let lock = RwLock::new(1_u64);
    let held = lock.read().await;
    opaque(*lock.write().await); //@328
    drop(held);
}

//= takes_lock: takes_lock@329 > lock@? > lock{block}@? > acquire@? > Acquire
pub async fn takes_lock() {
    let lock = Mutex::new(1_u64);
    let held = lock.lock().await;
    opaque(*lock.lock().await); //@329
    drop(held);
}

//= owned_permits: owned_permits@330 > acquire_many_owned@? > Acquire
pub async fn owned_permits() {
    opaque(Arc::new(Semaphore::new(1)).acquire_many_owned(2).await.is_ok()); //@330
}

//= owned_notified: owned_notified@331 > OwnedNotified
pub async fn owned_notified() {
    Arc::new(Notify::new()).notified_owned().await; //@331
}

//= changes: changes@332 > changed@? > ?
pub async fn changes() {
    let (sender, mut receiver) = watch::channel(1_u64);
    let _ = opaque(receiver.changed().await.is_ok()); //@332
    drop(sender);
}

//= broadcasts: broadcasts@333 > recv@? > Coop > Recv
pub async fn broadcasts() {
    let (sender, mut receiver) = broadcast::channel::<u64>(1);
    let _ = opaque(receiver.recv().await.is_ok()); //@333
    drop(sender);
}

//= sends_full: sends_full@334 > send@? > reserve@? > reserve_inner@? > Acquire
pub async fn sends_full() {
    let (sender, receiver) = mpsc::channel(1);
    let _ = sender.send(1_u64).await;
    let _ = opaque(sender.send(2).await.is_ok()); //@334
    drop(receiver);
}

//= reserves: reserves@335 > reserve@? > reserve_inner@? > Acquire
pub async fn reserves() {
    let (sender, receiver) = mpsc::channel::<u64>(1);
    let first = sender.reserve().await;
    let _ = opaque(sender.reserve().await.is_ok()); //@335
    drop((first, receiver));
}

//= unbounded: unbounded@336 > recv@? > PollFn
pub async fn unbounded() {
    let (sender, mut receiver) = mpsc::unbounded_channel::<u64>();
    opaque(receiver.recv().await); //@336
    drop(sender);
}

//= receives_many: receives_many@337 > recv_many@? > PollFn
pub async fn receives_many() {
    let (sender, mut receiver) = mpsc::channel::<u64>(1);
    let mut buffer = Vec::new();
    opaque(receiver.recv_many(&mut buffer, 3).await); //@337
    drop(sender);
}

//= until_closed: until_closed@338 > closed@? > PollFn
pub async fn until_closed() {
    let (mut sender, receiver) = oneshot::channel::<u64>();
    sender.closed().await; //@338
    drop(receiver);
}

//= joins: joins@339 > JoinHandle
pub async fn joins() {
    let _ = opaque(tokio::spawn(std::future::pending::<()>()).await.is_ok()); //@339
}

//= waits_for_all: waits_for_all@341 > join_all@? > join_next@? > PollFn > {JoinHandle | JoinHandle}
pub async fn waits_for_all() {
    let mut set = JoinSet::new();
    set.spawn(std::future::pending::<()>());
    set.spawn(std::future::pending::<()>());
    opaque(set.join_all().await.len()); //@341
}

//= unconstrained: unconstrained@342 > Unconstrained > waits@320 > Forever
pub async fn unconstrained() {
    opaque(tokio::task::unconstrained(waits(1)).await); //@342
}

//= copies: copies@343 > copy@? > Copy
pub async fn copies() {
    let (mut one, _other) = io::duplex(16);
    let _ = opaque(io::copy(&mut one, &mut io::sink()).await.is_ok()); //@343
}

//= reads_line: reads_line@344 > ReadLine
pub async fn reads_line() {
    let (one, _other) = io::duplex(16);
    let mut line = String::new();
    let _ = opaque(BufReader::new(one).read_line(&mut line).await.is_ok()); //@344
}

//= reads_exact: reads_exact@345 > ReadExact
pub async fn reads_exact() {
    let (mut one, _other) = io::duplex(16);
    let mut buffer = [0; 4];
    let _ = opaque(one.read_exact(&mut buffer).await.is_ok()); //@345
}

//= writes_all: writes_all@346 > WriteAll
pub async fn writes_all() {
    let (mut one, _other) = io::duplex(16);
    let _ = opaque(one.write_all(&[0; 64]).await.is_ok()); //@346
}

//= next_line: next_line@347 > next_line@? > PollFn
pub async fn next_line() {
    let (one, _other) = io::duplex(16);
    let _ = opaque(BufReader::new(one).lines().next_line().await.is_ok()); //@347
}

//= accepts: accepts@348 > accept@? > async_io@? > readiness@? > readiness@? > Readiness
pub async fn accepts() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _ = opaque(listener.accept().await.is_ok()); //@348
}

//= receives_packet: receives_packet@349 > recv@? > async_io@? > readiness@? > readiness@? > Readiness
pub async fn receives_packet() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let _ = opaque(socket.recv(&mut [0; 4]).await.is_ok()); //@349
}

//= copies_both: copies_both@350 > copy_bidirectional@? > ?
pub async fn copies_both() {
    let ((mut one, _other), (mut third, _fourth)) = (io::duplex(16), io::duplex(16));
    let _ = opaque(io::copy_bidirectional(&mut one, &mut third).await.is_ok()); //@350
}

//= waits_for_value: waits_for_value@351 > wait_for@? > ?
pub async fn waits_for_value() {
    let (sender, mut receiver) = watch::channel(1_u64);
    let _ = opaque(receiver.wait_for(|value| *value == 2).await.is_ok()); //@351
    drop(sender);
}
