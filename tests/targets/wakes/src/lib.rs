//! Tasks that are woken in every way, and a log of each wake, just before it, and of each poll, as it begins.
//!
//! The waker that a task hands on is one of ours around the runtime's: whoever wakes it, a task, a thread, a timer, the
//! task itself, passes through the log.

use futures::channel::mpsc::{channel, Receiver, Sender};
use futures::lock::Mutex as Lock;
use futures::{SinkExt, StreamExt};
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use truth::{begin, Kind, Outcome, Place, Yield};

/// A record of a wake: `instance` is the task that is woken, `address` the one that is being polled there, 0 for none.
const WAKE: u32 = 0;
/// A record of a poll, at its beginning: `instance` is the task.
const POLL: u32 = 1;

const PLACES: [Place; 2] =
    [Place { kind: Kind::Part, chain: &["wake"] }, Place { kind: Kind::Part, chain: &["poll"] }];

const ROUNDS: u32 = 300;
const SLEEPS: u32 = 40;

/// What a runtime has of its own.
pub trait Runtime: 'static {
    fn spawn(future: impl Future<Output = ()> + Send + 'static) -> impl Future<Output = ()> + Send;
    fn sleep(duration: Duration) -> impl Future<Output = ()> + Send;
}

thread_local! {
    /// The task that is being polled on this thread; 0: none.
    static POLLED: Cell<u32> = const { Cell::new(0) };
}

struct Logged {
    task: u32,
    inner: Waker,
}

impl Wake for Logged {
    fn wake(self: Arc<Self>) {
        let inner = self.inner.clone();
        self.log();
        inner.wake();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.log();
        self.inner.wake_by_ref();
    }
}

impl Logged {
    fn log(&self) {
        begin().end(WAKE, self.task, u64::from(POLLED.get()), Outcome::Unknown);
    }
}

/// A task's own future.
struct Watched<F> {
    task: u32,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        begin().end(POLL, self.task, 0, Outcome::Unknown);
        let waker = Waker::from(Arc::new(Logged { task: self.task, inner: context.waker().clone() }));
        let before = POLLED.replace(self.task);
        let result = self.future.as_mut().poll(&mut Context::from_waker(&waker));
        POLLED.set(before);
        result
    }
}

fn task(task: u32, future: impl Future<Output = ()> + Send + 'static) -> Watched<impl Future<Output = ()> + Send> {
    Watched { task, future: Box::pin(future) }
}

/// Two tasks in turn, each woken by the other.
async fn ping_pong(mut sender: Sender<u32>, mut receiver: Receiver<u32>, serves: bool) {
    for round in 0..ROUNDS {
        if serves {
            sender.send(round).await.unwrap();
        }
        receiver.next().await.unwrap();
        if !serves {
            sender.send(round).await.unwrap();
        }
    }
}

async fn timer<R: Runtime>() {
    for _ in 0..SLEEPS {
        R::sleep(Duration::from_millis(2)).await;
    }
}

/// Whoever unlocks wakes the next one, and while it holds the lock it wakes itself.
async fn lock(shared: Arc<Lock<u32>>) {
    for _ in 0..ROUNDS / 3 {
        let mut held = shared.lock().await;
        *held += 1;
        Yield::default().await;
    }
}

async fn own() {
    for _ in 0..ROUNDS {
        Yield::default().await;
    }
}

#[derive(Default)]
struct Bell {
    waiting: Mutex<Option<Waker>>,
    is_done: AtomicBool,
}

/// Ready when the bell was rung.
struct Rung<'a>(&'a Bell, bool);

impl Future for Rung<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.1 {
            return Poll::Ready(());
        }
        self.1 = true;
        *self.0.waiting.lock().unwrap() = Some(context.waker().clone());
        Poll::Pending
    }
}

async fn from_thread(bell: Arc<Bell>) {
    for _ in 0..SLEEPS * 3 {
        Rung(&bell, false).await;
    }
    bell.is_done.store(true, Ordering::Release);
}

/// A thread that polls no task wakes one: twice each time, of which the second is without effect, or comes too late.
fn ring(bell: &Bell) {
    while !bell.is_done.load(Ordering::Acquire) {
        std::thread::sleep(Duration::from_millis(1));
        let waiting = bell.waiting.lock().unwrap().take();
        if let Some(waker) = waiting {
            waker.wake_by_ref();
            waker.wake();
        }
    }
}

/// All of it.
pub async fn all<R: Runtime>() {
    let bell = Arc::new(Bell::default());
    let thread = std::thread::Builder::new().name("ringer".into()).spawn({
        let bell = bell.clone();
        move || ring(&bell)
    });
    let (ping, pinged) = channel(0);
    let (pong, ponged) = channel(0);
    let shared = Arc::new(Lock::new(0));
    let mut running: Vec<Pin<Box<dyn Future<Output = ()> + Send>>> = vec![
        Box::pin(R::spawn(task(1, ping_pong(ping, ponged, true)))),
        Box::pin(R::spawn(task(2, ping_pong(pong, pinged, false)))),
        Box::pin(R::spawn(task(3, own()))),
        Box::pin(R::spawn(task(4, from_thread(bell)))),
    ];
    for number in 5..8 {
        running.push(Box::pin(R::spawn(task(number, timer::<R>()))));
        running.push(Box::pin(R::spawn(task(number + 3, lock(shared.clone())))));
    }
    for one in running {
        one.await;
    }
    thread.unwrap().join().unwrap();
    truth::finish(&PLACES, &[], u64::from(*shared.lock().await));
}

pub use truth::wait_for_go;
