//! Ends in unusual ways while it polls.
//!
//! life exit: exits with code 7 inside a poll.  life exec: becomes `life after`, which polls and ends well.
//! life fork: a child polls too, each says its checksum.  life abort: raises SIGABRT inside a poll.

use std::os::unix::process::CommandExt;
use std::process::{abort, exit, Command};
use tokio::runtime::{Builder, Runtime};
use truth::{apart, Yield};

const TURNS: u64 = 997;

async fn turn(value: u64) -> u64 {
    Yield::default().await;
    value.wrapping_mul(3) ^ 1
}

async fn turns(count: u64) -> u64 {
    let mut value = 0;
    for _ in 0..count {
        value = apart(turn(value)).await;
    }
    value
}

async fn end_inside(how: fn()) {
    apart(turns(TURNS)).await;
    how();
    unreachable!("it should have ended the process");
}

fn work(runtime: &Runtime) -> u64 {
    runtime.block_on(async { tokio::spawn(apart(turns(TURNS))).await.unwrap() })
}

/// Works once more and says that this process, since its last exec, has worked `times` times.
fn end(runtime: &Runtime, times: u64) {
    let value = work(runtime);
    // The lowest bits are enough, and JSON numbers above 2^53 are trouble.
    let polls = times * (TURNS + 1);
    let polls = [("life::turns", polls), ("life::turn", times * 2 * TURNS), ("task", polls)];
    truth::finish(&[], &polls, value % 65521);
}

fn main() {
    let how = std::env::args().nth(1).expect("life exit|exec|fork|abort|after");
    // No threads and no drivers, so that a fork leaves a runtime that works.
    let runtime = Builder::new_current_thread().build().unwrap();
    if how == "after" {
        return end(&runtime, 1);
    }
    truth::wait_for_go();
    match how.as_str() {
        "exit" => runtime.block_on(async { tokio::spawn(apart(end_inside(|| exit(7)))).await.unwrap() }),
        "abort" => runtime.block_on(async { tokio::spawn(apart(end_inside(|| abort()))).await.unwrap() }),
        "exec" => {
            work(&runtime);
            let error = Command::new("/proc/self/exe").arg("after").exec();
            panic!("exec: {error}");
        }
        "fork" => {
            work(&runtime);
            match unsafe { libc::fork() } {
                0 => end(&runtime, 1),
                child => {
                    let mut status = -1;
                    unsafe { libc::waitpid(child, &mut status, 0) };
                    assert_eq!(status, 0, "the child's status");
                    end(&runtime, 2);
                }
            }
        }
        _ => panic!("no way to end called {how}"),
    }
}
