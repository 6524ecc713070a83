//! The constructs on async-std.

use async_std::task::{self, JoinHandle};
use constructs::{Handle, Joined, Runtime};
use std::future::Future;
use std::time::Duration;
use truth::watch;

struct AsyncStd;

struct Spawned<T>(JoinHandle<T>);

impl Runtime for AsyncStd {
    type Handle<T: Send + 'static> = Spawned<T>;

    fn spawn<F>(future: F) -> Spawned<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Spawned(task::spawn(future))
    }

    async fn timeout<F: Future + Send>(limit: Duration, future: F) -> Option<F::Output> {
        async_std::future::timeout(limit, future).await.ok()
    }

    fn blocking(work: fn() -> u64) -> impl Future<Output = u64> + Send {
        task::spawn_blocking(work)
    }

    fn task_id() -> Option<String> {
        Some(task::current().id().to_string())
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
        drop(self.0);
    }
}

fn main() {
    std::panic::set_hook(Box::new(|_| {}));
    // As many as there would be workers of tokio; they start with the first task.
    std::env::set_var("ASYNC_STD_THREAD_COUNT", "2");
    task::block_on(task::spawn(async {}));
    truth::wait_for_go();
    truth::construct("block_on root");
    task::block_on(watch(constructs::all::<AsyncStd>()));
    truth::finish(&[], &[], 0);
}
