//! On async-std.

use std::future::Future;
use std::pin::Pin;

struct AsyncStd;

impl jobs::Runtime for AsyncStd {
    const IS_DIRECT: bool = false;

    fn spawn(future: impl Future<Output = ()> + Send + 'static) -> impl Future<Output = ()> + Send {
        async_std::task::spawn(future)
    }

    fn unblock<R: Send + 'static>(job: impl FnOnce() -> R + Send + 'static) -> Pin<Box<dyn Future<Output = R> + Send>> {
        Box::pin(async_std::task::spawn_blocking(job))
    }

    fn in_place(_work: impl FnOnce()) -> bool {
        false
    }
}

fn main() {
    std::env::set_var("BLOCKING_MAX_THREADS", jobs::THREADS.to_string());
    jobs::wait_for_go();
    async_std::task::block_on(jobs::all::<AsyncStd>());
}
