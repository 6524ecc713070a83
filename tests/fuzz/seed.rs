//! The smallest program with futures in it: the seeds of tests/fuzz/corpus/elf and dwarf are made of it.
#![no_std]
#![no_main]
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! { loop {} }
struct Leaf(u32);
impl Future for Leaf {
    type Output = u32;
    #[inline(never)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u32> {
        if self.0 == 0 { return Poll::Ready(7); }
        self.0 -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
/// Through a pointer that the optimiser cannot see through, so that each poll stays a function of its own.
struct Whole<F>(F);
impl<F: Future> Future for Whole<F> {
    type Output = F::Output;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let inner = unsafe { self.map_unchecked_mut(|this| &mut this.0) };
        let poll: fn(Pin<&mut F>, &mut Context<'_>) -> Poll<F::Output> = core::hint::black_box(F::poll);
        poll(inner, cx)
    }
}
async fn middle(n: u32) -> u32 { let mut sum = 0; for i in 0..n { sum += Whole(Leaf(i)).await; } sum }
async fn outer(n: u32) -> u32 { Whole(middle(n)).await + Leaf(n).await }
static TABLE: RawWakerVTable = RawWakerVTable::new(|_| RawWaker::new(core::ptr::null(), &TABLE), |_| (), |_| (), |_| ());
#[unsafe(no_mangle)]
pub extern "C" fn _start() -> ! {
    let mut future = Whole(outer(3));
    let waker = unsafe { Waker::from_raw(RawWaker::new(core::ptr::null(), &TABLE)) };
    let mut cx = Context::from_waker(&waker);
    let mut pinned = unsafe { Pin::new_unchecked(&mut future) };
    while pinned.as_mut().poll(&mut cx).is_pending() {}
    loop {}
}
