//! Tasks that wait in line for what there is too little of.

use crate::{pause, spin};
use std::sync::Arc;
use tokio::sync::{mpsc, Notify, Semaphore};

async fn fetch(connections: Arc<Semaphore>) {
    loop {
        // FAULT: long-queue
        let connection = connections.acquire().await.unwrap();
        pause(15).await;
        drop(connection);
        pause(1).await;
    }
}

pub async fn permits() {
    let connections = Arc::new(Semaphore::new(2));
    for _ in 0..6 {
        tokio::spawn(fetch(connections.clone()));
    }
    std::future::pending().await
}

async fn produce(rows: mpsc::Sender<u64>) {
    for row in 0.. {
        pause(2).await;
        // FAULT: long-queue-channel
        rows.send(row).await.unwrap();
    }
}

async fn write(mut rows: mpsc::Receiver<u64>) {
    while rows.recv().await.is_some() {
        pause(8).await;
    }
}

pub async fn room() {
    let (sender, rows) = mpsc::channel(4);
    tokio::spawn(write(rows));
    for _ in 0..3 {
        tokio::spawn(produce(sender.clone()));
    }
    std::future::pending().await
}

/// As much as comes, however much waits.
async fn put(rows: mpsc::UnboundedSender<u64>) {
    for row in 0.. {
        pause(2).await;
        for part in 0..8 {
            rows.send(row * 8 + part).unwrap();
        }
    }
}

async fn take(mut rows: mpsc::UnboundedReceiver<u64>) {
    while rows.recv().await.is_some() {
        // FAULT: backlog
        pause(2).await;
    }
}

/// Is polled all but all the time.
// FAULT: backlog-computing
async fn take_and_compute(mut rows: mpsc::UnboundedReceiver<u64>) {
    while rows.recv().await.is_some() {
        spin(2);
        tokio::task::yield_now().await;
    }
}

pub async fn unbounded_computing() {
    let (sender, rows) = mpsc::unbounded_channel();
    tokio::spawn(take_and_compute(rows));
    tokio::spawn(put(sender));
    std::future::pending().await
}

/// More comes than is taken.
pub async fn unbounded() {
    let (sender, rows) = mpsc::unbounded_channel();
    tokio::spawn(take(rows));
    tokio::spawn(put(sender));
    std::future::pending().await
}

async fn query(connections: Arc<Semaphore>, answer: Arc<Notify>) {
    let _connection = connections.acquire_owned().await.unwrap();
    // FAULT: long-queue-forever
    answer.notified().await;
}

/// Gives it back before it waits.
async fn polite(connections: Arc<Semaphore>, answer: Arc<Notify>) {
    let connection = connections.acquire().await.unwrap();
    std::hint::black_box(connection.num_permits());
    drop(connection);
    answer.notified().await;
}

/// All connections wait for a peer that never answers.
pub async fn permits_forever() {
    let (connections, answer) = (Arc::new(Semaphore::new(3)), Arc::new(Notify::new()));
    for _ in 0..5 {
        tokio::spawn(polite(connections.clone(), answer.clone()));
    }
    pause(50).await;
    for _ in 0..10 {
        tokio::spawn(query(connections.clone(), answer.clone()));
    }
    std::future::pending().await
}

async fn borrow(connections: Arc<Semaphore>, idle: Arc<Notify>) {
    connections.acquire().await.unwrap().forget();
    idle.notified().await;
}

async fn ask(connections: Arc<Semaphore>) {
    // FAULT: long-queue-leaked
    let _connection = connections.acquire().await.unwrap();
}

/// All connections were taken out of the pool, and nobody has them any more.
pub async fn permits_leaked() {
    let (connections, idle) = (Arc::new(Semaphore::new(3)), Arc::new(Notify::new()));
    for _ in 0..3 {
        tokio::spawn(borrow(connections.clone(), idle.clone()));
    }
    pause(50).await;
    for _ in 0..6 {
        tokio::spawn(ask(connections.clone()));
    }
    std::future::pending().await
}

async fn write_forever(mut rows: mpsc::Receiver<u64>, disk: Arc<Notify>) {
    while rows.recv().await.is_some() {
        // FAULT: long-queue-channel-forever
        disk.notified().await;
    }
}

pub async fn room_forever() {
    let ((sender, rows), disk) = (mpsc::channel(4), Arc::new(Notify::new()));
    tokio::spawn(write_forever(rows, disk.clone()));
    for _ in 0..3 {
        tokio::spawn(produce(sender.clone()));
    }
    std::future::pending().await
}
