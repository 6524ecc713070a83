//! Tasks that stay where they are, in every construct, with the stack that each of them is in.
//!
//! The comment `//= name: …` says what is seen of the task that runs `name`: the futures from the task's own down to what
//! it waits for, `a@1 > b` where `a` awaits `b` in the line that ends in `//@1`.  `a@! > b`: in a macro.  `{a | b}`:
//! branches, in any order; what is done is none.  `a > ?`: what is below differs between builds.

pub mod adapters;
pub mod by_hand;
pub mod combinators;
pub mod containers;
pub mod plain;
pub mod shapes;
pub mod streams;
pub mod under_way;

use std::future::Future;
use std::io::Read;
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

/// Keeps the program as it is until its standard input ends, or has something.
pub fn until_input_ends() {
    let _ = std::io::stdin().read(&mut [0]);
}

/// Each construct of this crate as a task: those of three modules each of its own type, the others, which are many, in
/// boxes, since a type of task takes long to compile.
#[macro_export]
macro_rules! spawn_all {
    ($spawn:path) => {
        $crate::spawn_each!($spawn, $crate::plain: sum nested later carries_byte carries_long recursion block boxed
            boxed_sized pinned traits around by_closure large in_own_macro decides question closure);
        $crate::spawn_each!($spawn, $crate::combinators: joined one_done tried selected either mapped shared abortable);
        $crate::spawn_each!($spawn, $crate::containers: all_of any_of unordered ordered stream);
        for future in $crate::in_boxes() {
            $spawn(future);
        }
        for _ in 0..100 {
            $spawn($crate::containers::alike());
        }
    };
}

/// Some functions of a module, each as a task.
#[macro_export]
macro_rules! spawn_each {
    ($spawn:path, $module:path: $($name:ident)*) => {
        $({
            use $module as from;
            $spawn(from::$name());
        })*
    };
}

/// Some functions of a module, each in a box.
#[macro_export]
macro_rules! boxes_of {
    ($module:path: $($name:ident)*) => {{
        use $module as from;
        let boxes: Vec<$crate::Task> = vec![$(Box::pin(from::$name())),*];
        boxes
    }};
}

pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

pub fn in_boxes() -> Vec<Task> {
    [
        boxes_of!(shapes: generic given_one given_two called taken_closure in_arm in_loop temporary method_box in_trait
            opaque_type in_condition in_argument by_mut dyn_mut box_in_box recursive_fn),
        boxes_of!(adapters: nested_join join_in_select biased one_selected one_tried then then_second inspected and_then
            mapped_ok or_else made_box local_box left_future right_future caught flat fused many few_left try_all
            first_ok try_either joined_two joined_three perhaps aborts remote locks answered both_wait_shared
            polls_common waits_common pending in_arc),
        boxes_of!(by_hand: both both_wait one_gone other_gone second_step first_step unknown_step first_stage
            second_stage last_stage by_reference dynamic polled_by_closure one_by_closure fused_over several queued
            routed responded limited_flight),
        boxes_of!(streams: in_flight in_order all_in_flight tries_in_flight each_at_once one_by_one collects
            collects_then folds folds_mapped filters unfolds either_stream preferred_stream one_stream_left many_streams
            chained zipped flattened left_stream boxed_stream peeks takes received sends mapped_last tries_each),
    ]
    .into_iter()
    .flatten()
    .collect()
}
