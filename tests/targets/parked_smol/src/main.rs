//! The constructs on smol; with `under-way` polls that keep their threads.

mod waits;

use std::future::Future;
use std::time::Duration;

fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    smol::spawn(future).detach();
}

//= sleeps: sleeps@80 > Timer
async fn sleeps() {
    smol::Timer::after(Duration::from_secs(3600)).await; //@80
}

//= waits_for_task: waits_for_task@81 > Task
async fn waits_for_task() {
    smol::spawn(parked::plain::sum()).await; //@81
}

/// Polls that are under way, and a job for the pool for blocking ones.
fn keep_threads() {
    spawn(parked::under_way::blocks());
    smol::unblock(parked::under_way::blocks_thread).detach();
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("under-way") {
        keep_threads();
    } else {
        park_all();
    }
    std::thread::sleep(Duration::from_millis(100));
    truth::ready("");
    parked::until_input_ends();
    std::process::exit(0);
}

fn park_all() {
    parked::spawn_all!(spawn);
    spawn(sleeps());
    spawn(waits_for_task());
    parked::boxes_of!(crate::waits: either_way races zips zips_rest once caught_here takes_lock reads_lock
        writes_lock acquires acquires_arc barrier initialises receives sends_full next_message ticks limited
        accepts blocks chosen).into_iter().for_each(spawn);
}
