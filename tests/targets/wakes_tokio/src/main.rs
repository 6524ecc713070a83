//! On tokio: `current` or `multi` (two workers).

use std::future::Future;
use std::time::Duration;
use tokio::runtime::Builder;

struct Tokio;

impl wakes::Runtime for Tokio {
    fn spawn(future: impl Future<Output = ()> + Send + 'static) -> impl Future<Output = ()> + Send {
        let handle = tokio::spawn(future);
        async { handle.await.unwrap() }
    }

    async fn sleep(duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

fn main() {
    let is_current = std::env::args().nth(1).as_deref() == Some("current");
    let mut builder = if is_current { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    let runtime = builder.worker_threads(2).enable_all().build().unwrap();
    wakes::wait_for_go();
    runtime.block_on(wakes::all::<Tokio>());
}
