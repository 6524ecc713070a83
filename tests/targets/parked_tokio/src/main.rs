//! The constructs on tokio, and those that only tokio has: on two runtimes and in a LocalSet.
//!
//! With a number: so many tasks that are woken now and then, and how many turns they make.

mod macros;
mod own;
mod turns;
mod waits;

use std::future::Future;
use std::io::Read;
use tokio::runtime::Builder;
use tokio::task::LocalSet;

fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(future);
}

fn main() {
    if let Some(count) = std::env::args().nth(1).and_then(|word| word.parse().ok()) {
        return turns::run(count);
    }
    let many = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    many.block_on(async {
        parked::spawn_all!(spawn);
        own::spawn_all();
    });
    std::thread::spawn(|| {
        let single = Builder::new_current_thread().enable_all().build().unwrap();
        let local = LocalSet::new();
        local.spawn_local(own::in_local_set());
        single.block_on(local.run_until(own::on_one_thread()));
    });
    if std::env::args().nth(1).as_deref() == Some("busy") {
        many.spawn(own::busy());
        many.spawn(own::busy());
    }
    std::thread::sleep(std::time::Duration::from_millis(100));
    truth::ready("");
    let _ = std::io::stdin().read(&mut [0]);
    std::process::exit(0);
}
