//! Compiled as a crate called tokio: what has the names of its functions that make tasks, inlined as rustc may do it.

use std::hint::black_box;

pub mod runtime {
    pub mod task {
        pub mod core {
            pub struct Cell<T, S>(pub T, pub S);

            impl<T, S> Cell<T, S> {
                #[inline(never)]
                pub fn new(future: T, scheduler: S) -> Box<Cell<T, S>> {
                    Box::new(Cell(future, scheduler))
                }
            }
        }

        pub mod list {
            pub struct OwnedTasks<S>(pub Vec<S>);

            impl<S> OwnedTasks<S> {
                #[inline(never)]
                pub fn bind_inner(&mut self, task: S) -> usize {
                    self.0.push(task);
                    self.0.len()
                }
            }
        }
    }

    pub mod scheduler {
        pub mod multi_thread {
            pub mod handle {
                use super::super::super::task::{core::Cell, list::OwnedTasks};
                use std::hint::black_box;

                pub struct Handle;

                impl Handle {
                    /// The list's own function is a part of it.
                    #[inline(never)]
                    pub fn bind_new_task<T>(&self, future: T) -> Box<Cell<T, u8>> {
                        black_box(Cell::new(future, 1))
                    }

                    /// It leaves it to the list's.
                    #[inline(never)]
                    pub fn spawn<T>(&self, future: T, list: &mut OwnedTasks<u8>) -> Box<Cell<T, u8>> {
                        let task = Cell::new(future, 1);
                        black_box(list.bind_inner(task.1));
                        task
                    }
                }
            }
        }
    }

    pub mod blocking {
        pub mod pool {
            use super::super::task::core::Cell;
            use std::hint::black_box;

            /// What it makes is no task.
            #[inline(never)]
            pub fn spawn_blocking<T>(job: T) -> Box<Cell<T, u8>> {
                black_box(Cell::new(job, 7))
            }
        }
    }
}

fn main() {
    let handle = black_box(runtime::scheduler::multi_thread::handle::Handle);
    let mut list = runtime::task::list::OwnedTasks(vec![0]);
    black_box(handle.bind_new_task(1u64));
    black_box(handle.spawn(2u64, &mut list));
    black_box(runtime::blocking::pool::spawn_blocking(3u64));
}
