//! On smol, with two threads of its executor.

use std::future::Future;

struct Smol;

impl schedules::Runtime for Smol {
    fn spawn(future: impl Future<Output = ()> + Send + 'static) -> impl Future<Output = ()> + Send {
        smol::spawn(future)
    }
}

fn main() {
    std::env::set_var("SMOL_THREADS", "2");
    schedules::wait_for_go();
    smol::block_on(schedules::all::<Smol>());
    schedules::tell();
}
