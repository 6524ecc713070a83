//! As tower's Oneshot: what a future polls comes from a service that it is generic over, and is in an enum of its own,
//! whose name only tells of the service.

use std::future::{Future, Ready};
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

trait Service {
    type Future: Future<Output = u64> + Unpin;

    fn call(&self) -> Self::Future;
}

async fn answer(value: u64) -> u64 {
    std::future::ready(()).await;
    value
}

struct Boxes(u64);

impl Service for Boxes {
    type Future = Pin<Box<dyn Future<Output = u64>>>;

    fn call(&self) -> Self::Future {
        Box::pin(answer(self.0))
    }
}

struct Values(u64);

impl Service for Values {
    type Future = Ready<u64>;

    fn call(&self) -> Self::Future {
        std::future::ready(self.0)
    }
}

struct Once<S: Service> {
    state: Call<S>,
}

enum Call<S: Service> {
    Waiting(S),
    Called(S::Future),
    Done,
}

impl<S: Service + Unpin> Future for Once<S> {
    type Output = u64;

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        loop {
            match &mut self.state {
                Call::Waiting(service) => self.state = Call::Called(black_box(service).call()),
                Call::Called(future) => {
                    let Poll::Ready(value) = Pin::new(future).poll(context) else { return Poll::Pending };
                    self.state = Call::Done;
                    return Poll::Ready(value);
                }
                Call::Done => return Poll::Ready(0),
            }
        }
    }
}

fn main() {
    let mut context = Context::from_waker(Waker::noop());
    let mut one = Once { state: Call::Waiting(Boxes(3)) };
    let mut other = Once { state: Call::Waiting(Values(3)) };
    black_box((Pin::new(&mut one).poll(&mut context), Pin::new(&mut other).poll(&mut context)));
}
