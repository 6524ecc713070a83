//! Tasks of many shapes on tokio's multi-thread runtime, each with a known number of polls.
//!
//! tokio_multi [ROUNDS]: as often as that, one after the other.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{sleep, Sleep};
use truth::{apart, begin, opaque, Kind, Outcome, Place, Yield};

/// Polls of each task.
const POLLS: u32 = 47;

type Leaf = truth::Leaf<Sleep>;

const LEAF: &str = "truth::future::Leaf";
const OUTER: u32 = 0;
const NESTED_PARTS: u32 = 1;
const STEPS: u32 = 2;
const CARRY: u32 = 3;
const BLOCK: u32 = 4;
const THROUGH_BOX: u32 = 5;
const AROUND: u32 = 6;
const LEFT: u32 = 7;
const RIGHT: u32 = 8;

const PLACES: [Place; 9] = [
    Place { kind: Kind::Poll, chain: &["tokio_multi::outer", "tokio_multi::nested", LEAF] },
    Place { kind: Kind::Part, chain: &["tokio_multi::outer", "tokio_multi::nested"] },
    Place { kind: Kind::Resume, chain: &["tokio_multi::steps"] },
    Place { kind: Kind::Poll, chain: &["tokio_multi::carry", LEAF] },
    Place { kind: Kind::Poll, chain: &["tokio_multi::block", LEAF] },
    Place { kind: Kind::Poll, chain: &["tokio_multi::through_box", "tokio_multi::boxed", LEAF] },
    Place { kind: Kind::Poll, chain: &["tokio_multi::around", "tokio_multi::inlined", LEAF] },
    Place { kind: Kind::Poll, chain: &["tokio_multi::left::work", LEAF] },
    Place { kind: Kind::Poll, chain: &["tokio_multi::right::work", LEAF] },
];

/// How many tasks begin at each place, in the order in which `main` spawns them.  No place has few polls: of 600 the
/// slowest hundredth still says something about the place, of 100 only whether the machine did something else twice.
const TASKS: [(u32, u32); 8] = [
    (OUTER, 23),
    (STEPS, 23),
    (CARRY, 14),
    (BLOCK, 13),
    (THROUGH_BOX, 13),
    (AROUND, 13),
    (LEFT, 13),
    (RIGHT, 13),
];

fn leaf(place: u32, instance: u32) -> Leaf {
    Leaf::new(place, instance, POLLS, || sleep(Duration::from_millis(1)))
}

async fn outer(instance: u32) -> u64 {
    apart(nested(instance)).await + 1
}

async fn nested(instance: u32) -> u64 {
    let part = begin();
    let leaf = leaf(OUTER, instance);
    part.end(NESTED_PARTS, instance, 0, Outcome::Pending);
    let value = leaf.await;
    let part = begin();
    let value = opaque(value) * 3;
    part.end(NESTED_PARTS, instance, 0, Outcome::Ready);
    value
}

/// Each poll runs one of the recorded parts: the first up to the first await, the others from one await to the next.
async fn steps(instance: u32) -> u64 {
    for _ in 1..POLLS {
        begin().end(STEPS, instance, 0, Outcome::Pending);
        Yield::default().await;
    }
    begin().end(STEPS, instance, 0, Outcome::Ready);
    u64::from(instance)
}

/// Instantiated twice: two functions of one name.
async fn carry<T: ToString, U: ToString>(first: T, second: U, instance: u32) -> u64 {
    let value = leaf(CARRY, instance).await;
    value + (first.to_string() + &second.to_string()).len() as u64
}

#[allow(clippy::manual_async_fn)] // an async block is what it is about
fn block(instance: u32) -> impl Future<Output = u64> {
    async move { leaf(BLOCK, instance).await + 2 }
}

fn boxed(instance: u32) -> Pin<Box<dyn Future<Output = u64> + Send>> {
    // Opaque, or the optimiser sees through the first call of the vtable.
    opaque(Box::pin(async move { leaf(THROUGH_BOX, instance).await + 3 }))
}

async fn through_box(instance: u32) -> u64 {
    boxed(instance).await + 4
}

/// The optimiser makes no function of `inlined`: there it is only a part of this one.
async fn around(instance: u32) -> u64 {
    inlined(instance).await + 5
}

async fn inlined(instance: u32) -> u64 {
    leaf(AROUND, instance).await + 5
}

mod left {
    pub async fn work(instance: u32) -> u64 {
        super::leaf(super::LEFT, instance).await + 6
    }
}

mod right {
    pub async fn work(instance: u32) -> u64 {
        super::leaf(super::RIGHT, instance).await + 7
    }
}

/// first: the number of the first one.  Returns the number after the last one.
fn spawn_all(tasks: &mut JoinSet<u64>, first: u32) -> u32 {
    let mut instance = first;
    for (place, count) in TASKS {
        for _ in 0..count {
            match place {
                OUTER => tasks.spawn(apart(outer(instance))),
                STEPS => tasks.spawn(apart(steps(instance))),
                CARRY if instance % 2 == 0 => tasks.spawn(apart(carry(1_u8, String::from("one"), instance))),
                CARRY => tasks.spawn(apart(carry(String::from("two"), 22_u64, instance))),
                BLOCK => tasks.spawn(apart(block(instance))),
                THROUGH_BOX => tasks.spawn(apart(through_box(instance))),
                AROUND => tasks.spawn(apart(around(instance))),
                LEFT => tasks.spawn(apart(left::work(instance))),
                _ => tasks.spawn(apart(right::work(instance))),
            };
            instance += 1;
        }
    }
    instance
}

fn main() {
    let rounds: u32 = std::env::args().nth(1).map_or(1, |text| text.parse().unwrap());
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    truth::wait_for_go();
    let checksum = runtime.block_on(async {
        let mut tasks = JoinSet::new();
        let (mut sum, mut next): (u64, u32) = (0, 0);
        for _ in 0..rounds {
            next = spawn_all(&mut tasks, next);
            while let Some(value) = tasks.join_next().await {
                sum += value.unwrap();
            }
        }
        sum
    });
    drop(runtime);
    let polls: Vec<(&str, u64)> = TASKS
        .iter()
        .flat_map(|&(place, count)| {
            let polls = u64::from(rounds * count * POLLS);
            let chain = PLACES[place as usize].chain.iter().map(move |&name| (name, polls));
            // `steps` awaits one Yield fewer than it is polled.
            let yields = if place == STEPS { 2 * u64::from(rounds * count * (POLLS - 1)) } else { 0 };
            chain.chain([("truth::future::Yield", yields), ("task", polls)])
        })
        .collect();
    truth::finish(&PLACES, &polls, checksum);
}
