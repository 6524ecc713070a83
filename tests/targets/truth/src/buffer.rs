//! One preallocated buffer a thread: no lock and no allocation between the two clock readings.

use crate::Outcome;
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

const CAPACITY: usize = 1 << 16;

/// 40 bytes, little endian as written; tests/truth.py has the same layout.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Record {
    begin: u64,
    end: u64,
    address: u64,
    tid: u32,
    place: u32,
    instance: u32,
    outcome: u32,
}

struct Buffer {
    tid: u32,
    used: AtomicUsize,
    dropped: AtomicUsize,
    records: Box<[UnsafeCell<Record>]>,
}

// Only the owning thread writes, and only past `used`; others read below `used`, which is published with Release.
unsafe impl Sync for Buffer {}

static BUFFERS: Mutex<Vec<&'static Buffer>> = Mutex::new(Vec::new());

thread_local! {
    static MINE: &'static Buffer = register();
}

fn register() -> &'static Buffer {
    let empty = Record { begin: 0, end: 0, address: 0, tid: 0, place: 0, instance: 0, outcome: 0 };
    // Leaked, so that the records outlive their thread.
    let buffer: &'static Buffer = Box::leak(Box::new(Buffer {
        tid: unsafe { libc::syscall(libc::SYS_gettid) } as u32,
        used: AtomicUsize::new(0),
        dropped: AtomicUsize::new(0),
        records: (0..CAPACITY).map(|_| UnsafeCell::new(empty)).collect(),
    }));
    BUFFERS.lock().unwrap().push(buffer);
    buffer
}

/// Nanoseconds of CLOCK_MONOTONIC.
#[inline]
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// An interval under way.  It holds no borrow and is dropped without a trace, so a panic simply loses it.
pub struct Segment {
    begin: u64,
}

/// Starts an interval; the thread's buffer exists before the clock is read.
#[inline]
pub fn begin() -> Segment {
    MINE.with(|_| ());
    Segment { begin: now() }
}

impl Segment {
    /// Ends the interval and keeps it.  `place`: index into the target's places; `address`: of self, 0 where unknown.
    #[inline]
    pub fn end(self, place: u32, instance: u32, address: u64, outcome: Outcome) {
        let end = now();
        MINE.with(|buffer| {
            let used = buffer.used.load(Ordering::Relaxed);
            let slot = match buffer.records.get(used) {
                Some(slot) => slot,
                None => {
                    buffer.dropped.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            };
            let outcome = outcome as u32;
            unsafe {
                *slot.get() = Record { begin: self.begin, end, address, tid: buffer.tid, place, instance, outcome }
            };
            buffer.used.store(used + 1, Ordering::Release);
        });
    }
}

/// All records so far, as bytes, and how many did not fit.
pub(crate) fn collect() -> (Vec<u8>, usize) {
    let mut bytes = Vec::new();
    let mut dropped = 0;
    for buffer in BUFFERS.lock().unwrap().iter() {
        let used = buffer.used.load(Ordering::Acquire);
        dropped += buffer.dropped.load(Ordering::Relaxed);
        let size = used * std::mem::size_of::<Record>();
        bytes.extend_from_slice(unsafe { std::slice::from_raw_parts(buffer.records.as_ptr().cast::<u8>(), size) });
    }
    (bytes, dropped)
}

pub(crate) const RECORD_SIZE: usize = std::mem::size_of::<Record>();
