//! Branches of tokio's macros: those that are off, or done, are none.

use parked::{opaque, Forever};
use std::future::{ready, Future};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::sleep;

const LONG: Duration = Duration::from_secs(3600);

async fn waits(value: u64) -> u64 {
    Forever.await + value //@300
}

async fn tries(value: u64) -> Result<u64, u64> {
    Ok(Forever.await + value) //@301
}

async fn at_once() -> Option<u64> {
    opaque(None)
}

//= one_off: one_off@! > waits@300 > Forever
pub async fn one_off() {
    tokio::select! {
        value = waits(1), if opaque(false) => { opaque(value); }
        value = waits(2) => { opaque(value); }
    }
}

//= leaf_off: leaf_off@! > {Sleep | waits@300 > Forever}
pub async fn leaf_off() {
    tokio::select! {
        _ = Forever, if opaque(false) => {}
        _ = sleep(LONG), if opaque(true) => {}
        value = waits(2) => { opaque(value); }
    }
}

//= off_in_biased: off_in_biased@! > {Forever | Sleep}
pub async fn off_in_biased() {
    tokio::select! {
        biased;
        value = waits(1), if opaque(false) => { opaque(value); }
        _ = Forever => {}
        _ = ready(()), if opaque(false) => {}
        _ = sleep(LONG) => {}
    }
}

//= refused: refused@! > waits@300 > Forever
pub async fn refused() {
    tokio::select! {
        Some(value) = at_once() => { opaque(value); }
        value = waits(2) => { opaque(value); }
    }
}

//= off_in_loop: off_in_loop@! > {recv@? > PollFn | waits@300 > Forever}
pub async fn off_in_loop() {
    let (sender, mut receiver) = mpsc::channel::<u64>(1);
    let mut rest = std::pin::pin!(waits(4));
    let mut is_first = opaque(true);
    loop {
        tokio::select! {
            _ = ready(()), if is_first => { is_first = false; }
            value = receiver.recv() => { opaque(value); }
            value = &mut rest => { opaque(value); break; }
        }
    }
    drop(sender);
}

//= many_off: many_off@! > {waits@300 > Forever | waits@300 > Forever}
pub async fn many_off() {
    let is_on = opaque(false);
    tokio::select! {
        value = waits(0), if is_on => { opaque(value); }
        value = waits(1), if !is_on => { opaque(value); }
        value = waits(2), if is_on => { opaque(value); }
        value = waits(3), if is_on => { opaque(value); }
        value = waits(4), if is_on => { opaque(value); }
        value = waits(5), if is_on => { opaque(value); }
        value = waits(6), if is_on => { opaque(value); }
        value = waits(7), if is_on => { opaque(value); }
        value = waits(8), if !is_on => { opaque(value); }
    }
}

//= select_in_select: select_in_select@! > {select_in_select{block}@! > {waits@300 > Forever | Sleep} | waits@300 > Forever}
pub async fn select_in_select() {
    let inner = async {
        tokio::select! {
            value = waits(1) => { opaque(value); }
            _ = sleep(LONG) => {}
            _ = Forever, if opaque(false) => {}
        }
    };
    tokio::select! {
        _ = inner => {}
        value = waits(2) => { opaque(value); }
    }
}

//= select_in_join: select_in_join@! > {select_in_join{block}@! > waits@300 > Forever | waits@300 > Forever}
pub async fn select_in_join() {
    let inner = async {
        tokio::select! {
            value = waits(1) => { opaque(value); }
            _ = sleep(LONG), if opaque(false) => {}
        }
    };
    opaque(tokio::join!(inner, waits(2), ready(1)));
}

//= tries_two: tries_two@! > {tries@301 > Forever | tries@301 > Forever}
pub async fn tries_two() {
    let _ = opaque(tokio::try_join!(tries(1), tries(2)));
}

//= tries_rest: tries_rest@! > tries@301 > Forever
pub async fn tries_rest() {
    let _ = opaque(tokio::try_join!(ready(Ok::<u64, u64>(1)), tries(2)));
}

//= join_in_join: join_in_join@! > {join_in_join{block}@! > {waits@300 > Forever | Forever} | waits@300 > Forever}
pub async fn join_in_join() {
    opaque(tokio::join!(async { tokio::join!(waits(1), Forever) }, waits(2)));
}

/// By reference: a select! does not have to own its branches.
//= borrowed: borrowed@! > {waits@300 > Forever | Sleep}
pub async fn borrowed() {
    let mut one = Box::pin(waits(1));
    let other = sleep(LONG);
    tokio::pin!(other);
    tokio::select! {
        value = &mut one => { opaque(value); }
        () = &mut other => {}
    }
}

fn boxed(value: u64) -> std::pin::Pin<Box<dyn Future<Output = u64> + Send>> {
    Box::pin(waits(value))
}

//= dynamic_branches: dynamic_branches@! > {waits@300 > Forever | waits@300 > Forever}
pub async fn dynamic_branches() {
    tokio::select! {
        value = boxed(1) => { opaque(value); }
        value = boxed(2) => { opaque(value); }
        value = boxed(3), if opaque(false) => { opaque(value); }
    }
}
