//! A small server with its clients: connections, channels, a lock, timers, time limits, select!, jobs; nothing is wrong.

use crate::pause;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch, Mutex};
use tokio::time::{interval, timeout};
use truth::apart;

type Store = Arc<Mutex<HashMap<u8, u64>>>;

async fn look_up(store: Store, key: u8) -> u64 {
    let mut items = store.lock().await;
    let value = items.entry(key).or_default();
    *value += 1;
    *value
}

async fn answer(store: &Store, journal: &mpsc::Sender<u64>, key: u8) -> [u8; 1] {
    let value = timeout(Duration::from_secs(1), apart(look_up(store.clone(), key))).await.unwrap();
    journal.send(value).await.unwrap();
    [value as u8]
}

/// Ends with its connection, or when all do.
async fn serve_one(
    mut stream: TcpStream,
    store: Store,
    journal: mpsc::Sender<u64>,
    mut closing: watch::Receiver<bool>,
) {
    let mut key = [0; 1];
    loop {
        tokio::select! {
            read = stream.read(&mut key) => match read {
                Ok(1) => {}
                _ => return,
            },
            _ = closing.changed() => return,
        }
        let answer = apart(answer(&store, &journal, key[0])).await;
        stream.write_all(&answer).await.unwrap();
    }
}

async fn accept_all(listener: TcpListener, store: Store, journal: mpsc::Sender<u64>, closing: watch::Receiver<bool>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(serve_one(stream, store.clone(), journal.clone(), closing.clone()));
    }
}

async fn keep_journal(mut entries: mpsc::Receiver<u64>) {
    let mut ticks = interval(Duration::from_millis(50));
    let mut sum = 0u64;
    loop {
        tokio::select! {
            Some(entry) = entries.recv() => sum = sum.wrapping_add(entry),
            _ = ticks.tick() => {
                sum = tokio::task::spawn_blocking(move || sum.rotate_left(1)).await.unwrap();
            }
        }
    }
}

/// Some requests over one connection, then another connection.
async fn client(address: std::net::SocketAddr, number: u8) {
    loop {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut answer = [0; 1];
        for request in 0..20 {
            stream.write_all(&[number.wrapping_add(request)]).await.unwrap();
            stream.read_exact(&mut answer).await.unwrap();
            pause(4).await;
        }
    }
}

async fn part(number: u64) -> u64 {
    pause(number % 3).await;
    number
}

/// Tasks that come and go, and two futures side by side.
async fn fan_out() {
    loop {
        let parts: Vec<_> = (0..4).map(|number| tokio::spawn(part(number))).collect();
        for one in parts {
            one.await.unwrap();
        }
        tokio::join!(apart(part(1)), apart(part(2)));
        pause(15).await;
    }
}

/// Workers take turns with the receiver: who has its lock waits for work.
async fn work(jobs: Arc<Mutex<mpsc::Receiver<u64>>>) {
    loop {
        let Some(job) = jobs.lock().await.recv().await else { return };
        pause(job).await;
    }
}

async fn hand_out() {
    let (sender, jobs) = mpsc::channel(4);
    let (_unused, none) = mpsc::channel(4);
    for jobs in [jobs, none].map(|one| Arc::new(Mutex::new(one))) {
        for _ in 0..3 {
            tokio::spawn(work(jobs.clone()));
        }
    }
    loop {
        sender.send(3).await.unwrap();
        pause(25).await;
    }
}

pub async fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (journal, entries) = mpsc::channel(64);
    let (_open, closing) = watch::channel(false);
    tokio::spawn(keep_journal(entries));
    tokio::spawn(accept_all(listener, Store::default(), journal, closing));
    tokio::spawn(fan_out());
    tokio::spawn(hand_out());
    for number in 0..4 {
        tokio::spawn(client(address, number * 50));
    }
    std::future::pending().await
}
