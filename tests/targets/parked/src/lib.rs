//! Tasks that stay where they are, in every construct, with the stack that each of them is in.
//!
//! The comment `//= name: …` says what is seen of the task that runs `name`: the futures from the task's own down to what
//! it waits for, `a@1 > b` where `a` awaits `b` in the line that ends in `//@1`.  `a@! > b`: in a macro.  `{a | b}`:
//! branches, in any order; what is done is none.  `a > ?`: what is below differs between builds.

pub mod combinators;
pub mod containers;
pub mod plain;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

pub use truth::opaque;

/// Is never ready.
pub struct Forever;

impl Future for Forever {
    type Output = u64;

    #[inline(never)]
    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<u64> {
        opaque(Poll::Pending)
    }
}

/// Each construct of this crate as a task of its own type.
#[macro_export]
macro_rules! spawn_all {
    ($spawn:path) => {
        $spawn($crate::plain::sum());
        $spawn($crate::plain::nested());
        $spawn($crate::plain::later());
        $spawn($crate::plain::carries_byte());
        $spawn($crate::plain::carries_long());
        $spawn($crate::plain::recursion());
        $spawn($crate::plain::block());
        $spawn($crate::plain::boxed());
        $spawn($crate::plain::boxed_sized());
        $spawn($crate::plain::pinned());
        $spawn($crate::plain::traits());
        $spawn($crate::plain::around());
        $spawn($crate::plain::by_closure());
        $spawn($crate::plain::large());
        $spawn($crate::plain::in_own_macro());
        $spawn($crate::plain::decides());
        $spawn($crate::plain::question());
        $spawn($crate::plain::closure());
        $spawn($crate::combinators::joined());
        $spawn($crate::combinators::one_done());
        $spawn($crate::combinators::tried());
        $spawn($crate::combinators::selected());
        $spawn($crate::combinators::either());
        $spawn($crate::combinators::mapped());
        $spawn($crate::combinators::shared());
        $spawn($crate::combinators::abortable());
        $spawn($crate::containers::all_of());
        $spawn($crate::containers::any_of());
        $spawn($crate::containers::unordered());
        $spawn($crate::containers::ordered());
        $spawn($crate::containers::stream());
        for _ in 0..100 {
            $spawn($crate::containers::alike());
        }
    };
}
