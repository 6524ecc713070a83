//! Polls nested far deeper than any return-probe's stack allows (64): by boxed recursion and by a chain of async fns.

#![recursion_limit = "512"]

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::time::{sleep, Sleep};
use truth::{apart, Kind, Leaf, Place};

const POLLS: u32 = 211;
/// Levels of `descend` above its leaf.
const RECURSION: u32 = 97;

const DESCEND: u32 = 0;
const LINK: u32 = 1;

const LEAF: &str = "truth::future::Leaf";

const DESCENT: [&str; RECURSION as usize + 1] = {
    let mut chain = ["deep::descend"; RECURSION as usize + 1];
    chain[RECURSION as usize] = LEAF;
    chain
};

const PLACES: [Place; 2] = [Place { kind: Kind::Poll, chain: &DESCENT }, Place { kind: Kind::Poll, chain: LINKS }];

fn leaf(place: u32) -> Leaf<Sleep> {
    Leaf::new(place, place, POLLS, || sleep(Duration::from_millis(1)))
}

/// `levels` polls of this one function, one inside the other, and in the innermost the leaf.
fn descend(levels: u32) -> Pin<Box<dyn Future<Output = u64> + Send>> {
    std::hint::black_box(Box::pin(async move {
        match levels {
            1 => leaf(DESCEND).await,
            _ => descend(levels - 1).await + 1,
        }
    }))
}

/// Async fns of which each awaits the next one, the last one the leaf.
macro_rules! links {
    ($($name:ident)*) => {
        const LINKS: &[&str] = &[$(concat!("deep::", stringify!($name)),)* LEAF];
        chain!($($name)*);
    };
}

macro_rules! chain {
    ($last:ident) => {
        async fn $last() -> u64 {
            leaf(LINK).await
        }
    };
    ($first:ident $next:ident $($rest:ident)*) => {
        async fn $first() -> u64 {
            apart($next()).await + 1
        }
        chain!($next $($rest)*);
    };
}

links!(
    link_00 link_01 link_02 link_03 link_04 link_05 link_06 link_07 link_08 link_09 link_10 link_11
    link_12 link_13 link_14 link_15 link_16 link_17 link_18 link_19 link_20 link_21 link_22 link_23
    link_24 link_25 link_26 link_27 link_28 link_29 link_30 link_31 link_32 link_33 link_34 link_35
    link_36 link_37 link_38 link_39 link_40 link_41 link_42 link_43 link_44 link_45 link_46 link_47
    link_48 link_49 link_50 link_51 link_52 link_53 link_54 link_55 link_56 link_57 link_58 link_59
    link_60 link_61 link_62 link_63 link_64 link_65 link_66 link_67 link_68 link_69 link_70 link_71
    link_72 link_73 link_74 link_75 link_76 link_77 link_78 link_79 link_80 link_81 link_82
);

fn main() {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    truth::wait_for_go();
    let checksum = runtime.block_on(async {
        let recursion = tokio::spawn(descend(RECURSION));
        let chain = tokio::spawn(apart(link_00()));
        recursion.await.unwrap() + chain.await.unwrap()
    });
    let polls: Vec<(&str, u64)> =
        [&DESCENT, LINKS, &["task"; 2]].concat().into_iter().map(|name| (name, u64::from(POLLS))).collect();
    truth::finish(&PLACES, &polls, checksum);
}
