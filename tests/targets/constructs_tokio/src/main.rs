//! The constructs on tokio, and those that only tokio has.
//!
//! constructs_tokio multi: on two workers.  current: on the current thread.  local: in a LocalSet.
//! showcase: see there.

mod own;
mod showcase;

use constructs::{Handle, Runtime};
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::task::{self, JoinHandle, LocalSet};
use tokio::time;
use truth::watch;

/// Whether tasks go into a LocalSet.
static IS_LOCAL: AtomicBool = AtomicBool::new(false);
static HAS_WORKERS: AtomicBool = AtomicBool::new(false);

struct Tokio;

struct Spawned<T>(JoinHandle<T>);

impl Runtime for Tokio {
    type Handle<T: Send + 'static> = Spawned<T>;

    #[track_caller]
    fn spawn<F>(future: F) -> Spawned<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Spawned(if IS_LOCAL.load(Relaxed) { task::spawn_local(future) } else { tokio::spawn(future) })
    }

    async fn timeout<F: Future + Send>(limit: Duration, future: F) -> Option<F::Output> {
        time::timeout(limit, future).await.ok()
    }

    async fn blocking(work: fn() -> u64) -> u64 {
        task::spawn_blocking(work).await.unwrap()
    }

    fn task_id() -> Option<String> {
        task::try_id().map(|id| id.to_string())
    }

    fn has_workers() -> bool {
        HAS_WORKERS.load(Relaxed)
    }
}

impl<T: Send + 'static> Handle<T> for Spawned<T> {
    async fn join(self) -> Option<T> {
        self.0.await.ok()
    }

    async fn abort(self) {
        self.0.abort();
        assert!(self.0.await.is_err_and(|error| error.is_cancelled()));
    }

    fn detach(self) {
        drop(self.0);
    }
}

fn main() {
    std::panic::set_hook(Box::new(|_| {}));
    let mode = std::env::args().nth(1).expect("constructs_tokio multi|current|local|showcase");
    IS_LOCAL.store(mode == "local", Relaxed);
    HAS_WORKERS.store(matches!(mode.as_str(), "multi" | "showcase"), Relaxed);
    let mut builder = if Tokio::has_workers() { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    let runtime = builder.worker_threads(2).enable_time().build().unwrap();
    truth::wait_for_go();
    truth::construct("block_on root");
    match mode.as_str() {
        "multi" | "current" => runtime.block_on(watch(own::root::<Tokio>())),
        "local" => LocalSet::new().block_on(&runtime, watch(own::root::<Tokio>())),
        "showcase" => runtime.block_on(showcase::run()),
        _ => panic!("no mode called {mode}"),
    }
    drop(runtime);
    truth::finish(&[], &[], 0);
}
