//! Tasks that block their thread, or never let it go, each in a function of its own; they say where and how long.

use std::hint::black_box;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::Builder;
use truth::{apart, Yield};

const ROUNDS: u32 = 7;
const SLEEP: Duration = Duration::from_millis(17);
/// Of CPU time.
const SPIN: Duration = Duration::from_millis(60);

/// Where a function spends its time, and how much of it in all.
struct Spent {
    function: &'static str,
    kind: &'static str,
    line: u32,
    time: Duration,
}

/// Of this thread: it goes on only while that runs, however busy the machine is.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of our own.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[inline(never)]
fn sleeps() -> u32 {
    let line = line!() + 1;
    thread::sleep(SLEEP);
    black_box(line)
}

#[inline(always)]
fn sleeps_inlined() -> u32 {
    let line = line!() + 1;
    thread::sleep(SLEEP);
    black_box(line)
}

#[inline(never)]
fn locks(mutex: &Mutex<u32>) -> u32 {
    let line = line!() + 1;
    let guard = mutex.lock().unwrap();
    black_box(*guard);
    line
}

#[inline(never)]
fn reads(stream: &mut UnixStream) -> u32 {
    let line = line!() + 1;
    stream.read_exact(&mut [0]).unwrap();
    black_box(line)
}

#[inline(never)]
fn spins() -> u32 {
    let begin = cpu_time();
    let mut value = 1u64;
    let line = line!() + 3;
    while cpu_time() - begin < SPIN {
        for step in 0..100_000 {
            value = black_box(value).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(step);
        }
    }
    black_box(value);
    line
}

#[inline(always)]
fn spins_inlined() -> u32 {
    let begin = cpu_time();
    let mut value = 1u64;
    let line = line!() + 3;
    while cpu_time() - begin < SPIN {
        for step in 0..100_000 {
            value = black_box(value).wrapping_mul(2_862_933_555_777_941_757).wrapping_add(step);
        }
    }
    black_box(value);
    line
}

/// A task that does it again and again, each time in a poll of its own.
async fn again(function: &'static str, kind: &'static str, mut what: impl FnMut() -> u32) -> Spent {
    again_when(function, kind, || (), &mut what).await
}

/// The same, once `ready` has returned.
async fn again_when(
    function: &'static str,
    kind: &'static str,
    ready: impl Fn(),
    mut what: impl FnMut() -> u32,
) -> Spent {
    let mut spent = Spent { function, kind, line: 0, time: Duration::ZERO };
    for _ in 0..ROUNDS {
        ready();
        let begin = Instant::now();
        spent.line = what();
        spent.time += begin.elapsed();
        Yield::default().await;
    }
    spent
}

async fn sleeping() -> Spent {
    again("sleeps", "blocked", sleeps).await
}

async fn sleeping_inlined() -> Spent {
    again("sleeps_inlined", "blocked", || sleeps_inlined()).await
}

async fn spinning() -> Spent {
    again("spins", "running", spins).await
}

async fn spinning_inlined() -> Spent {
    again("spins_inlined", "running", || spins_inlined()).await
}

/// Another thread holds the lock.
async fn locking() -> Spent {
    let mutex = Arc::new(Mutex::new(0));
    let (stop, held) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (theirs, stopped, holds) = (mutex.clone(), stop.clone(), held.clone());
    let holder = thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            let mut guard = theirs.lock().unwrap();
            *guard += 1;
            holds.store(true, Ordering::Relaxed);
            thread::sleep(SLEEP);
            holds.store(false, Ordering::Relaxed);
            drop(guard);
            thread::sleep(Duration::from_millis(3));
        }
    });
    let is_held = || {
        while !held.load(Ordering::Relaxed) {
            thread::yield_now();
        }
    };
    let spent = again_when("locks", "blocked", is_held, || locks(&mutex)).await;
    stop.store(true, Ordering::Relaxed);
    holder.join().unwrap();
    spent
}

/// Another thread writes now and then.
async fn reading() -> Spent {
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    let writer = thread::spawn(move || {
        for _ in 0..ROUNDS {
            thread::sleep(SLEEP);
            theirs.write_all(&[1]).unwrap();
        }
    });
    let spent = again("reads", "blocked", || reads(&mut ours)).await;
    writer.join().unwrap();
    spent
}

fn main() {
    let runtime = Builder::new_multi_thread().worker_threads(2).build().unwrap();
    truth::wait_for_go();
    runtime.block_on(async {
        let cases = [
            tokio::spawn(apart(sleeping())).await,
            tokio::spawn(apart(sleeping_inlined())).await,
            tokio::spawn(apart(locking())).await,
            tokio::spawn(apart(reading())).await,
            tokio::spawn(apart(spinning())).await,
            tokio::spawn(apart(spinning_inlined())).await,
        ];
        for Spent { function, kind, line, time } in cases.into_iter().map(Result::unwrap) {
            let time = time.as_nanos();
            println!(r#"{{"function": "{function}", "kind": "{kind}", "line": {line}, "time": {time}}}"#);
        }
    });
}
