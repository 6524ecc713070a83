//! As tokio is laid out, with tasks whose futures are async blocks of methods that have the same name.

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll};

mod runtime {
    pub mod task {
        pub mod raw {
            use std::future::Future;
            use std::pin::Pin;
            use std::task::{Context, Waker};

            #[inline(never)]
            pub fn poll<T: Future<Output = u64>, S>(future: *mut T, _scheduler: S) {
                let mut context = Context::from_waker(Waker::noop());
                while unsafe { Pin::new_unchecked(&mut *future) }.poll(&mut context).is_pending() {}
            }
        }
    }
}

struct Twice(bool);

impl Future for Twice {
    type Output = u64;
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u64> {
        self.0 = !self.0;
        if self.0 { Poll::Pending } else { Poll::Ready(black_box(3)) }
    }
}

mod server {
    use super::{black_box, Future, Twice};

    pub struct Listener(pub u64);
    pub struct Handler(pub u64);

    impl Listener {
        pub fn run(self) -> impl Future<Output = u64> {
            async move {
                let first = Twice(false).await;
                black_box(self.0) + first + Twice(false).await
            }
        }
    }

    impl Handler {
        pub fn run(self) -> impl Future<Output = u64> {
            async move {
                let first = Twice(false).await;
                black_box(self.0) * first * Twice(false).await * Twice(false).await
            }
        }
    }

    pub fn run(number: u64) -> impl Future<Output = u64> {
        async move { black_box(number) - Twice(false).await }
    }
}

fn spawn(future: impl Future<Output = u64>) {
    let future = black_box(Box::into_raw(Box::new(future)));
    runtime::task::raw::poll(future, 0_u8);
}

fn main() {
    spawn(server::Listener(7).run());
    spawn(server::Handler(8).run());
    spawn(server::run(9));
}
