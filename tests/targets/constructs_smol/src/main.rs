//! The constructs on smol.

use constructs::{Handle, Joined, Runtime};
use smol::Timer;
use std::future::Future;
use std::time::Duration;
use truth::watch;

struct Smol;

struct Spawned<T>(smol::Task<T>);

impl Runtime for Smol {
    type Handle<T: Send + 'static> = Spawned<T>;

    fn spawn<F>(future: F) -> Spawned<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Spawned(smol::spawn(future))
    }

    fn timeout<F: Future + Send>(limit: Duration, future: F) -> impl Future<Output = Option<F::Output>> + Send {
        smol::future::or(async { Some(future.await) }, async move {
            Timer::after(limit).await;
            None
        })
    }

    fn blocking(work: fn() -> u64) -> impl Future<Output = u64> + Send {
        smol::unblock(work)
    }

    fn task_id() -> Option<String> {
        None
    }

    fn has_workers() -> bool {
        true
    }
}

impl<T: Send + 'static> Handle<T> for Spawned<T> {
    fn join(self) -> impl Future<Output = Option<T>> + Send {
        Joined(self.0)
    }

    async fn abort(self) {
        self.0.cancel().await;
    }

    fn detach(self) {
        self.0.detach();
    }
}

fn main() {
    std::panic::set_hook(Box::new(|_| {}));
    // As many as there would be workers of tokio; they start with the first task.
    std::env::set_var("SMOL_THREADS", "2");
    smol::block_on(smol::spawn(async {}));
    truth::wait_for_go();
    truth::construct("block_on root");
    smol::block_on(watch(constructs::all::<Smol>()));
    truth::finish(&[], &[], 0);
}
