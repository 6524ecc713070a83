//! On tokio: `current` or `multi` (two workers).

use std::future::Future;
use std::pin::Pin;
use tokio::runtime::{Builder, Handle, RuntimeFlavor};

struct Tokio;

impl jobs::Runtime for Tokio {
    fn spawn(future: impl Future<Output = ()> + Send + 'static) -> impl Future<Output = ()> + Send {
        let handle = tokio::spawn(future);
        async { handle.await.unwrap() }
    }

    fn unblock<R: Send + 'static>(job: impl FnOnce() -> R + Send + 'static) -> Pin<Box<dyn Future<Output = R> + Send>> {
        let handle = tokio::task::spawn_blocking(job);
        Box::pin(async { handle.await.unwrap() })
    }

    fn in_place(work: impl FnOnce()) -> bool {
        let has = Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread;
        if has {
            tokio::task::block_in_place(work);
        }
        has
    }
}

fn main() {
    let is_current = std::env::args().nth(1).as_deref() == Some("current");
    let mut builder = if is_current { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    let runtime = builder.worker_threads(2).max_blocking_threads(jobs::THREADS).enable_all().build().unwrap();
    jobs::wait_for_go();
    runtime.block_on(jobs::all::<Tokio>());
}
