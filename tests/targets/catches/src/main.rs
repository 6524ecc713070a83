//! Tasks whose own code catches a panic, which have not panicked; and tasks that tokio catches the panic of.

use std::future::Future;
use std::hint::black_box;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::pin::{pin, Pin};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::time::{sleep, Sleep};

const ROUNDS: u64 = 20;

const PAUSE: Duration = Duration::from_millis(1);

/// Unwinds without a message.
fn work(number: u64) -> u64 {
    if black_box(number) == 7 {
        resume_unwind(Box::new(number))
    }
    number
}

/// In its last poll.
async fn late() -> u64 {
    sleep(PAUSE).await;
    catch_unwind(|| work(7)).unwrap_or(1)
}

/// In its first poll; then it goes on.
async fn early() -> u64 {
    let one = catch_unwind(|| work(7)).unwrap_or(1);
    sleep(PAUSE).await;
    one
}

async fn panics() -> u64 {
    sleep(PAUSE).await;
    work(7)
}

/// Catches what the polls of a future panic with, as futures' `catch_unwind` does.
struct Catch<F>(F);

impl<F: Future<Output = u64> + Unpin> Future for Catch<F> {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        let inner = &mut self.0;
        catch_unwind(AssertUnwindSafe(|| Pin::new(inner).poll(context))).unwrap_or(Poll::Ready(1))
    }
}

async fn around() -> u64 {
    Catch(pin!(panics())).await
}

type Boxed = Pin<Box<dyn Future<Output = u64> + Send>>;

/// Polls further down the stack than anything else here.
struct Deep(Boxed);

impl Future for Deep {
    type Output = u64;

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        let room = black_box([1u8; 8192]);
        self.0.as_mut().poll(context).map(|value| value + u64::from(room[0]))
    }
}

async fn calm() -> u64 {
    sleep(PAUSE).await;
    0
}

/// Catches what `panics` panics with, and goes on at once with another future.
async fn goes_on() -> u64 {
    let one = Catch(Box::pin(panics()) as Boxed).await;
    one * Deep(Box::pin(calm())).await
}

struct Dropped;

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = catch_unwind(|| work(7));
    }
}

/// When what it has is dropped.
async fn dropping() -> u64 {
    let _dropped = Dropped;
    sleep(PAUSE).await;
    1
}

/// In its first poll, which is no function of its own; then it goes on.
struct Inlined {
    has_caught: bool,
    pause: Pin<Box<Sleep>>,
}

impl Future for Inlined {
    type Output = u64;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        if !self.has_caught {
            self.has_caught = catch_unwind(|| work(7)).is_err();
        }
        self.pause.as_mut().poll(context).map(|()| 1)
    }
}

fn main() {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    truth::wait_for_go();
    let sum = runtime.block_on(async {
        let mut sum = 0;
        for _ in 0..ROUNDS {
            sum += tokio::spawn(late()).await.unwrap() + tokio::spawn(early()).await.unwrap();
            sum += tokio::spawn(around()).await.unwrap() + tokio::spawn(dropping()).await.unwrap();
            sum += tokio::spawn(goes_on()).await.unwrap();
            sum += tokio::spawn(Inlined { has_caught: false, pause: Box::pin(sleep(PAUSE)) }).await.unwrap();
            assert!(tokio::spawn(panics()).await.unwrap_err().is_panic());
        }
        sum
    });
    drop(runtime);
    truth::finish(&[], &[], sum);
}
