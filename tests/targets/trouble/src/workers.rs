//! A runtime for each thread, and all the work for one of them.

use crate::{current, pause, spin};
use std::time::Duration;
use tokio::sync::mpsc;

// FAULT: worker-imbalance
async fn handle(mut messages: mpsc::Receiver<()>) {
    while messages.recv().await.is_some() {
        spin(1);
    }
}

async fn idle() {
    loop {
        pause(20).await;
    }
}

pub fn unequal() {
    for _ in 0..2 {
        std::thread::spawn(|| current().block_on(async { tokio::spawn(idle()).await }));
    }
    current().block_on(async {
        let mut senders = Vec::new();
        for _ in 0..8 {
            let (sender, receiver) = mpsc::channel(1);
            tokio::spawn(handle(receiver));
            senders.push(sender);
        }
        std::thread::spawn(move || loop {
            std::thread::sleep(Duration::from_millis(10));
            for sender in &senders {
                let _ = sender.try_send(());
            }
        });
        std::future::pending::<()>().await
    });
}
