//! The constructs on async-std.

mod waits;

use std::future::Future;
use std::time::Duration;

fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    async_std::task::spawn(future);
}

//= sleeps: sleeps@80 > sleep@? > timeout@? > Timeout > {pending@? > Pending | Timer?}
async fn sleeps() {
    async_std::task::sleep(Duration::from_secs(3600)).await; //@80
}

//= waits_for_task: waits_for_task@81 > JoinHandle > ?
async fn waits_for_task() {
    async_std::task::spawn(parked::plain::sum()).await; //@81
}

fn main() {
    parked::spawn_all!(spawn);
    spawn(sleeps());
    spawn(waits_for_task());
    parked::boxes_of!(crate::waits: limited limited_leaf takes_lock reads_lock writes_lock receives
        sends_full next_message folds_here accepts blocks io_limited by_poll_fn).into_iter().for_each(spawn);
    std::thread::sleep(Duration::from_millis(100));
    truth::ready("");
    parked::until_input_ends();
    std::process::exit(0);
}
