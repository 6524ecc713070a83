//! Programs that each have one fault for `rat-ebpf` to find, and one that has none.
//!
//! trouble FAULT: runs until it is killed.  The line to be found is the one below `// FAULT: name`.  Where the time of a
//! fault is known, the program prints it: {"begin": …, "end": …}, ns of CLOCK_MONOTONIC.

mod busy;
mod cancel;
mod clean;
mod kept;
mod leak;
mod lock;
mod lost;
mod poll;
mod pool;
mod queue;
mod rest;
mod workers;

use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Two workers.
fn multi() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn current() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// Uses the processor.
fn spin(ms: u64) {
    let until = truth::now() + ms * 1_000_000;
    while truth::now() < until {
        std::hint::spin_loop();
    }
}

fn main() {
    let fault = std::env::args().nth(1).expect("trouble FAULT");
    truth::wait_for_go();
    match fault.as_str() {
        "clean" => multi().block_on(clean::serve()),
        "long-poll-sleep" => multi().block_on(poll::sleeping()),
        "long-poll-spin" => multi().block_on(poll::spinning()),
        "long-poll-lock" => multi().block_on(poll::locking()),
        "long-poll-forever" => multi().block_on(poll::receiving()),
        "long-poll-loop" => multi().block_on(poll::looping()),
        "long-poll-outside" => poll::blocking_on(),
        "hung" => poll::hanging(),
        "hung-spin" => poll::spinning_forever(),
        "starved-tasks" => poll::starving(),
        "starved-by-all" => multi().block_on(poll::all_alike()),
        "busy-loop" => multi().block_on(busy::looping()),
        "busy-loop-yield" => multi().block_on(busy::yielding()),
        "lost-wake" => multi().block_on(lost::forgetting()),
        "futurelock" => multi().block_on(lost::futurelocking()),
        "deadlock" => multi().block_on(lost::deadlocking()),
        "deadlock-rwlock" => multi().block_on(lost::deadlocking_readers()),
        "deadlock-branches" => multi().block_on(lost::deadlocking_branches()),
        "task-leak" => multi().block_on(leak::tasks()),
        "future-leak" => multi().block_on(leak::futures()),
        "result-leak" => multi().block_on(kept::in_set()),
        "result-leak-vec" => multi().block_on(kept::in_vec()),
        "result-leak-unordered" => multi().block_on(kept::in_unordered()),
        "results-taken" => multi().block_on(kept::nowhere()),
        "held-lock" => multi().block_on(lock::holding()),
        "held-lock-forever" => multi().block_on(lock::holding_forever()),
        "long-queue" => multi().block_on(queue::permits()),
        "long-queue-channel" => multi().block_on(queue::room()),
        "backlog" => multi().block_on(queue::unbounded()),
        "backlog-computing" => multi().block_on(queue::unbounded_computing()),
        "long-queue-forever" => multi().block_on(queue::permits_forever()),
        "long-queue-leaked" => multi().block_on(queue::permits_leaked()),
        "long-queue-channel-forever" => multi().block_on(queue::room_forever()),
        "worker-imbalance" => workers::unequal(),
        "blocking-pool" => pool::flooding(),
        "cancel-storm" => multi().block_on(cancel::storming()),
        "select-cancelled" => multi().block_on(cancel::selecting()),
        "select-cancelled-inlined" => multi().block_on(cancel::selecting_inlined()),
        "rest-beside-job" => multi().block_on(rest::beside_job()),
        "rest-until-the-end" => rest::until_the_end(),
        "rest-behind-spawner" => rest::behind_spawner(),
        other => panic!("no such fault: {other}"),
    }
}
