//! Futures that their callers call directly, each caller of a kind that may mislead who looks for a future's end there:
//! one that goes on at the same instruction after two calls, one that calls itself, one that catches a panic, one that
//! also calls through a pointer.
//!
//! returns [TASKS]

use std::future::Future;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::runtime::Builder;
use truth::{begin, opaque, Kind, Outcome, Place};

const TASKS: u32 = 240;

/// Polls of each future that is no caller.
const POLLS: u32 = 12;
const DEPTH: u32 = 5;

const LEFT: u32 = 0;
const RIGHT: u32 = 1;
const AGAIN: u32 = 2;
const TAKEN: u32 = 3;

const PLACES: [Place; 4] = [
    Place { kind: Kind::Poll, chain: &["returns::work", "returns::Either", "returns::Left"] },
    Place { kind: Kind::Poll, chain: &["returns::work", "returns::Either", "returns::Right"] },
    Place { kind: Kind::Poll, chain: &["returns::work", "returns::Loop", "returns::Right"] },
    Place { kind: Kind::Poll, chain: &["returns::work", "returns::Taken"] },
];

/// Is Ready at its POLLS-th poll; before, it is Pending and wakes at once.
struct Count {
    place: u32,
    instance: u32,
    left: u32,
}

impl Count {
    fn new(place: u32, instance: u32) -> Self {
        Count { place, instance, left: POLLS }
    }

    #[inline(always)]
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<u64> {
        let segment = begin();
        self.left -= 1;
        let (result, outcome) = if self.left == 0 {
            (Poll::Ready(u64::from(self.instance)), Outcome::Ready)
        } else {
            context.waker().wake_by_ref();
            (Poll::Pending, Outcome::Pending)
        };
        segment.end(self.place, self.instance, std::ptr::addr_of!(*self) as u64, outcome);
        result
    }
}

struct Left(Count);
struct Right(Count);
struct Taken(Count);

impl Future for Left {
    type Output = u64;

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        self.0.poll(context)
    }
}

impl Future for Right {
    type Output = u64;

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        self.0.poll(context).map(|value| value ^ 1) // else the compiler makes one function of this and Left's
    }
}

impl Future for Taken {
    type Output = u64;

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        self.0.poll(context)
    }
}

/// Goes on in the same way after either.
struct Either(Left, Right, bool);

impl Future for Either {
    type Output = u64;

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        let result = if self.2 { Pin::new(&mut self.0).poll(context) } else { Pin::new(&mut self.1).poll(context) };
        match result {
            Poll::Pending => Poll::Pending,
            Poll::Ready(value) => Poll::Ready(opaque(value) + 1),
        }
    }
}

/// Polls until it is Ready, at once.
struct Loop(Right);

impl Future for Loop {
    type Output = u64;

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        loop {
            if let Poll::Ready(value) = Pin::new(&mut self.0).poll(context) {
                return Poll::Ready(opaque(value) * 3);
            }
        }
    }
}

/// Calls itself, DEPTH deep.
struct Deep(u32, Option<Box<Deep>>);

impl Deep {
    fn new(depth: u32, instance: u32) -> Self {
        Deep(instance, (depth > 1).then(|| Box::new(Deep::new(depth - 1, instance))))
    }
}

impl Future for Deep {
    type Output = u64;

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        let inner = match &mut self.1 {
            Some(inner) => Pin::new(&mut **inner).poll(context),
            None => Poll::Ready(0),
        };
        match inner {
            Poll::Pending => Poll::Pending,
            Poll::Ready(value) => Poll::Ready(opaque(value) + u64::from(self.0)),
        }
    }
}

/// Panics in its second poll.
struct Bursts(bool);

impl Future for Bursts {
    type Output = u64;

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        if self.0 {
            panic!("in the second poll");
        }
        self.0 = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Is Ready when the future inside has panicked.
struct Catches(Bursts);

impl Future for Catches {
    type Output = u64;

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        match panic::catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.0).poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(opaque(value)),
            Err(_) => Poll::Ready(7),
        }
    }
}

async fn work(instance: u32) -> u64 {
    let mut sum = 0;
    for is_left in [true, false] {
        sum += Either(Left(Count::new(LEFT, instance)), Right(Count::new(RIGHT, instance)), opaque(is_left)).await;
    }
    sum += Loop(Right(Count::new(AGAIN, instance))).await;
    sum += Deep::new(DEPTH, instance).await;
    sum += Catches(Bursts(false)).await;
    let mut taken = Taken(Count::new(TAKEN, instance));
    if instance % 2 == 0 {
        sum += (&mut taken).await;
    } else {
        let pointed: &mut (dyn Future<Output = u64> + Unpin + Send) = opaque(&mut taken);
        sum += pointed.await;
    }
    sum
}

fn main() {
    let count: u32 = std::env::args().nth(1).map_or(TASKS, |text| text.parse().unwrap());
    panic::set_hook(Box::new(|_| {}));
    let runtime = Builder::new_current_thread().build().unwrap();
    truth::wait_for_go();
    let checksum = runtime.block_on(async {
        let tasks: Vec<_> = (0..count).map(|instance| tokio::spawn(work(instance))).collect();
        let mut sum = 0;
        for task in tasks {
            sum += task.await.unwrap();
        }
        sum
    });
    drop(runtime);
    let tasks = u64::from(count);
    let each = u64::from(POLLS) * tasks;
    // A poll of `work` goes from one future that is done to the next that is not.
    let of_work = tasks + 2 * (each - tasks) + tasks + (each - tasks);
    let polls = [
        ("returns::Left", each),
        ("returns::Right", 2 * each),
        ("returns::Either", 2 * each),
        ("returns::Loop", tasks),
        ("returns::Deep", u64::from(DEPTH) * tasks),
        ("returns::Bursts", 2 * tasks),
        ("returns::Catches", 2 * tasks),
        ("returns::Taken", each),
        ("returns::work", of_work),
        ("task", of_work),
    ];
    truth::finish(&PLACES, &polls, checksum);
}
