//! A loop over many futures of which few are polled.  Behind the poll it goes on at a jump that it passes for each of
//! the others as well: a probe there, for the sake of the future's exit, is hit far more often than the future is polled.

use std::future::{poll_fn, Future};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::runtime::Builder;
use tokio::time::sleep;
use truth::opaque;

const REST: Duration = Duration::from_millis(1);
const REPORT: Duration = Duration::from_millis(100);

/// Never ready.
struct Calm(u64);

impl Future for Calm {
    type Output = u64;

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u64> {
        self.0 = opaque(self.0 + 1);
        if self.0 == u64::MAX {
            return Poll::Ready(self.0);
        }
        Poll::Pending
    }
}

struct Scan {
    futures: Vec<Calm>,
    is_due: Vec<bool>,
    is_told: Vec<bool>,
}

#[inline(never)]
fn tell(index: usize) -> usize {
    opaque(index)
}

impl Future for Scan {
    type Output = ();

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let own = &mut *self;
        let count = own.futures.len().min(own.is_due.len()).min(own.is_told.len());
        let mut told = 0usize;
        for index in 0..count {
            if own.is_due[index] {
                let _ = Pin::new(&mut own.futures[index]).poll(context);
            }
            if own.is_told[index] {
                told = told.wrapping_add(tell(index));
            }
        }
        opaque(told);
        Poll::Pending
    }
}

fn now(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Tells every REPORT the time, the CPU time of the process (ns) and how many elements it has passed.
pub fn run(count: usize, length: Duration) {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let some = |first: usize| (0..count).map(|index| index % (count / 4) == first).collect();
    let mut scan = Scan { futures: (0..count as u64).map(Calm).collect(), is_due: some(0), is_told: some(1) };
    truth::wait_for_go();
    runtime.block_on(async move {
        let scanning = tokio::spawn(async move {
            let began = Instant::now();
            let (mut passed, mut reports) = (0, 0);
            while began.elapsed() < length {
                poll_fn(|context| Poll::Ready(Pin::new(&mut scan).poll(context).is_ready())).await;
                passed += count;
                sleep(REST).await;
                if began.elapsed() > reports * REPORT {
                    reports += 1;
                    let (time, cpu) = (now(libc::CLOCK_MONOTONIC), now(libc::CLOCK_PROCESS_CPUTIME_ID));
                    println!("{{\"time\": {time}, \"cpu\": {cpu}, \"passed\": {passed}}}");
                }
            }
        });
        scanning.await.unwrap();
    });
}
