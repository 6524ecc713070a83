//! Every way in which futures and tasks come together, on any runtime; each future writes down its own life.
//!
//! One construct after the other, each in a task of its own.  Await, spawn and `here` of one future stand on one line,
//! which is what the log says of them.

pub mod combinators;
pub mod dynamic;
pub mod ends;
pub mod plain;
pub mod streams;
pub mod tasks;
mod turns;

use std::future::Future;
use std::time::Duration;
use truth::{construct, here, watch};

pub use turns::{once, Joined, Turns};

/// A runtime, as far as the constructs need it.
pub trait Runtime: Send + Sync + 'static {
    type Handle<T: Send + 'static>: Handle<T>;

    #[track_caller]
    fn spawn<F>(future: F) -> Self::Handle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static;

    fn timeout<F: Future + Send>(limit: Duration, future: F) -> impl Future<Output = Option<F::Output>> + Send;

    /// Runs the function on a thread for work that blocks.
    fn blocking(work: fn() -> u64) -> impl Future<Output = u64> + Send;

    /// The runtime's own number of the task that is being polled.
    fn task_id() -> Option<String>;

    /// Whether a task can go from one worker thread to another.
    fn has_workers() -> bool;
}

/// A spawned task.
pub trait Handle<T>: Send {
    /// Waits for its end.  None: it panicked.
    fn join(self) -> impl Future<Output = Option<T>> + Send;

    /// Cancels it and waits until it is gone.
    fn abort(self) -> impl Future<Output = ()> + Send;

    fn detach(self);
}

/// All constructs that no runtime has for itself.
pub async fn all<R: Runtime>() {
    construct("23 tasks");
    here(R::spawn(watch(tasks::many::<R>()).spawned()).join()).await;
    construct("1,000 short tasks");
    here(R::spawn(watch(tasks::short::<R>()).spawned()).join()).await;
    construct("spawn from a task");
    here(R::spawn(watch(tasks::spawning::<R>()).spawned()).join()).await;
    construct("between workers");
    here(R::spawn(watch(tasks::wandering::<R>()).spawned()).join()).await;
    construct("blocking");
    here(R::spawn(watch(tasks::blocking::<R>()).spawned()).join()).await;
    construct("recursion");
    here(R::spawn(watch(plain::recursion()).spawned()).join()).await;
    construct("address reuse");
    here(R::spawn(watch(plain::reuse()).spawned()).join()).await;
    construct("address reuse after a cancel");
    here(R::spawn(watch(plain::reuse_of_cancelled()).spawned()).join()).await;
    construct("address reuse, hand-written");
    here(R::spawn(watch(plain::reuse_of_written()).spawned()).join()).await;
    construct("moved");
    here(R::spawn(watch(plain::moved()).spawned()).join()).await;
    construct("generics");
    here(R::spawn(watch(plain::generics()).spawned()).join()).await;
    construct("never polled");
    here(R::spawn(watch(plain::never_polled()).spawned()).join()).await;
    construct("inlined");
    here(R::spawn(watch(plain::inlined()).spawned()).join()).await;
    construct("join!");
    here(R::spawn(watch(combinators::join()).spawned()).join()).await;
    construct("join");
    here(R::spawn(watch(combinators::join_without_macro()).spawned()).join()).await;
    construct("try_join!");
    here(R::spawn(watch(combinators::try_join()).spawned()).join()).await;
    construct("select!");
    here(R::spawn(watch(combinators::select()).spawned()).join()).await;
    construct("select_all");
    here(R::spawn(watch(combinators::select_all()).spawned()).join()).await;
    construct("timeout elapsed");
    here(R::spawn(watch(combinators::timeout_elapsed::<R>()).spawned()).join()).await;
    construct("timeout in time");
    here(R::spawn(watch(combinators::timeout_in_time::<R>()).spawned()).join()).await;
    construct("FuturesUnordered");
    here(R::spawn(watch(combinators::unordered()).spawned()).join()).await;
    construct("Shared");
    here(R::spawn(watch(combinators::shared::<R>()).spawned()).join()).await;
    construct("boxed dyn");
    here(R::spawn(watch(dynamic::boxed()).spawned()).join()).await;
    construct("pinned dyn");
    here(R::spawn(watch(dynamic::pinned()).spawned()).join()).await;
    construct("async_trait");
    here(R::spawn(watch(dynamic::async_trait()).spawned()).join()).await;
    construct("stream next");
    here(R::spawn(watch(streams::next()).spawned()).join()).await;
    construct("buffer_unordered");
    here(R::spawn(watch(streams::buffered()).spawned()).join()).await;
    construct("cancelled");
    here(R::spawn(watch(ends::cancelled()).spawned()).join()).await;
    construct("panic caught");
    here(R::spawn(watch(ends::panic_caught()).spawned()).join()).await;
    construct("task panics");
    here(R::spawn(watch(ends::task_panics::<R>()).spawned()).join()).await;
    construct("abort");
    here(R::spawn(watch(ends::abort::<R>()).spawned()).join()).await;
    construct("shutdown");
    here(R::spawn(watch(ends::left_behind::<R>()).spawned()).join()).await;
    construct("block_on root");
}
