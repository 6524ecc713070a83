//! What a target knows about its own polls, to be held against a trace.
//!
//! A record is an interval `[begin, end]` of CLOCK_MONOTONIC that the target measured *inside* a poll, with its
//! thread and the instance's number.  It belongs to a [`Place`], which says which functions were being polled.
//! The claims that a record makes are in the documentation of [`Kind`].

mod buffer;
mod future;
mod lives;
mod protocol;

pub use buffer::{begin, now, Segment};
pub use future::{apart, opaque, Apart, Leaf, Yield};
pub use lives::{construct, here, task_id, watch, watch_boxed, watch_inlined, Watched};
pub use protocol::{finish, ready, wait_for_go};

/// What the records of a place claim.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One record for each poll of the last function of the chain: from its first statement to its last.
    /// Exactly one poll of each function of the chain encloses it.
    Poll,
    /// One record for each poll of the last function, over a part of the poll (an async fn's code between two awaits).
    Resume,
    /// A part of some poll of the last function: enclosed by exactly one, but polls without a record exist.
    Part,
}

/// Where intervals are measured.  `chain`: the functions whose polls enclose them on the thread, outermost first, one
/// entry a poll, without the runtime's and [`Apart`]; an async fn by its path, an async block by its function's, a
/// future by its type's.
pub struct Place {
    pub kind: Kind,
    pub chain: &'static [&'static str],
}

/// What a measured poll returned, where known.
#[derive(Clone, Copy)]
pub enum Outcome {
    Unknown = 0,
    Pending = 1,
    Ready = 2,
}
