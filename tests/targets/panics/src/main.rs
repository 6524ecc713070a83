//! Tasks that panic inside nested polled futures; tokio catches each.  Ends with exit code 0 when none is lost.

use std::backtrace::Backtrace;
use std::panic;
use tokio::runtime::Builder;
use truth::{apart, begin, Kind, Outcome, Place, Yield};

const TASKS: u32 = 100;

const BURST_PARTS: u32 = 0;

const PLACES: [Place; 1] = [Place { kind: Kind::Resume, chain: &["panics::outer", "panics::nested", "panics::burst"] }];

/// Frames of a backtrace taken here.
fn frames() -> usize {
    let trace = Backtrace::force_capture().to_string();
    // "  12: function" lines; the others are "at file:line".
    trace.lines().filter(|line| line.split_once(": ").is_some_and(|(n, _)| n.trim().parse::<u32>().is_ok())).count()
}

/// Panics in its first poll when `instance` is even, in its second when it is odd; the last one takes a backtrace.
async fn burst(instance: u32) -> u64 {
    begin().end(BURST_PARTS, instance, 0, Outcome::Unknown);
    if instance == TASKS {
        return frames() as u64;
    }
    if instance % 2 == 0 {
        panic!("{instance} in the first poll");
    }
    Yield::default().await;
    begin().end(BURST_PARTS, instance, 0, Outcome::Unknown);
    panic!("{instance} in the second poll");
}

async fn nested(instance: u32) -> u64 {
    apart(burst(instance)).await + 1
}

async fn outer(instance: u32) -> u64 {
    apart(nested(instance)).await - 1
}

fn main() {
    // A hundred messages say nothing; the panics still unwind.
    panic::set_hook(Box::new(|_| {}));
    let runtime = Builder::new_multi_thread().worker_threads(2).build().unwrap();
    truth::wait_for_go();
    let checksum = runtime.block_on(async {
        let mut sum = 0;
        for instance in 0..TASKS {
            let error = tokio::spawn(apart(outer(instance))).await.unwrap_err();
            let message = error.into_panic().downcast::<String>().unwrap();
            sum += message.split(' ').next().unwrap().parse::<u64>().unwrap();
        }
        let frames = tokio::spawn(apart(outer(TASKS))).await.unwrap();
        println!("{{\"frames\": {frames}}}");
        sum
    });
    drop(runtime);
    // Half of the tasks are polled twice, and one more task takes the backtrace.
    let polls = u64::from(TASKS + TASKS / 2 + 1);
    let polls: Vec<(&str, u64)> = PLACES[0].chain.iter().chain(&["task"]).map(|&name| (name, polls)).collect();
    truth::finish(&PLACES, &polls, checksum);
}
