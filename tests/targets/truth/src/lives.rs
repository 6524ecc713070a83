//! The lives of single futures, each known in full: who polled it how often, where it waited, how it ended.
//!
//! A future is watched from outside, by [`Watched`]; the watched code only says, with [`here`], where it awaits.

use crate::{now, opaque};
use std::cell::RefCell;
use std::fmt::Write as _;
use std::future::Future;
use std::io::Write as _;
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

type Place = Option<&'static Location<'static>>;

struct Turn {
    begin: u64,
    end: u64,
    tid: u32,
    address: u64,
    result: &'static str,
    at: Place,
}

struct Life {
    construct: &'static str,
    function: &'static str,
    number: usize,
    is_apart: bool,
    parents: Vec<usize>,
    /// Where it is polled, when that is not where the watched value is; else 0.
    address: u64,
    spawner: Option<usize>,
    spawned: Place,
    task_id: Option<String>,
    at: Place,
    turns: Vec<Turn>,
    outcome: Option<&'static str>,
    ended: u64,
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

type Shared = Arc<Mutex<Life>>;

static LIVES: Mutex<Vec<Shared>> = Mutex::new(Vec::new());
static CONSTRUCT: Mutex<&str> = Mutex::new("");

thread_local! {
    /// The watched futures that are being polled on this thread, the innermost last.
    static STACK: RefCell<Vec<Shared>> = const { RefCell::new(Vec::new()) };
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn current() -> Option<Shared> {
    STACK.with(|stack| stack.borrow().last().cloned())
}

/// All lives that begin from now on are part of this construct.
pub fn construct(name: &'static str) {
    *lock(&CONSTRUCT) = name;
}

/// Marks the place where the innermost watched future is about to await `future`: to be written as
/// `here(future).await`, on one line.
#[track_caller]
#[inline(never)]
pub fn here<F>(future: F) -> F {
    let place = Location::caller();
    if let Some(life) = current() {
        lock(&life).at = Some(place);
    }
    future
}

/// Tells the runtime's own number of the task whose root the innermost watched future is.
pub fn task_id(id: String) {
    if let Some(life) = current() {
        lock(&life).task_id = Some(id);
    }
}

/// A future that writes down its life.  With APART its poll stays a function of its own in optimised builds, as in
/// [`Apart`](crate::Apart); without, the optimiser may make it a part of whoever polls it.
pub struct Watched<F, const APART: bool> {
    future: F,
    life: Shared,
}

/// Watches a future whose poll is a function of its own.
pub fn watch<F: Future>(future: F) -> Watched<F, true> {
    watch_as(std::any::type_name::<F>(), future, 0)
}

/// Watches a future of a type that nobody can name but by its `function`.
pub fn watch_boxed<T>(function: &'static str, future: BoxFuture<T>) -> Watched<BoxFuture<T>, true> {
    let address = std::ptr::addr_of!(*future) as *const () as u64;
    watch_as(function, future, address)
}

/// Watches a future whose poll may be inlined into its parent's.
pub fn watch_inlined<F: Future>(future: F) -> Watched<F, false> {
    watch_as(std::any::type_name::<F>(), future, 0)
}

fn watch_as<F: Future, const APART: bool>(function: &'static str, future: F, address: u64) -> Watched<F, APART> {
    let mut lives = lock(&LIVES);
    let life = Life {
        construct: *lock(&CONSTRUCT),
        function,
        number: lives.len() + 1,
        is_apart: APART,
        parents: Vec::new(),
        address,
        spawner: None,
        spawned: None,
        task_id: None,
        at: None,
        turns: Vec::new(),
        outcome: None,
        ended: 0,
    };
    let life = Arc::new(Mutex::new(life));
    lives.push(life.clone());
    Watched { future, life }
}

impl<F, const APART: bool> Watched<F, APART> {
    /// Says that this future is the root of a task that is spawned in this line.
    #[track_caller]
    pub fn spawned(self) -> Self {
        let spawner = current().map(|life| lock(&life).number);
        let mut life = lock(&self.life);
        life.spawned = Some(Location::caller());
        life.spawner = spawner;
        drop(life);
        self
    }
}

impl<F: Future, const APART: bool> Future for Watched<F, APART> {
    type Output = F::Output;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // The field is never moved out of a pinned Watched.
        let this = unsafe { self.get_unchecked_mut() };
        let polling = Polling::begin(&this.life, std::ptr::addr_of!(this.future) as *const () as u64);
        let future = unsafe { Pin::new_unchecked(&mut this.future) };
        let result = if APART {
            let poll: fn(Pin<&mut F>, &mut Context<'_>) -> Poll<F::Output> = opaque(F::poll);
            poll(future, context)
        } else {
            future.poll(context)
        };
        polling.end(if result.is_ready() { "ready" } else { "pending" });
        result
    }
}

impl<F, const APART: bool> Drop for Watched<F, APART> {
    fn drop(&mut self) {
        let mut life = lock(&self.life);
        if life.outcome.is_none() {
            life.outcome = Some(if life.turns.is_empty() { "never polled" } else { "cancelled" });
            life.ended = now();
        }
    }
}

/// A poll under way; dropped without having ended it was unwound by a panic.
struct Polling<'a> {
    life: &'a Shared,
    begin: u64,
    address: u64,
}

impl<'a> Polling<'a> {
    #[inline(never)]
    fn begin(life: &'a Shared, address: u64) -> Self {
        let parent = current().map(|parent| lock(&parent).number);
        let address = {
            let mut life = lock(life);
            if let Some(parent) = parent.filter(|parent| !life.parents.contains(parent)) {
                life.parents.push(parent);
            }
            if life.address == 0 {
                address
            } else {
                life.address
            }
        };
        STACK.with(|stack| stack.borrow_mut().push(life.clone()));
        Polling { life, begin: now(), address }
    }

    #[inline(never)]
    fn end(self, result: &'static str) {
        self.over(result);
        std::mem::forget(self);
    }

    fn over(&self, result: &'static str) {
        let end = now();
        STACK.with(|stack| stack.borrow_mut().pop());
        let tid = unsafe { libc::syscall(libc::SYS_gettid) } as u32;
        let mut life = lock(self.life);
        let at = if result == "pending" { life.at } else { None };
        life.turns.push(Turn { begin: self.begin, end, tid, address: self.address, result, at });
        if result != "pending" {
            life.outcome = Some(result);
            life.ended = end;
        }
    }
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        self.over("panicked");
    }
}

/// Writes one line of JSON a life beside the log.  A future that nobody has dropped yet is `alive`.
pub(crate) fn write(path: &std::path::Path) {
    let lives = lock(&LIVES);
    if lives.is_empty() {
        return;
    }
    let mut text = String::new();
    for life in lives.iter() {
        describe(&lock(life), &mut text);
    }
    std::fs::File::create(path.with_extension("lives")).unwrap().write_all(text.as_bytes()).unwrap();
}

fn describe(life: &Life, text: &mut String) {
    let place = |place: Place| place.map_or("null".into(), |at| format!("[{:?}, {}]", at.file(), at.line()));
    let turns: Vec<String> = life
        .turns
        .iter()
        .map(|t| format!("[{}, {}, {}, {}, {:?}, {}]", t.begin, t.end, t.tid, t.address, t.result, place(t.at)))
        .collect();
    let outcome = life.outcome.unwrap_or("alive");
    let at = if matches!(outcome, "cancelled" | "alive") { place(life.at) } else { "null".into() };
    writeln!(
        text,
        "{{\"construct\": {:?}, \"function\": {:?}, \"number\": {}, \"apart\": {}, \"parents\": {:?}, \"spawner\": {}, \
         \"spawned\": {}, \"task_id\": {}, \"outcome\": {:?}, \"ended\": {}, \"at\": {}, \"polls\": [{}]}}",
        life.construct,
        life.function,
        life.number,
        life.is_apart,
        life.parents,
        life.spawner.map_or("null".into(), |spawner| spawner.to_string()),
        place(life.spawned),
        life.task_id.as_ref().map_or("null".into(), |id| format!("{id:?}")),
        outcome,
        life.ended,
        at,
        turns.join(", "),
    )
    .unwrap();
}
