//! Tasks on smol's global executor (async-task underneath), each with a known number of polls.

use smol::Timer;
use std::time::Duration;
use truth::{apart, begin, opaque, Kind, Leaf, Outcome, Place};

const TASKS: u32 = 23;
const POLLS: u32 = 47;

const OUTER: u32 = 0;
const NESTED_PARTS: u32 = 1;

const PLACES: [Place; 2] = [
    Place { kind: Kind::Poll, chain: &["smol_log::outer", "smol_log::nested", "truth::future::Leaf"] },
    Place { kind: Kind::Part, chain: &["smol_log::outer", "smol_log::nested"] },
];

async fn outer(instance: u32) -> u64 {
    apart(nested(instance)).await + 1
}

async fn nested(instance: u32) -> u64 {
    let part = begin();
    let leaf = Leaf::new(OUTER, instance, POLLS, || Timer::after(Duration::from_millis(1)));
    part.end(NESTED_PARTS, instance, 0, Outcome::Pending);
    let value = leaf.await;
    let part = begin();
    let value = opaque(value) * 3;
    part.end(NESTED_PARTS, instance, 0, Outcome::Ready);
    value
}

fn main() {
    // The executor's threads start with the first task.
    smol::block_on(smol::spawn(async {}));
    truth::wait_for_go();
    let checksum = smol::block_on(async {
        let tasks: Vec<_> = (0..TASKS).map(|instance| smol::spawn(apart(outer(instance)))).collect();
        let mut sum = 0;
        for task in tasks {
            sum += task.await;
        }
        sum
    });
    let polls = u64::from(TASKS * POLLS);
    let polls: Vec<(&str, u64)> = PLACES[0].chain.iter().chain(&["task"]).map(|&name| (name, polls)).collect();
    truth::finish(&PLACES, &polls, checksum);
}
