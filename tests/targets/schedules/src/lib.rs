//! Polls that do not let go of their thread: asleep, computing, behind a lock, at a pipe.
//!
//! Each says what its thread's clocks had when it began and when it ended, as a line of JSON at the end.

use std::future::Future;
use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

pub use truth::wait_for_go;

pub trait Runtime {
    fn spawn(future: impl Future<Output = ()> + Send + 'static) -> impl Future<Output = ()> + Send;
}

const TIMES: usize = 7;
const ASLEEP: Duration = Duration::from_millis(5);
const SPIN: Duration = Duration::from_millis(60);

struct Line {
    what: &'static str,
    begin: u64,
    end: u64,
    cpu: u64,
    tid: i32,
}

static LOG: Mutex<Vec<Line>> = Mutex::new(Vec::new());

/// CPU time of this thread, ns.
fn cpu_time() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) }, 0);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// One poll that works, and says how long that took.
struct Measured<W> {
    what: &'static str,
    work: Option<W>,
}

impl<W: FnOnce() + Unpin> Future for Measured<W> {
    type Output = ();

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let work = self.work.take().unwrap();
        let (begin, cpu) = (truth::now(), cpu_time());
        work();
        let (cpu, end) = (cpu_time() - cpu, truth::now());
        let tid = unsafe { libc::gettid() };
        LOG.lock().unwrap().push(Line { what: self.what, begin, end, cpu, tid });
        Poll::Ready(())
    }
}

fn measured<W: FnOnce() + Unpin>(what: &'static str, work: W) -> Measured<W> {
    Measured { what, work: Some(work) }
}

fn spin(duration: Duration) {
    let until = truth::now() + duration.as_nanos() as u64;
    while truth::now() < until {
        std::hint::spin_loop();
    }
}

/// The calling thread on this CPU only, or wherever it may be.
fn pin(cpu: Option<usize>, before: Option<&libc::cpu_set_t>) -> libc::cpu_set_t {
    unsafe {
        let size = std::mem::size_of::<libc::cpu_set_t>();
        let mut old: libc::cpu_set_t = std::mem::zeroed();
        assert_eq!(libc::sched_getaffinity(0, size, &mut old), 0);
        let mut new: libc::cpu_set_t = std::mem::zeroed();
        if let Some(cpu) = cpu {
            libc::CPU_SET(cpu, &mut new);
        }
        assert_eq!(libc::sched_setaffinity(0, size, before.unwrap_or(&new)), 0);
        old
    }
}

/// Another thread computes on the same CPU for as long.
fn compete() {
    let before = pin(Some(0), None);
    let over = Arc::new(AtomicBool::new(false));
    let is_over = over.clone();
    let competitor = std::thread::spawn(move || {
        pin(Some(0), None);
        while !is_over.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    });
    spin(SPIN);
    over.store(true, Ordering::Relaxed);
    pin(None, Some(&before));
    competitor.join().unwrap();
}

/// Somebody writes when it has been read from for a while.
fn read_pipe() {
    let mut ends = [0; 2];
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    let (mut from, mut to) = unsafe { (std::fs::File::from_raw_fd(ends[0]), std::fs::File::from_raw_fd(ends[1])) };
    let writer = std::thread::spawn(move || {
        std::thread::sleep(ASLEEP);
        to.write_all(b"!").unwrap();
    });
    from.read_exact(&mut [0]).unwrap();
    writer.join().unwrap();
}

/// A lock that one task keeps while it sleeps, and another one waits for.
async fn contend<R: Runtime>() {
    let lock = Arc::new(Mutex::new(0));
    let locked = Arc::new(AtomicBool::new(false));
    let (own, told) = (lock.clone(), locked.clone());
    let keeper = R::spawn(measured("keep the lock", move || {
        let mut kept = own.lock().unwrap();
        told.store(true, Ordering::Release);
        std::thread::sleep(ASLEEP);
        *kept += 1;
    }));
    let waiter = R::spawn(measured("wait for the lock", move || {
        while !locked.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_micros(50));
        }
        *lock.lock().unwrap() += 1;
    }));
    keeper.await;
    waiter.await;
}

pub async fn all<R: Runtime>() {
    for _ in 0..TIMES {
        R::spawn(measured("sleep", || std::thread::sleep(ASLEEP))).await;
        R::spawn(measured("spin", || spin(SPIN))).await;
        R::spawn(measured("compete", compete)).await;
        R::spawn(measured("pipe", read_pipe)).await;
        contend::<R>().await;
    }
}

/// Print what was measured.
pub fn tell() {
    for line in LOG.lock().unwrap().iter() {
        println!(
            "{{\"what\": \"{}\", \"begin\": {}, \"end\": {}, \"cpu\": {}, \"tid\": {}}}",
            line.what, line.begin, line.end, line.cpu, line.tid
        );
    }
}
