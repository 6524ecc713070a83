//! Polls futures of many result types and prints the truth about each poll: name, address of the future, result.
#![allow(unreachable_code)]
use std::cell::RefCell;
use std::future::Future;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll, Waker};

thread_local!(static LOG: RefCell<Vec<(&'static str, usize, bool)>> = const { RefCell::new(Vec::new()) });

macro_rules! futures { ($($name:ident: $output:ty = $value:expr;)*) => { $(
    struct $name(u32);
    impl Future for $name {
        type Output = $output;
        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<$output> {
            if self.0 == 0 { return Poll::Ready($value); }
            self.0 -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    } )* } }
futures! {
    Unit: () = ();  Small: u32 = black_box(7);  Flag: bool = black_box(false);  Word: u64 = black_box(9);  Real: f64 = black_box(0.5);
    Niche: Option<NonZeroU32> = black_box(None);  Boxed: Box<u64> = Box::new(1);  Outcome: Result<(), Box<u8>> = black_box(Ok(()));
    Text: &'static str = black_box("a");  Owned: String = black_box("b").to_string();  Wide: [u64; 4] = black_box([1; 4]);
    Atomic: AtomicU64 = AtomicU64::new(black_box(3));  Never: std::convert::Infallible = unreachable!();
}

struct Logged<F>(&'static str, F);
impl<F: Future> Future for Logged<F> {
    type Output = F::Output;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let (name, inner) = unsafe { let this = self.get_unchecked_mut(); (this.0, Pin::new_unchecked(&mut this.1)) };
        let at = &raw const *inner as *const u8 as usize;
        // Through a pointer that the optimiser cannot see through, so that it stays a function of its own.
        let poll: fn(Pin<&mut F>, &mut Context<'_>) -> Poll<F::Output> = black_box(F::poll);
        let result = poll(inner, cx);
        LOG.with_borrow_mut(|log| log.push((name, at, result.is_ready())));
        result
    }
}

async fn absorbed(n: u32) -> u32 { n + 1 }
async fn leaf(n: u32) -> u32 { let mut sum = 0; for i in 0..n { sum += absorbed(Logged("Small", Small(i)).await).await } sum }
async fn nothing() { Logged("Unit", Unit(2)).await }
async fn wide(n: u32) -> String { let a = Logged("leaf", leaf(n)).await; let b = Logged("wide::{async block#0}", async { Logged("leaf", leaf(n)).await + 1 }).await; format!("{a}{b}") }
async fn generic<T: Copy>(value: T) -> (T, T) { Logged("Word", Word(1)).await; (value, value) }
struct Service(u32);
impl Service { async fn call(&self) -> u32 { Logged("leaf", leaf(self.0)).await } }

fn run<F: Future>(name: &'static str, future: F, polls: usize) {
    let mut future = Box::pin(Logged(name, future));
    for _ in 0..polls { if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() { return; } }
}

fn main() {
    run("Unit", Unit(2), 9); run("Small", Small(2), 9); run("Flag", Flag(2), 9); run("Word", Word(2), 9); run("Real", Real(2), 9);
    run("Niche", Niche(2), 9); run("Boxed", Boxed(2), 9); run("Outcome", Outcome(2), 9); run("Text", Text(2), 9);
    run("Owned", Owned(2), 9); run("Wide", Wide(2), 9); run("Atomic", Atomic(2), 9); run("Never", Never(9), 3);
    run("leaf", leaf(3), 99); run("nothing", nothing(), 99); run("wide", wide(3), 99); run("generic", generic(7u64), 99);
    run("Service::call", Service(2).call(), 99); run("main::{async block#0}", async { Logged("Text", Text(1)).await.len() }, 9);
    LOG.with_borrow(|log| for (name, at, ready) in log { println!("{name} {at:#x} {}", if *ready { "ready" } else { "pending" }); });
}
