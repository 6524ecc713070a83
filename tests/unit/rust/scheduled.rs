//! As tokio is laid out: a task and a job of which nothing but the scheduler tells which is which, for their futures
//! are inlined and need no drop.

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll};

mod runtime {
    pub mod blocking {
        pub mod schedule {
            use crate::runtime::task::Schedule;

            pub struct BlockingSchedule(#[allow(dead_code)] pub u64);

            impl Schedule for BlockingSchedule {
                #[inline(never)]
                fn schedule(&self) {
                    unreachable!();
                }
            }
        }
    }

    pub mod task {
        pub trait Schedule {
            fn schedule(&self);
        }

        pub mod raw {
            use super::Schedule;
            use std::future::Future;
            use std::pin::Pin;
            use std::task::{Context, Waker};

            pub struct Cell<T, S>(pub S, pub T);

            #[repr(C)]
            pub struct Vtable {
                pub poll: unsafe fn(*mut ()),
                pub schedule: unsafe fn(*mut ()),
                rest: [unsafe fn(*mut ()); 5],
            }

            unsafe fn nothing(_: *mut ()) {}

            #[inline(never)]
            unsafe fn poll<T: Future, S>(cell: *mut ()) {
                let future = Pin::new_unchecked(&mut (*cell.cast::<Cell<T, S>>()).1);
                let _ = future.poll(&mut Context::from_waker(Waker::noop())).is_ready();
            }

            #[inline(never)]
            unsafe fn schedule<T, S: Schedule>(cell: *mut ()) {
                (*cell.cast::<Cell<T, S>>()).0.schedule();
            }

            pub fn vtable<T: Future, S: Schedule>() -> &'static Vtable {
                const { &Vtable { poll: poll::<T, S>, schedule: schedule::<T, S>, rest: [nothing; 5] } }
            }
        }
    }
}

struct Handle(u64);

impl runtime::task::Schedule for Handle {
    #[inline(never)]
    fn schedule(&self) {
        println!("{}", self.0);
    }
}

struct Sum(u64);

impl Future for Sum {
    type Output = u64;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u64> {
        Poll::Ready(black_box(self.0))
    }
}

struct Product(u64);

impl Future for Product {
    type Output = u64;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u64> {
        Poll::Ready(black_box(self.0) * black_box(7))
    }
}

fn main() {
    use runtime::blocking::schedule::BlockingSchedule;
    use runtime::task::raw::{vtable, Cell};
    let task = black_box(vtable::<Sum, Handle>());
    let job = black_box(vtable::<Product, BlockingSchedule>());
    let mut of_task = Cell(Handle(1), Sum(2));
    let mut of_job = Cell(BlockingSchedule(3), Product(4));
    unsafe {
        (task.schedule)((&raw mut of_task).cast());
        (task.poll)((&raw mut of_task).cast());
        (job.poll)((&raw mut of_job).cast());
    }
}
