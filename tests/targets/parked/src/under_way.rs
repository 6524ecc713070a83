//! Polls that do not end: their threads wait in a system call, or compute.  Where, the line below `// HERE: name` is.

use crate::opaque;
use std::sync::mpsc::{channel, Receiver};
use truth::Yield;

/// What nobody sends.
#[inline(never)]
fn receives(receiver: &Receiver<u64>) -> u64 {
    // HERE: receives
    opaque(receiver.recv().unwrap_or(1))
}

#[inline(never)]
fn computes_left(steps: u64) -> u64 {
    (0..steps).fold(1, |value, step| opaque(value ^ step))
}

#[inline(never)]
fn computes_right(steps: u64) -> u64 {
    (0..steps).fold(2, |value, step| opaque(value ^ step))
}

pub fn blocks_thread() {
    let (sender, receiver) = channel();
    opaque(receives(&receiver));
    drop(sender);
}

pub async fn blocks() {
    blocks_thread();
}

pub async fn computes() {
    opaque(computes_left(u64::MAX));
}

/// Two tasks of this type that have one thread differ in nothing but the function that they are in.
pub async fn takes_turns(is_left: bool) {
    loop {
        opaque(if is_left { computes_left(300_000) } else { computes_right(300_000) });
        Yield::default().await;
    }
}
