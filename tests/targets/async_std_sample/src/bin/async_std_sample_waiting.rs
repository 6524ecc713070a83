//! The sample, but it waits for a go before its first poll; `async_main` stands for the `main` of the sample.

use async_std::task;
use std::time::Duration;

async fn my_test() {
    task::sleep(Duration::from_millis(100)).await;
}

async fn async_main() {
    my_test().await;
    task::sleep(Duration::from_millis(150)).await;
}

fn main() {
    truth::wait_for_go();
    task::block_on(async { async_main().await });
    truth::finish(&[], &[], 0);
}
