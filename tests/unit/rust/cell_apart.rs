//! As tokio is laid out: what polls a task is in another module, and so in another unit of the debug information,
//! than what knows the type that it was allocated as.  `Cell::new` is inlined into the poll's unit, which therefore
//! declares that type, without its members.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

mod runtime {
    pub mod task {
        pub mod core {
            use std::future::Future;
            use std::hint::black_box;
            use std::pin::Pin;
            use std::task::{Context, Waker};

            pub struct Header(#[allow(dead_code)] u64);

            #[repr(C)]
            pub struct Cell<T, S> {
                pub header: Header,
                pub core: Core<T, S>,
            }

            #[repr(C)]
            pub struct Core<T, S> {
                pub scheduler: S,
                pub stage: Stage<T>,
            }

            #[repr(C)]
            pub enum Stage<T> {
                Running(T),
                Consumed,
            }

            impl<T, S> Cell<T, S> {
                pub fn new(future: T, scheduler: S) -> Box<Self> {
                    let header = Header(black_box(black_box(black_box(0))));
                    let core = Core { scheduler, stage: Stage::Running(future) };
                    Box::new(Cell { header, core })
                }
            }

            #[inline(never)]
            pub unsafe fn run<T: Future, S>(header: *mut Header) -> bool {
                let cell = header as *mut Cell<T, S>;
                let Stage::Running(future) = &mut (*cell).core.stage else { return true };
                let context = &mut Context::from_waker(Waker::noop());
                let done = Pin::new_unchecked(future).poll(context).is_ready();
                if done {
                    (*cell).core.stage = Stage::Consumed;
                }
                done
            }
        }

        pub mod raw {
            use super::core::{run, Cell, Header};
            use std::future::Future;

            #[inline(never)]
            pub fn allocate<T, S>(future: T, scheduler: S) -> *mut Header {
                Box::into_raw(Cell::new(future, scheduler)).cast()
            }

            #[inline(never)]
            pub unsafe fn poll<T: Future, S>(header: *mut Header) -> bool {
                run::<T, S>(header)
            }
        }
    }
}

pub struct Twice(bool);

impl Future for Twice {
    type Output = u64;

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u64> {
        if std::mem::replace(&mut self.0, true) {
            Poll::Ready(2)
        } else {
            Poll::Pending
        }
    }
}

async fn work(number: u64) -> u64 {
    Twice(false).await + number
}

fn main() {
    use runtime::task::{core, raw};
    fn poll_of<T: Future>(_: fn(u64) -> T) -> unsafe fn(*mut core::Header) -> bool {
        raw::poll::<T, u32>
    }
    let task = raw::allocate(work(40), 7u32);
    let poll = std::hint::black_box(poll_of(work));
    while !unsafe { poll(task) } {}
}
