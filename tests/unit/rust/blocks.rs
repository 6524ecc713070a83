//! As tokio is laid out, with tasks whose futures are async blocks: of a generic function, and two of one function.

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll};

mod runtime {
    pub mod task {
        pub mod core {
            pub struct Cell<T, S> {
                pub scheduler: S,
                pub future: T,
            }
        }

        pub mod raw {
            use super::core::Cell;
            use std::future::Future;
            use std::pin::Pin;
            use std::task::{Context, Waker};

            #[inline(never)]
            pub fn poll<T: Future<Output = u64>, S>(cell: *mut Cell<T, S>) {
                let mut context = Context::from_waker(Waker::noop());
                while unsafe { Pin::new_unchecked(&mut (*cell).future) }.poll(&mut context).is_pending() {}
                let drop: unsafe fn(*mut Cell<T, S>) = std::ptr::drop_in_place;
                unsafe { super::super::super::black_box(drop)(cell) };
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

/// What is dropped with a task, and not inlined into what drops it.
struct Kept(u64);

impl Drop for Kept {
    #[inline(never)]
    fn drop(&mut self) {
        black_box(self.0);
    }
}

fn generic<T: Into<u64>>(number: T) -> impl Future<Output = u64> {
    let kept = (Kept(1), Kept(number.into()));
    async move { // generic
        for number in 0..black_box(kept.1.0) {
            println!("{number} {}", Twice(false).await);
            println!("{number} {}", Twice(false).await);
        }
        kept.0.0
    }
}

fn two(number: u64) -> (impl Future<Output = u64>, impl Future<Output = u64>) {
    let kept = (Kept(2), Kept(number), Kept(3), Kept(number));
    let large = async move { // large
        for number in 0..black_box(kept.1.0) {
            println!("{number} {}", Twice(false).await);
            println!("{number} {}", Twice(false).await);
        }
        kept.0.0 + kept.2.0 + kept.3.0
    };
    let kept = (Kept(4), Kept(number));
    let small = async move { // small
        let first = Twice(false).await;
        kept.0.0 + kept.1.0 + first
    };
    (large, small)
}

fn spawn<S>(future: impl Future<Output = u64>, scheduler: S) {
    let cell = Box::new(runtime::task::core::Cell { scheduler, future });
    runtime::task::raw::poll(black_box(Box::into_raw(cell)));
}

fn main() {
    // With two schedulers each, so that the large ones have functions of their own.
    spawn(generic(7_u8), 0_u8);
    spawn(generic(7_u8), 0_u16);
    spawn(two(8).0, 0_u8);
    spawn(two(8).0, 0_u16);
    spawn(two(9).1, 0_u8);
}
