//! What a future polls is in an enum of its own.  As tower's Oneshot: it comes from a service that both are generic over,
//! and the enum's name only tells of the service.

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

/// As axum 0.7's RouteFuture: beside the enum there is an option of something else.
struct Route<E> {
    kind: Kind<E>,
    header: Option<String>,
}

enum Kind<E> {
    Future { future: Once<Boxes> },
    Response { response: Option<E> },
}

impl<E: Unpin> Future for Route<E> {
    type Output = u64;

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        black_box(&self.header);
        match &mut self.kind {
            Kind::Future { future } => Pin::new(future).poll(context),
            Kind::Response { response } => Poll::Ready(black_box(response.take()).map_or(0, |_| 1)),
        }
    }
}

/// As reqwest's: beside the enum, whose name tells nothing, there is a time limit.
struct Request {
    limit: Option<Ready<u64>>,
    flight: Flight,
}

enum Flight {
    Direct(Pin<Box<dyn Future<Output = u64>>>),
    Over(u64),
}

impl Future for Request {
    type Output = u64;

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        if let Some(limit) = &mut self.limit {
            black_box(Pin::new(limit).poll(context));
        }
        match &mut self.flight {
            Flight::Direct(future) => future.as_mut().poll(context),
            Flight::Over(value) => Poll::Ready(*value),
        }
    }
}

/// As tower's ResponseFuture: beside what it is generic over there is a time limit.
struct Limited<F> {
    limit: Ready<u64>,
    response: F,
}

impl<F: Future<Output = u64> + Unpin> Future for Limited<F> {
    type Output = u64;

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        black_box(Pin::new(&mut self.limit).poll(context));
        Pin::new(&mut self.response).poll(context)
    }
}

/// As the next item of tokio-stream's StreamMap: it has a reference to what has pairs.
struct NextOf<'a, S> {
    stream: &'a mut S,
}

struct Pairs<K, V> {
    entries: Vec<(K, V)>,
}

impl<K, F: Future<Output = u64> + Unpin> Future for NextOf<'_, Pairs<K, F>> {
    type Output = u64;

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        for (_, one) in &mut self.stream.entries {
            if let Poll::Ready(value) = Pin::new(one).poll(context) {
                return Poll::Ready(value);
            }
        }
        Poll::Pending
    }
}

/// Its enum has no future: it waits for nothing else.
struct Leaf {
    step: Step,
}

enum Step {
    First(Option<String>),
    Second(u64),
}

impl Future for Leaf {
    type Output = u64;

    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<u64> {
        match black_box(&mut self.step) {
            Step::First(text) => Poll::Ready(text.take().map_or(0, |_| 1)),
            Step::Second(value) => Poll::Ready(*value),
        }
    }
}

fn main() {
    let mut context = Context::from_waker(Waker::noop());
    let call = Once { state: Call::Waiting(Boxes(3)) };
    let mut route = Route::<u64> { kind: Kind::Future { future: call }, header: None };
    black_box(Pin::new(&mut route).poll(&mut context));
    route.kind = Kind::Response { response: Some(1) };
    for flight in [Flight::Direct(Boxes(3).call()), Flight::Over(3)] {
        black_box(Pin::new(&mut Request { limit: None, flight }).poll(&mut context));
    }
    let mut pairs = Pairs { entries: vec![(1_u64, Boxes(3).call())] };
    black_box(Pin::new(&mut NextOf { stream: &mut pairs }).poll(&mut context));
    let limit = std::future::ready(3);
    black_box(Pin::new(&mut Limited { limit, response: Boxes(3).call() }).poll(&mut context));
    for step in [Step::First(None), Step::Second(3)] {
        black_box(Pin::new(&mut Leaf { step }).poll(&mut context));
    }
    let mut one = Once { state: Call::Waiting(Boxes(3)) };
    let mut other = Once { state: Call::Waiting(Values(3)) };
    black_box((Pin::new(&mut one).poll(&mut context), Pin::new(&mut other).poll(&mut context)));
}
