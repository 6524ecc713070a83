//! On tokio, with two workers.

use std::future::Future;

struct Tokio;

impl schedules::Runtime for Tokio {
    fn spawn(future: impl Future<Output = ()> + Send + 'static) -> impl Future<Output = ()> + Send {
        let handle = tokio::spawn(future);
        async { handle.await.unwrap() }
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    schedules::wait_for_go();
    runtime.block_on(schedules::all::<Tokio>());
    schedules::tell();
}
