//! Runs 23 tasks of 47 polls each per line read, by an executor of its own, and says how many polls that were.
//!
//! Lines: `go` one round, `go N` N rounds, `panic` one task whose poll unwinds two frames.

use std::future::Future;
use std::io::BufRead;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

const TASKS: u64 = 23;
const POLLS: u64 = 47;

static mut YIELDS: u64 = 0;

struct Yield(bool);

impl Future for Yield {
    type Output = ();

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        unsafe { YIELDS += 1 };
        if self.0 {
            return Poll::Ready(());
        }
        self.0 = true;
        Poll::Pending
    }
}

async fn turns(number: u64) -> u64 {
    for _ in 1..POLLS {
        Yield(false).await;
    }
    number
}

async fn explodes(number: u64) -> u64 {
    if number == 1 {
        panic!("as asked");
    }
    Yield(false).await;
    number
}

async fn holds(number: u64) -> u64 {
    explodes(number).await + 1
}

fn round() -> u64 {
    let mut tasks: Vec<Pin<Box<dyn Future<Output = u64>>>> = (0..TASKS).map(|n| Box::pin(turns(n)) as _).collect();
    let mut context = Context::from_waker(Waker::noop());
    let mut polls = 0;
    while !tasks.is_empty() {
        tasks.retain_mut(|task| {
            polls += 1;
            task.as_mut().poll(&mut context).is_pending()
        });
    }
    polls
}

fn main() {
    std::panic::set_hook(Box::new(|_| {}));
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        if line == "panic" {
            let mut task: Pin<Box<dyn Future<Output = u64>>> = Box::pin(holds(1));
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let _ = task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            }));
            println!("caught {}", caught.is_err());
            continue;
        }
        let rounds = line.split(' ').nth(1).map_or(1, |n| n.parse::<u64>().unwrap());
        let yields = unsafe { YIELDS };
        let polls: u64 = (0..rounds).map(|_| round()).sum();
        println!("polls {} yields {}", polls, unsafe { YIELDS } - yields);
    }
}
