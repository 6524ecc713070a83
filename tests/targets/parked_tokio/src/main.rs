//! The constructs on tokio, and those that only tokio has: on two runtimes and in a LocalSet.
//!
//! With a number: so many tasks that are woken now and then, and how many turns they make.  With `states`: a task in each
//! state.  With `alike`: many in one stack.  With `replaced`: tasks in whose place others come all the time.  With `under-way`:
//! such as keep their threads.

mod alike;
mod macros;
mod own;
mod replaced;
mod states;
mod turns;
mod under_way;
mod waits;

use std::future::Future;
use tokio::runtime::Builder;
use tokio::task::LocalSet;

fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(future);
}

fn main() {
    let word = std::env::args().nth(1).unwrap_or_default();
    match word.as_str() {
        "states" => return states::run(),
        "alike" => return alike::run(),
        "replaced" => return replaced::run(),
        "under-way" => return under_way::run(),
        _ => {}
    }
    if let Ok(count) = word.parse() {
        return turns::run(count);
    }
    let many = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    many.block_on(async {
        parked::spawn_all!(spawn);
        own::spawn_all();
    });
    std::thread::spawn(|| {
        let single = Builder::new_current_thread().enable_all().build().unwrap();
        let local = LocalSet::new();
        local.spawn_local(own::in_local_set());
        local.spawn_local(own::kept_on_thread());
        single.block_on(local.run_until(own::on_one_thread()));
    });
    if word == "busy" {
        many.spawn(own::busy());
        many.spawn(own::busy());
    }
    std::thread::sleep(std::time::Duration::from_millis(100));
    truth::ready("");
    parked::until_input_ends();
    std::process::exit(0);
}
