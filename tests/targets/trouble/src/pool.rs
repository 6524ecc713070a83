//! More blocking jobs than there are threads for.

use std::time::Duration;
use tokio::runtime::Builder;

fn read_file() {
    std::thread::sleep(Duration::from_millis(20));
}

pub fn flooding() {
    let runtime = Builder::new_multi_thread().worker_threads(2).max_blocking_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::spawn(async {
            loop {
                // FAULT: blocking-pool
                let jobs: Vec<_> = (0..20).map(|_| tokio::task::spawn_blocking(read_file)).collect();
                for job in jobs {
                    job.await.unwrap();
                }
            }
        });
        std::future::pending::<()>().await
    });
}
