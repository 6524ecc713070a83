//! On smol.

use std::future::Future;
use std::pin::Pin;

struct Smol;

impl jobs::Runtime for Smol {
    fn spawn(future: impl Future<Output = ()> + Send + 'static) -> impl Future<Output = ()> + Send {
        smol::spawn(future)
    }

    fn unblock<R: Send + 'static>(job: impl FnOnce() -> R + Send + 'static) -> Pin<Box<dyn Future<Output = R> + Send>> {
        Box::pin(smol::unblock(job))
    }

    fn in_place(_work: impl FnOnce()) -> bool {
        false
    }
}

fn main() {
    std::env::set_var("BLOCKING_MAX_THREADS", jobs::THREADS.to_string());
    jobs::wait_for_go();
    smol::block_on(jobs::all::<Smol>());
}
