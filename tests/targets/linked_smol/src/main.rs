//! Tasks of smol's executor that wait for each other and for what others hold, for good.
//!
//! Says `ready` when all wait; ends when its standard input does.  A task has one function, which names it.

use std::future::pending;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use smol::channel;
use smol::lock::{Mutex, RwLock, Semaphore};
use smol::{Task, Timer};

async fn parked() {
    pending::<()>().await;
}

async fn joins(task: Task<()>) {
    task.await;
}

async fn holds_mutex(mutex: Arc<Mutex<u64>>) {
    let mut guard = mutex.lock().await;
    *guard += 1;
    pending::<()>().await;
    *guard += 1;
}

async fn dropped_mutex(mutex: Arc<Mutex<u64>>) {
    let mut guard = mutex.lock().await;
    *guard += 1;
    drop(guard);
    pending::<()>().await;
}

async fn waits_mutex(mutex: Arc<Mutex<u64>>) {
    *mutex.lock().await += 1;
}

async fn holds_read(lock: Arc<RwLock<u64>>) {
    let guard = lock.read().await;
    pending::<()>().await;
    drop(guard);
}

async fn waits_write(lock: Arc<RwLock<u64>>) {
    *lock.write().await += 1;
}

async fn holds_permit(semaphore: Arc<Semaphore>) {
    let permit = semaphore.acquire().await;
    pending::<()>().await;
    drop(permit);
}

async fn waits_permit(semaphore: Arc<Semaphore>) {
    semaphore.acquire().await;
}

async fn holds_sender(sender: channel::Sender<u64>) {
    pending::<()>().await;
    drop(sender);
}

async fn waits_message(receiver: channel::Receiver<u64>) {
    let _ = receiver.recv().await;
}

async fn deadlocked(first: Arc<Mutex<u64>>, second: Arc<Mutex<u64>>) {
    let mut one = first.lock().await;
    Timer::after(Duration::from_millis(20)).await;
    *one += *second.lock().await;
}

fn main() {
    smol::block_on(async {
        let turn = || Timer::after(Duration::from_millis(20));
        smol::spawn(joins(smol::spawn(parked()))).detach();
        let mutex = Arc::new(Mutex::new(0));
        smol::spawn(dropped_mutex(mutex.clone())).detach();
        turn().await;
        smol::spawn(holds_mutex(mutex.clone())).detach();
        turn().await;
        smol::spawn(waits_mutex(mutex)).detach();
        let lock = Arc::new(RwLock::new(0));
        smol::spawn(holds_read(lock.clone())).detach();
        turn().await;
        smol::spawn(waits_write(lock)).detach();
        let semaphore = Arc::new(Semaphore::new(1));
        smol::spawn(holds_permit(semaphore.clone())).detach();
        turn().await;
        smol::spawn(waits_permit(semaphore)).detach();
        let (sender, receiver) = channel::bounded(1);
        smol::spawn(holds_sender(sender)).detach();
        smol::spawn(waits_message(receiver)).detach();
        let (first, second) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
        smol::spawn(deadlocked(first.clone(), second.clone())).detach();
        smol::spawn(deadlocked(second, first)).detach();
        Timer::after(Duration::from_millis(200)).await;
    });
    println!("ready {{}}");
    let mut rest = Vec::new();
    let _ = std::io::stdin().read_to_end(&mut rest);
    std::process::exit(0);
}
