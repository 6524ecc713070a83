//! Polls that are under way, a job for the pool for blocking ones, and two tasks that take turns on a thread.

use parked::under_way::{blocks, blocks_thread, computes, takes_turns};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;
use tokio::runtime::Builder;

/// Says their ids.
pub fn run() {
    let many = Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let (blocks, computes) = (many.spawn(blocks()).id(), many.spawn(computes()).id());
    many.spawn_blocking(blocks_thread);
    let (says, is_said) = channel();
    thread::spawn(move || {
        Builder::new_current_thread().build().unwrap().block_on(async {
            let (left, right) = (tokio::spawn(takes_turns(true)), tokio::spawn(takes_turns(false)));
            says.send((left.id(), right.id())).unwrap();
            left.await.unwrap();
        });
    });
    let (left, right) = is_said.recv().unwrap();
    thread::sleep(Duration::from_millis(100));
    truth::ready(&format!(
        ", \"blocks\": {blocks}, \"computes\": {computes}, \"left\": {left}, \"right\": {right}"
    ));
    parked::until_input_ends();
    std::process::exit(0);
}
