//! The constructs on smol.

use std::future::Future;
use std::io::Read;
use std::time::Duration;

fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    smol::spawn(future).detach();
}

//= sleeps: sleeps@80 > Timer
async fn sleeps() {
    smol::Timer::after(Duration::from_secs(3600)).await; //@80
}

//= waits_for_task: waits_for_task@81 > Task
async fn waits_for_task() {
    smol::spawn(parked::plain::sum()).await; //@81
}

fn main() {
    parked::spawn_all!(spawn);
    spawn(sleeps());
    spawn(waits_for_task());
    std::thread::sleep(Duration::from_millis(100));
    truth::ready("");
    let _ = std::io::stdin().read(&mut [0]);
    std::process::exit(0);
}
