//! Many tasks that wait in many ways, and say how long they all waited at which line.
//!
//! `many_tasks COUNT`.  A tenth of a second apart it prints, as JSON: the time (ns of CLOCK_MONOTONIC), and by line of
//! this file the time that all tasks together have spent there until now, unfinished waits included (ns).

mod ways;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Builder;
use truth::now;

const LINES: usize = 256;

/// What one task does; 0: nothing that is counted.
#[derive(Default)]
pub struct Place {
    line: AtomicU32,
    since: AtomicU64,
}

/// Of all tasks, by line.
pub struct Places {
    finished: Vec<AtomicU64>,
    tasks: Vec<Place>,
}

impl Places {
    pub fn enter(&self, task: usize, line: u32) {
        self.tasks[task].since.store(now(), Relaxed);
        self.tasks[task].line.store(line, Relaxed);
    }

    pub fn leave(&self, task: usize) {
        let line = self.tasks[task].line.swap(0, Relaxed);
        self.finished[line as usize].fetch_add(now() - self.tasks[task].since.load(Relaxed), Relaxed);
    }

    fn say(&self) {
        let mut spent: Vec<u64> = self.finished.iter().map(|one| one.load(Relaxed)).collect();
        let time = now();
        for task in &self.tasks {
            let (line, since) = (task.line.load(Relaxed), task.since.load(Relaxed));
            if line > 0 && since < time {
                spent[line as usize] += time - since;
            }
        }
        let words: Vec<String> = spent
            .iter()
            .enumerate()
            .filter(|one| *one.1 > 0)
            .map(|(line, time)| format!("\"{line}\": {time}"))
            .collect();
        println!("{{\"time\": {time}, \"spent\": {{{}}}}}", words.join(", "));
    }
}

fn main() {
    let count: usize = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(1_000);
    let places = Arc::new(Places {
        finished: (0..LINES).map(|_| AtomicU64::new(0)).collect(),
        tasks: (0..count).map(|_| Place::default()).collect(),
    });
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    runtime.block_on(ways::spawn_all(count, places.clone()));
    truth::ready("");
    loop {
        std::thread::sleep(Duration::from_millis(100));
        places.say();
    }
}
