//! More and more of them, and none ends.

use crate::pause;
use faults::session;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::oneshot;
use truth::apart;

pub async fn tasks() {
    tokio::spawn(async {
        let mut never_used = Vec::new();
        loop {
            let (sender, receiver) = oneshot::channel::<()>();
            never_used.push(sender);
            tokio::spawn(session(receiver));
            pause(15).await;
        }
    });
    std::future::pending().await
}

// FAULT: future-leak
async fn request(answered: oneshot::Receiver<()>) {
    let _ = answered.await;
}

/// In one task.
pub async fn futures() {
    tokio::spawn(async {
        let mut never_used = Vec::new();
        let mut requests = FuturesUnordered::new();
        loop {
            let (sender, receiver) = oneshot::channel();
            never_used.push(sender);
            requests.push(apart(request(receiver)));
            tokio::select! {
                Some(()) = requests.next() => {}
                () = pause(15) => {}
            }
        }
    });
    std::future::pending().await
}
