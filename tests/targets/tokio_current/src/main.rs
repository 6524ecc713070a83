//! Tasks on tokio's current-thread runtime in a LocalSet: all polls on the main thread, futures that are not Send.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::task::{spawn_local, LocalSet};
use tokio::time::sleep;
use truth::{apart, begin, opaque, Kind, Leaf, Outcome, Place};

const TASKS: u32 = 23;
const POLLS: u32 = 47;

const OUTER: u32 = 0;
const NESTED_PARTS: u32 = 1;

const PLACES: [Place; 2] = [
    Place { kind: Kind::Poll, chain: &["tokio_current::outer", "tokio_current::nested", "truth::future::Leaf"] },
    Place { kind: Kind::Part, chain: &["tokio_current::outer", "tokio_current::nested"] },
];

async fn outer(instance: u32, sum: Rc<Cell<u64>>) {
    let value = apart(nested(instance)).await;
    sum.set(sum.get() + value);
}

async fn nested(instance: u32) -> u64 {
    let part = begin();
    let leaf = Leaf::new(OUTER, instance, POLLS, || sleep(Duration::from_millis(1)));
    part.end(NESTED_PARTS, instance, 0, Outcome::Pending);
    let value = leaf.await;
    let part = begin();
    let value = opaque(value) * 3;
    part.end(NESTED_PARTS, instance, 0, Outcome::Ready);
    value
}

fn main() {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    truth::wait_for_go();
    let sum = Rc::new(Cell::new(0));
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let tasks: Vec<_> = (0..TASKS).map(|instance| spawn_local(apart(outer(instance, sum.clone())))).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    let polls = u64::from(TASKS * POLLS);
    let polls: Vec<(&str, u64)> = PLACES[0].chain.iter().chain(&["task"]).map(|&name| (name, polls)).collect();
    truth::finish(&PLACES, &polls, sum.get());
}
