//! A shop for two seconds: a handful of tasks that wait for each other in every usual way, and one that blocks.

use futures::stream::{self, StreamExt};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

const OPEN: Duration = Duration::from_millis(2000);

struct Order {
    number: u64,
    served: oneshot::Sender<u64>,
}

async fn pause(milliseconds: u64) {
    sleep(Duration::from_millis(milliseconds)).await;
}

async fn query_stock(number: u64) -> u64 {
    pause(30 + 10 * (number % 4)).await;
    number
}

async fn query_price(number: u64) -> u64 {
    pause(45).await;
    100 + number
}

/// Both questions at once.
async fn quote(number: u64) -> u64 {
    let (stock, price) = tokio::join!(query_stock(number), query_price(number));
    stock + price
}

async fn charge(number: u64) -> u64 {
    // Every fourth bank takes too long.
    pause(if number % 4 == 3 { 400 } else { 60 }).await;
    number
}

async fn pay(number: u64) -> bool {
    timeout(Duration::from_millis(120), charge(number)).await.is_ok()
}

/// Computes without an await in between: the worker can do nothing else.
async fn compress(milliseconds: u64) -> u64 {
    let end = Instant::now() + Duration::from_millis(milliseconds);
    let mut sum = 0_u64;
    while Instant::now() < end {
        sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(7));
    }
    sum
}

async fn customer(number: u64, orders: mpsc::Sender<Order>) {
    for turn in 0.. {
        pause(20 * number).await;
        let (served, receipt) = oneshot::channel();
        if orders.send(Order { number: number + turn, served }).await.is_err() {
            break;
        }
        // A customer whose payment failed gets nothing and comes again.
        let _ = receipt.await;
    }
}

async fn counter(mut orders: mpsc::Receiver<Order>) {
    while let Some(order) = orders.recv().await {
        let price = quote(order.number).await;
        if pay(order.number).await {
            let _ = order.served.send(price);
        }
    }
}

async fn nightly_report() {
    let mut ticks = interval(Duration::from_millis(500));
    loop {
        ticks.tick().await;
        compress(90).await;
    }
}

async fn fetch_page(number: u64) -> u64 {
    pause(40 + 25 * (number % 3)).await;
    number
}

async fn crawler() {
    let mut pages = stream::iter(0..).map(fetch_page).buffer_unordered(3);
    while let Some(page) = pages.next().await {
        compress(page % 3).await;
    }
}

/// Whichever mirror answers first; the other answer is dropped.
async fn mirrors() {
    let mut answers = 0;
    loop {
        answers += tokio::select! {
            page = fetch_page(answers) => page % 2 + 1,
            page = fetch_page(answers + 1) => page % 2 + 1,
        };
        pause(15).await;
    }
}

pub async fn run() {
    let (orders, queue) = mpsc::channel(4);
    let mut tasks = JoinSet::new();
    tasks.spawn(counter(queue));
    tasks.spawn(nightly_report());
    for number in 1..4 {
        let orders = orders.clone();
        tasks.spawn(customer(number, orders));
    }
    tasks.spawn(crawler());
    tasks.spawn(mirrors());
    drop(orders);
    pause(OPEN.as_millis() as u64).await;
    tasks.shutdown().await;
}
