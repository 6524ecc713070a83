//! Futures that are written by hand: those that they have are shown as long as they are there.

use crate::containers::item;
use crate::{opaque, Forever};
use futures::future::{maybe_done, Fuse, FutureExt, MaybeDone};
use std::future::{poll_fn, ready, Future, Ready};
use std::pin::{pin, Pin};
use std::task::{Context, Poll};

pub type Boxed<F> = Pin<Box<F>>;

/// Polls those of them that are there.
fn poll_all<'a>(several: impl IntoIterator<Item = Option<Pin<&'a mut (dyn Future<Output = u64> + 'a)>>>, context: &mut Context<'_>) -> Poll<u64> {
    let mut sum = 0;
    for one in several.into_iter().flatten() {
        match one.poll(context) {
            Poll::Ready(value) => sum += value,
            Poll::Pending => return Poll::Pending,
        }
    }
    Poll::Ready(sum)
}

struct Both<A: Future, B: Future>(Boxed<MaybeDone<A>>, Boxed<MaybeDone<B>>);

impl<A: Future, B: Future> Future for Both<A, B> {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        let one = self.0.as_mut().poll(context);
        let other = self.1.as_mut().poll(context);
        if one.is_ready() && other.is_ready() { Poll::Ready(opaque(1)) } else { Poll::Pending }
    }
}

//= both: both@150 > Both > item@40 > Forever
pub async fn both() {
    opaque(Both(Box::pin(maybe_done(ready(opaque(1_u64)))), Box::pin(maybe_done(item(2)))).await); //@150
}

//= both_wait: both_wait@151 > Both > {item@40 > Forever | Forever}
pub async fn both_wait() {
    opaque(Both(Box::pin(maybe_done(item(1))), Box::pin(maybe_done(Forever))).await); //@151
}

struct Optional<A, B>(Option<Boxed<A>>, Option<Boxed<B>>);

impl<A: Future<Output = u64>, B: Future<Output = u64>> Future for Optional<A, B> {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        let this = &mut *self;
        let mut sum = 0;
        if let Some(one) = &mut this.0 {
            if let Poll::Ready(value) = one.as_mut().poll(context) {
                sum += value;
                this.0 = None;
            }
        }
        if let Some(other) = &mut this.1 {
            if let Poll::Ready(value) = other.as_mut().poll(context) {
                sum += value;
                this.1 = None;
            }
        }
        if this.0.is_none() && this.1.is_none() { Poll::Ready(sum) } else { Poll::Pending }
    }
}

//= one_gone: one_gone@152 > Optional > item@40 > Forever
pub async fn one_gone() {
    opaque(Optional(Some(Box::pin(ready(1_u64))), Some(Box::pin(item(2)))).await); //@152
}

//= other_gone: other_gone@153 > Optional > Forever
pub async fn other_gone() {
    opaque(Optional(Some(Box::pin(Forever)), Some(Box::pin(ready(1_u64)))).await); //@153
}

/// First the one, then the other.
struct Steps<A, B> {
    first: Boxed<A>,
    second: Boxed<B>,
    is_second: bool,
}

impl<A: Future<Output = u64>, B: Future<Output = u64>> Future for Steps<A, B> {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        let this = &mut *self;
        if !this.is_second {
            match this.first.as_mut().poll(context) {
                Poll::Ready(value) => opaque(value),
                Poll::Pending => return Poll::Pending,
            };
            this.is_second = true;
        }
        this.second.as_mut().poll(context)
    }
}

async fn at_once() -> u64 {
    opaque(4)
}

//= second_step: second_step@154 > Steps > item@40 > Forever
pub async fn second_step() {
    opaque(Steps { first: Box::pin(at_once()), second: Box::pin(item(2)), is_second: false }.await); //@154
}

//= first_step: first_step@155 > Steps > {item@40 > Forever | at_once?}
pub async fn first_step() {
    opaque(Steps { first: Box::pin(item(2)), second: Box::pin(at_once()), is_second: false }.await); //@155
}

//= unknown_step: unknown_step@156 > Steps > {Forever? | Ready?}
pub async fn unknown_step() {
    opaque(Steps { first: Box::pin(Forever), second: Box::pin(ready(1_u64)), is_second: false }.await); //@156
}

/// A future in each of its states.
pub enum Stage<A, B> {
    First(Boxed<A>),
    Second(Boxed<B>, String),
    Over,
}

impl<A: Future<Output = u64>, B: Future<Output = u64>> Future for Stage<A, B> {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        match &mut *self {
            Stage::First(first) => first.as_mut().poll(context),
            Stage::Second(second, note) => {
                opaque(note.len());
                second.as_mut().poll(context)
            }
            Stage::Over => Poll::Pending,
        }
    }
}

//= first_stage: first_stage@157 > Stage > item@40 > Forever
pub async fn first_stage() {
    opaque(opaque(Stage::<_, Ready<u64>>::First(Box::pin(item(1)))).await); //@157
}

//= second_stage: second_stage@158 > Stage > item@40 > Forever
pub async fn second_stage() {
    opaque(opaque(Stage::<Ready<u64>, _>::Second(Box::pin(item(1)), String::from("x"))).await); //@158
}

//= last_stage: last_stage@159 > Stage
pub async fn last_stage() {
    opaque(opaque(Stage::<Ready<u64>, Ready<u64>>::Over).await); //@159
}

struct ByReference<'a, F>(Pin<&'a mut F>);

impl<F: Future> Future for ByReference<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.0.as_mut().poll(context)
    }
}

//= by_reference: by_reference@160 > ByReference > item@40 > Forever
pub async fn by_reference() {
    let inner = pin!(item(3));
    opaque(ByReference(inner).await); //@160
}

struct Dynamic(Pin<Box<dyn Future<Output = u64> + Send>>);

impl Future for Dynamic {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        self.0.as_mut().poll(context)
    }
}

//= dynamic: dynamic@161 > Dynamic > item@40 > Forever
pub async fn dynamic() {
    opaque(Dynamic(Box::pin(item(3))).await); //@161
}

//= polled_by_closure: polled_by_closure@162 > PollFn > {item@40 > Forever | Forever?}
pub async fn polled_by_closure() {
    let (mut one, mut other) = (pin!(item(3)), pin!(Forever));
    poll_fn(|context| {
        let several: [Option<Pin<&mut dyn Future<Output = u64>>>; 2] = [Some(one.as_mut()), Some(other.as_mut())];
        poll_all(several, context)
    })
    .await; //@162
}

//= one_by_closure: one_by_closure@163 > PollFn > item@40 > Forever
pub async fn one_by_closure() {
    let mut one = pin!(item(3));
    opaque(poll_fn(|context| one.as_mut().poll(context)).await); //@163
}

//= fused_over: fused_over@164 > PollFn > Fuse > item@40 > Forever
pub async fn fused_over() {
    let mut one = pin!(at_once().fuse());
    let mut other: Pin<&mut Fuse<_>> = pin!(item(1).fuse());
    poll_fn(|context| {
        let _ = one.as_mut().poll(context);
        other.as_mut().poll(context)
    })
    .await; //@164
}

/// As join_all is, of a Vec.
struct Several<F: Future>(Vec<Boxed<MaybeDone<F>>>);

impl<F: Future> Future for Several<F> {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        let mut left = 0;
        for one in &mut self.0 {
            left += u32::from(one.as_mut().poll(context).is_pending());
        }
        if left > 0 { Poll::Pending } else { Poll::Ready(1) }
    }
}

//= several: several@165 > Several > {item@40 > Forever | item@40 > Forever}
pub async fn several() {
    let done: Boxed<MaybeDone<_>> = Box::pin(maybe_done(item(0)));
    drop(opaque(done));
    opaque(Several((0..2).map(|value| Box::pin(maybe_done(item(value)))).collect()).await); //@165
}

/// Polls the first of them that is left.
struct Queue<F>(Vec<F>, usize);

impl<F: Future<Output = u64> + Unpin> Future for Queue<F> {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        let this = &mut *self;
        while this.1 < this.0.len() {
            match Pin::new(&mut this.0[this.1]).poll(context) {
                Poll::Ready(_) => this.1 += 1,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(0)
    }
}

//= queued: queued@166 > Queue > {item@40 > Forever | item?}
pub async fn queued() {
    opaque(Queue((0..2).map(|value| Box::pin(item(value))).collect(), 0).await); //@166
}

/// As hyper's and tower's futures are: what it polls is in an enum of its own, whose name tells nothing of it.
struct Call {
    state: State,
}

enum State {
    Waiting(Option<String>),
    Called(Pin<Box<dyn Future<Output = u64> + Send>>),
}

impl Future for Call {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        if let State::Waiting(request) = &mut self.state {
            opaque(request.take());
            self.state = State::Called(Box::pin(item(3)));
        }
        let State::Called(future) = &mut self.state else { return Poll::Pending };
        future.as_mut().poll(context)
    }
}

/// As axum 0.7's RouteFuture is: beside the enum there is an option of something else.
struct Route<E> {
    kind: RouteKind<E>,
    header: Option<String>,
}

enum RouteKind<E> {
    Future { future: Call },
    Response { response: Option<Result<u64, E>> },
}

impl<E: Unpin> Future for Route<E> {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        opaque(self.header.is_some());
        match &mut self.kind {
            RouteKind::Future { future } => Pin::new(future).poll(context),
            RouteKind::Response { response } => opaque(if response.is_some() { Poll::Pending } else { Poll::Ready(0) }),
        }
    }
}

//= routed: routed@167 > Route > Call > item@40 > Forever
pub async fn routed() {
    let future = Call { state: State::Waiting(Some(String::from("x"))) };
    opaque(opaque(Route::<u64> { kind: RouteKind::Future { future }, header: None }).await); //@167
}

//= responded: responded@168 > Route
pub async fn responded() {
    let kind = RouteKind::<u64>::Response { response: Some(Ok(1)) };
    opaque(opaque(Route { kind, header: Some(String::from("x")) }).await); //@168
}

/// As reqwest's is: beside the enum there is a time limit, which is polled too.
struct Request {
    flight: State,
    limit: Option<Boxed<Forever>>,
}

impl Future for Request {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        let this = &mut *self;
        if let Some(limit) = &mut this.limit {
            if limit.as_mut().poll(context).is_ready() {
                return Poll::Ready(0);
            }
        }
        let State::Called(future) = &mut this.flight else { return Poll::Pending };
        future.as_mut().poll(context)
    }
}

//= limited_flight: limited_flight@169 > Request > {Forever | item@40 > Forever}
pub async fn limited_flight() {
    let flight = State::Called(Box::pin(item(3)));
    opaque(opaque(Request { flight, limit: Some(Box::pin(Forever)) }).await); //@169
}
