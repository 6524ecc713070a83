//! Blocking jobs that queue for a small pool, tasks that queue for the workers, and a log of when each was spawned, begun
//! and ended.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};
use truth::{begin, Kind, Outcome, Place, Yield};

/// A record of a spawn of a job, just before it: `instance` is the job, `address` the task that spawns it.
const SPAWN: u32 = 0;
/// A record of a job's work, from its first statement to its last.
const RUN: u32 = 1;
/// A record of a wake, from just before to just after it: `instance` is the task that is woken, `address` the job that it awaits.
const WAKE: u32 = 2;
/// A record of a spawn of a task, just before it: `instance` is the task.
const NEW_TASK: u32 = 3;
/// A record of a poll of a task, at its beginning.
const POLL: u32 = 4;
/// A record of work in place, from its first statement to its last: `instance` is the task.
const IN_PLACE: u32 = 5;

const PLACES: [Place; 6] = [
    Place { kind: Kind::Part, chain: &["spawn a job"] },
    Place { kind: Kind::Part, chain: &["run a job"] },
    Place { kind: Kind::Part, chain: &["wake"] },
    Place { kind: Kind::Part, chain: &["spawn a task"] },
    Place { kind: Kind::Part, chain: &["poll"] },
    Place { kind: Kind::Part, chain: &["work in place"] },
];

const FLOODS: u32 = 11;
const JOBS: u32 = 97;
const BURST: u32 = 1_009;
const IN_PLACES: u32 = 53;

/// The threads of the pool for blocking jobs.
pub const THREADS: usize = 2;

type Job<R> = Pin<Box<dyn Future<Output = R> + Send>>;

/// What a runtime has of its own.
pub trait Runtime: 'static {
    /// Whether a job wakes who awaits it; else a task does that, which awaits the job.
    const IS_DIRECT: bool = true;
    fn spawn(future: impl Future<Output = ()> + Send + 'static) -> impl Future<Output = ()> + Send;
    fn unblock<R: Send + 'static>(job: impl FnOnce() -> R + Send + 'static) -> Job<R>;
    /// False: there is no such thing.
    fn in_place(work: impl FnOnce()) -> bool;
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
        self.future.as_mut().poll(context)
    }
}

fn task<R: Runtime>(task: u32, future: impl Future<Output = ()> + Send + 'static) -> Job<()> {
    begin().end(NEW_TASK, task, 0, Outcome::Unknown);
    Box::pin(R::spawn(Watched { task, future: Box::pin(future) }))
}

struct Logged {
    task: u32,
    job: u32,
    inner: Waker,
}

impl Wake for Logged {
    fn wake(self: Arc<Self>) {
        let segment = begin();
        self.inner.wake_by_ref();
        segment.end(WAKE, self.task, u64::from(self.job), Outcome::Unknown);
    }
}

/// A job that a task awaits.  `is_direct`: the job itself wakes the task.
struct Awaited {
    task: u32,
    job: u32,
    is_direct: bool,
    running: Job<u64>,
}

impl Future for Awaited {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        if !self.is_direct {
            return self.running.as_mut().poll(context);
        }
        let waker = Waker::from(Arc::new(Logged { task: self.task, job: self.job, inner: context.waker().clone() }));
        self.running.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

fn spin(time: Duration) -> u64 {
    let begun = Instant::now();
    let mut turns = 0;
    while begun.elapsed() < time {
        turns += 1;
    }
    turns.min(1)
}

fn doze(time: Duration) -> u64 {
    std::thread::sleep(time);
    1
}

/// Runs a job and keeps when.
fn run(job: u32, work: impl FnOnce() -> u64) -> u64 {
    let segment = begin();
    let result = work();
    segment.end(RUN, job, 0, Outcome::Unknown);
    result
}

/// More jobs than there are threads for, spawned at once, then awaited one by one.
async fn flood<R: Runtime>(task: u32) {
    let mut spawned = Vec::new();
    for number in 0..JOBS {
        let job = task * JOBS + number;
        begin().end(SPAWN, job, u64::from(task), Outcome::Unknown);
        let running = if number % 2 == 0 {
            R::unblock(move || run(job, || spin(Duration::from_micros(300))))
        } else {
            R::unblock(move || run(job, || doze(Duration::from_millis(1))))
        };
        spawned.push(Awaited { task, job, is_direct: R::IS_DIRECT, running });
    }
    let mut done = 0;
    for job in spawned {
        done += job.await;
    }
    assert_eq!(done, u64::from(JOBS));
}

/// One of very many tasks that become ready at once.
async fn short() {
    spin(Duration::from_micros(30));
    Yield::default().await;
}

async fn in_place<R: Runtime>(task: u32) {
    for _ in 0..IN_PLACES {
        let worked = R::in_place(|| {
            let segment = begin();
            spin(Duration::from_micros(200));
            segment.end(IN_PLACE, task, 0, Outcome::Unknown);
        });
        if !worked {
            break;
        }
        Yield::default().await;
    }
}

/// All of it.
pub async fn all<R: Runtime>() {
    let floods: Vec<_> = (1..=FLOODS).map(|number| task::<R>(number, flood::<R>(number))).collect();
    for one in floods {
        one.await;
    }
    let burst = task::<R>(FLOODS + 1, async {
        let short: Vec<_> = (0..BURST).map(|number| task::<R>(FLOODS + 4 + number, short())).collect();
        for one in short {
            one.await;
        }
    });
    burst.await;
    let working: Vec<_> = (FLOODS + 2..FLOODS + 4).map(|number| task::<R>(number, in_place::<R>(number))).collect();
    for one in working {
        one.await;
    }
    truth::finish(&PLACES, &[], u64::from(FLOODS * JOBS));
}

pub use truth::wait_for_go;
