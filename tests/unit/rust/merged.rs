//! Futures whose poll functions have the same code, in a unit of their own, so that both keep their symbols.

use std::future::Future;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

mod written {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    pub struct First(pub u64);
    pub struct Second(pub u64);
    pub struct Alone(pub u64);

    impl Future for First {
        type Output = u64;
        #[inline(never)]
        fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u64> {
            self.0 += 3;
            if self.0 < 10 { Poll::Pending } else { Poll::Ready(self.0) }
        }
    }

    impl Future for Second {
        type Output = u64;
        #[inline(never)]
        fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u64> {
            self.0 += 3;
            if self.0 < 10 { Poll::Pending } else { Poll::Ready(self.0) }
        }
    }

    impl Future for Alone {
        type Output = u64;
        #[inline(never)]
        fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u64> {
            self.0 += 5;
            if self.0 < 12 { Poll::Pending } else { Poll::Ready(self.0) }
        }
    }
}

use written::{Alone, First, Second};

fn boxed(future: impl Future<Output = u64> + 'static) -> Pin<Box<dyn Future<Output = u64>>> {
    black_box(Box::pin(future))
}

fn main() {
    let all = async {
        boxed(First(black_box(1))).await + boxed(Second(black_box(1))).await + boxed(Alone(black_box(1))).await
    };
    let mut all = pin!(all);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(sum) = all.as_mut().poll(&mut context) {
            println!("{sum}");
            return;
        }
    }
}
