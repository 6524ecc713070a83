//! Tasks that wait for each other and for what others hold, for good.
//!
//! Says `ready` with what there is, as JSON: {"tasks": [[name, id]…], "locks": [[name, address]…], "messages": [[name of a
//! task, messages in its channel, how many may be]…]}.  A task's name is that of its function.  Ends when its standard input does.

use std::future::{pending, Future};
use std::hint::black_box;
use std::io::Read;
use std::pin::{pin, Pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{FuturesOrdered, FuturesUnordered, StreamExt};
use tokio::sync::{broadcast, mpsc, oneshot, watch, Mutex, Notify, OwnedMutexGuard, RwLock, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Sleep;

static TASKS: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());
static MESSAGES: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());
static LOCKS: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());

fn start(name: &str, future: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let handle = tokio::spawn(future);
    TASKS.lock().unwrap().push(format!("[\"{name}\", {}]", handle.id()));
    handle
}

fn tell(name: &str, address: usize) {
    LOCKS.lock().unwrap().push(format!("[\"{name}\", {address}]"));
}

async fn parked() {
    pending::<()>().await;
}

async fn joins(handle: JoinHandle<()>) {
    let _ = handle.await;
}

async fn holds_handle(handle: JoinHandle<()>) {
    pending::<()>().await;
    let _ = handle.await;
}

async fn holds_mutex(mutex: Arc<Mutex<u64>>) {
    let mut guard = mutex.lock().await;
    *guard += 1;
    pending::<()>().await;
    *guard += 1;
}

async fn holds_owned(mutex: Arc<Mutex<u64>>) {
    let guard = mutex.lock_owned().await;
    pending::<()>().await;
    drop(guard);
}

async fn waits_mutex(mutex: Arc<Mutex<u64>>) {
    let guard = mutex.lock().await;
    black_box(*guard);
}

/// As middlewares do: what the block captured is moved to where it is awaited.
fn waits_captured(mutex: Arc<Mutex<u64>>) -> impl Future<Output = ()> + Send {
    let captured: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(waits_mutex(mutex));
    async { captured.await }
}

async fn waits_owned(mutex: Arc<Mutex<u64>>) {
    let guard = mutex.lock_owned().await;
    black_box(*guard);
}

/// Had the lock and gave it back: the guard's bytes are still there.
async fn dropped_mutex(mutex: Arc<Mutex<u64>>) {
    let mut guard = mutex.lock().await;
    *guard += 1;
    drop(guard);
    pending::<()>().await;
}

async fn maybe_dropped(mutex: Arc<Mutex<u64>>, drops: bool) {
    let mut guard = mutex.lock().await;
    *guard += 1;
    if drops {
        drop(guard);
    }
    pending::<()>().await;
}

async fn option_taken(mutex: Arc<Mutex<u64>>) {
    let mut guard = Some(mutex.lock().await);
    black_box(&mut guard);
    guard.take();
    pending::<()>().await;
    black_box(&mut guard);
}

/// Had the lock, and another task has it now.
async fn gave_away(mutex: Arc<Mutex<u64>>) {
    let guard = mutex.lock_owned().await;
    black_box(&guard);
    start("has_been_given", has_been_given(guard));
    pending::<()>().await;
}

async fn has_been_given(guard: OwnedMutexGuard<u64>) {
    pending::<()>().await;
    drop(guard);
}

async fn pushed_away(mutex: Arc<Mutex<u64>>) {
    let mut guards = Vec::new();
    let guard = mutex.lock_owned().await;
    black_box(&guard);
    guards.push(guard);
    guards.clear();
    pending::<()>().await;
    black_box(&guards);
}

/// The guard has the name of what it is from.
async fn shadows(mutex: Arc<Mutex<u64>>) {
    let mut mutex = mutex.lock().await;
    *mutex += 1;
    parked().await;
    *mutex += 1;
}

/// There are several places where the guard could be.
async fn shadows_among(mutex: Arc<Mutex<u64>>, first: u8, size: u8) {
    let more = [black_box(first); 3];
    let mut sum = 0;
    for one in &more {
        sum += u64::from(*one);
        tokio::task::yield_now().await;
    }
    let mut mutex = mutex.lock_owned().await;
    let many = black_box([sum; 5]);
    *mutex += 1;
    tokio::join!(pending::<()>(), async { black_box(&many).len() });
    *mutex += many[usize::from(size)];
}

/// Had the lock and gave it back.
async fn shadowed(mutex: Arc<Mutex<u64>>) {
    {
        let mut mutex = mutex.lock().await;
        *mutex += 1;
        tokio::task::yield_now().await;
        *mutex += 1;
    }
    parked().await;
    black_box(&mutex);
}

async fn locks_twice(mutex: Arc<Mutex<u64>>) {
    let mut one = mutex.lock().await;
    let two = mutex.lock().await;
    *one += *two;
}

async fn asks(receiver: oneshot::Receiver<u64>) {
    let _ = receiver.await;
}

/// Would answer once the one who asks has ended.
async fn answers(sender: oneshot::Sender<u64>, asking: JoinHandle<()>) {
    let _ = asking.await;
    let _ = sender.send(1);
}

/// Goes round: at the first await the lock is not held, at the second it is.
async fn again(mutex: Arc<Mutex<u64>>, mut rounds: u32) {
    loop {
        if rounds == 0 {
            pending::<()>().await;
        }
        rounds -= 1;
        let mut guard = mutex.lock().await;
        *guard += 1;
        tokio::task::yield_now().await;
        *guard += 1;
    }
}

async fn holds_read(lock: Arc<RwLock<u64>>) {
    let guard = lock.read().await;
    pending::<()>().await;
    black_box(*guard);
}

async fn holds_write(lock: Arc<RwLock<u64>>) {
    let mut guard = lock.write().await;
    pending::<()>().await;
    *guard += 1;
}

async fn waits_read(lock: Arc<RwLock<u64>>) {
    black_box(*lock.read().await);
}

async fn waits_write(lock: Arc<RwLock<u64>>) {
    *lock.write().await += 1;
}

async fn holds_permit(semaphore: Arc<Semaphore>) {
    let permit = semaphore.acquire().await;
    pending::<()>().await;
    drop(permit);
}

async fn holds_owned_permit(semaphore: Arc<Semaphore>) {
    let permit = semaphore.acquire_owned().await;
    pending::<()>().await;
    drop(permit);
}

async fn waits_permit(semaphore: Arc<Semaphore>) {
    drop(semaphore.acquire().await);
}

async fn waits_oneshot(receiver: oneshot::Receiver<u64>) {
    let _ = receiver.await;
}

async fn holds_oneshot(sender: oneshot::Sender<u64>) {
    pending::<()>().await;
    let _ = sender.send(1);
}

async fn waits_mpsc(mut receiver: mpsc::Receiver<String>) {
    receiver.recv().await;
}

async fn waits_unbounded(mut receiver: mpsc::UnboundedReceiver<String>) {
    receiver.recv().await;
}

async fn holds_mpsc(sender: mpsc::Sender<String>) {
    pending::<()>().await;
    drop(sender);
}

async fn holds_unbounded(sender: mpsc::UnboundedSender<String>) {
    pending::<()>().await;
    drop(sender);
}

async fn waits_capacity(sender: mpsc::Sender<String>) {
    let _ = sender.send("second".to_string()).await;
}

async fn holds_receiver(receiver: mpsc::Receiver<String>) {
    pending::<()>().await;
    drop(receiver);
}

async fn keeps_unbounded(receiver: mpsc::UnboundedReceiver<String>, sender: mpsc::UnboundedSender<String>) {
    pending::<()>().await;
    drop((receiver, sender));
}

async fn keeps_ended(receiver: mpsc::UnboundedReceiver<String>) {
    pending::<()>().await;
    drop(receiver);
}

async fn keeps_closed(mut receiver: mpsc::Receiver<String>, sender: mpsc::Sender<String>) {
    receiver.close();
    pending::<()>().await;
    drop((receiver, sender));
}

/// Its receiver is gone, and what was in there with it.
async fn sends_to_nobody(sender: mpsc::UnboundedSender<String>) {
    pending::<()>().await;
    drop(sender);
}

async fn keeps_some(receiver: mpsc::Receiver<String>, sender: mpsc::Sender<String>) {
    pending::<()>().await;
    drop((receiver, sender));
}

async fn keeps_full(receiver: mpsc::Receiver<String>) {
    pending::<()>().await;
    drop(receiver);
}

async fn fills(sender: mpsc::Sender<String>) {
    let _ = sender.send("one more".to_string()).await;
}

struct Shared {
    sender: mpsc::Sender<String>,
}

impl Shared {
    async fn put(&self) {
        let _ = self.sender.send("one more".to_string()).await;
    }
}

/// Nothing in it is a sender: it has a part in one.
async fn fills_shared(shared: Arc<Shared>) {
    shared.put().await;
}

async fn reserves(sender: mpsc::Sender<String>) {
    let _ = sender.reserve().await;
}

/// As many messages as it says, which nobody takes.
async fn fill(sender: &mpsc::Sender<String>, count: usize) {
    for number in 0..count {
        sender.send(number.to_string()).await.unwrap();
    }
}

fn fill_unbounded(sender: &mpsc::UnboundedSender<String>, count: usize) {
    for number in 0..count {
        sender.send(number.to_string()).unwrap();
    }
}

fn tell_messages(name: &str, count: usize, most: Option<usize>) {
    let most = most.map_or("null".to_string(), |most| most.to_string());
    MESSAGES.lock().unwrap().push(format!("[\"{name}\", {count}, {most}]"));
}

async fn channels() {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    fill_unbounded(&sender, 1_024);
    for _ in 0..15 {
        receiver.recv().await;
    }
    start("keeps_unbounded", keeps_unbounded(receiver, sender));
    tell_messages("keeps_unbounded", 1_009, None);

    let (sender, receiver) = mpsc::unbounded_channel();
    fill_unbounded(&sender, 11);
    start("keeps_ended", keeps_ended(receiver));
    tell_messages("keeps_ended", 11, None);

    let (sender, receiver) = mpsc::channel(17);
    fill(&sender, 13).await;
    start("keeps_closed", keeps_closed(receiver, sender));
    tell_messages("keeps_closed", 13, Some(17));

    let (sender, receiver) = mpsc::unbounded_channel();
    fill_unbounded(&sender, 19);
    start("sends_to_nobody", sends_to_nobody(sender));
    tell_messages("sends_to_nobody", 0, None);
    drop(receiver);

    let (sender, receiver) = mpsc::channel(7);
    fill(&sender, 3).await;
    start("keeps_some", keeps_some(receiver, sender));
    tell_messages("keeps_some", 3, Some(7));

    let (sender, receiver) = mpsc::channel(5);
    fill(&sender, 5).await;
    start("keeps_full", keeps_full(receiver));
    start("fills", fills(sender.clone()));
    start("fills", fills(sender.clone()));
    start("reserves", reserves(sender));
    for name in ["keeps_full", "fills", "reserves"] {
        tell_messages(name, 5, Some(5));
    }

    let (sender, receiver) = mpsc::channel(2);
    fill(&sender, 2).await;
    std::mem::forget(receiver); // no task has it
    start("fills_shared", fills_shared(Arc::new(Shared { sender })));
    tell_messages("fills_shared", 2, Some(2));

    let (sender, mut receiver) = mpsc::unbounded_channel::<String>();
    fill_unbounded(&sender, 23);
    let block = async move {
        pending::<()>().await;
        receiver.recv().await;
        drop(sender);
    };
    start("block_keeps", block);
    tell_messages("block_keeps", 23, None);
}

async fn waits_watch(mut receiver: watch::Receiver<u64>) {
    let _ = receiver.changed().await;
}

async fn holds_watch(sender: watch::Sender<u64>) {
    pending::<()>().await;
    drop(sender);
}

/// Not for the other sender: for receivers to go.
async fn waits_closed(sender: watch::Sender<u64>) {
    sender.closed().await;
}

async fn holds_watch_receiver(receiver: watch::Receiver<u64>) {
    pending::<()>().await;
    drop(receiver);
}

async fn waits_broadcast(mut receiver: broadcast::Receiver<u64>) {
    let _ = receiver.recv().await;
}

async fn holds_broadcast(sender: broadcast::Sender<u64>) {
    pending::<()>().await;
    drop(sender);
}

async fn waits_notify(notify: Arc<Notify>) {
    notify.notified().await;
}

async fn waits_timer() {
    tokio::time::sleep(Duration::from_secs(1_000)).await;
}

async fn waits_timeout() {
    let _ = tokio::time::timeout(Duration::from_secs(2_000), parked()).await;
}

async fn waits_accept(listener: tokio::net::TcpListener) {
    let _ = listener.accept().await;
}

async fn waits_read_socket(stream: tokio::net::TcpStream) {
    let _ = stream.readable().await;
}

async fn waits_read_bytes(mut stream: tokio::net::TcpStream) {
    let mut buffer = [0; 16];
    let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut buffer).await;
}

async fn joins_set() {
    let mut set = JoinSet::new();
    for _ in 0..5 {
        set.spawn(parked());
    }
    set.join_next().await;
}

async fn holds_set() {
    let mut set = JoinSet::new();
    for _ in 0..3 {
        set.spawn(parked());
    }
    pending::<()>().await;
    set.join_next().await;
}

async fn unordered(mutex: Arc<Mutex<u64>>) {
    let mut futures = FuturesUnordered::new();
    for _ in 0..7 {
        futures.push(waits_mutex(mutex.clone()));
    }
    futures.next().await;
}

async fn ordered(mutex: Arc<Mutex<u64>>) {
    let mut futures = FuturesOrdered::new();
    for _ in 0..4 {
        futures.push_back(waits_mutex(mutex.clone()));
    }
    futures.next().await;
}

async fn joins_few(mutex: Arc<Mutex<u64>>) {
    futures::future::join_all((0..3).map(|_| waits_mutex(mutex.clone()))).await;
}

async fn joins_many(mutex: Arc<Mutex<u64>>) {
    futures::future::join_all((0..40).map(|_| waits_mutex(mutex.clone()))).await;
}

/// One branch has what the other waits for, and would go on.
async fn holds_and_waits(mutex: Arc<Mutex<u64>>) {
    tokio::join!(holds_mutex(mutex.clone()), waits_mutex(mutex));
}

async fn selects(mutex: Arc<Mutex<u64>>) {
    futures::future::select_all((0..6).map(|_| Box::pin(waits_mutex(mutex.clone())))).await;
}

async fn buffered(mutex: Arc<Mutex<u64>>) {
    futures::stream::iter(0..9).map(|_| waits_mutex(mutex.clone())).buffer_unordered(2).collect::<Vec<_>>().await;
}

async fn deadlocked(first: Arc<Mutex<u64>>, second: Arc<Mutex<u64>>) {
    let mut one = first.lock().await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let two = second.lock().await;
    *one += *two;
}

/// Who waits to write stands between the two.
async fn reads_twice(lock: Arc<RwLock<u64>>, go_on: Arc<Notify>) {
    let one = lock.read().await;
    go_on.notified().await;
    let two = lock.read().await;
    black_box(*one + *two);
}

/// As tower's ResponseFuture is: beside what it is generic over it has a time limit.
struct Limited<F> {
    response: Pin<Box<F>>,
    limit: Pin<Box<Sleep>>,
}

impl<F: Future<Output = ()>> Future for Limited<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.response.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        self.limit.as_mut().poll(context)
    }
}

/// As `deadlocked`, but goes on in the end.
async fn limited(first: Arc<Mutex<u64>>, second: Arc<Mutex<u64>>) {
    let mut one = first.lock().await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let limit = Box::pin(tokio::time::sleep(Duration::from_secs(1_000)));
    Limited { response: Box::pin(lock_briefly(second)), limit }.await;
    *one += 1;
}

/// Its own channel is full, and so is that of the other.
async fn sends_and_receives(other: mpsc::Sender<String>, mut own: mpsc::Receiver<String>) {
    other.send("second".to_string()).await.unwrap();
    let _ = own.recv().await;
}

async fn lock_briefly(mutex: Arc<Mutex<u64>>) {
    let mut guard = mutex.lock().await;
    tokio::task::yield_now().await;
    *guard += 1;
}

/// Waits for a lock that was given to a future of its own, which it does not poll.
async fn futurelocked(mutex: Arc<Mutex<u64>>) {
    let mut other = pin!(lock_briefly(mutex.clone()));
    tokio::select! {
        biased;
        _ = &mut other => {}
        _ = tokio::time::sleep(Duration::from_millis(50)) => {
            lock_briefly(mutex.clone()).await;
        }
    }
}

/// The same, by many futures of which one has been given the lock.
async fn futurelocked_by_many(mutex: Arc<Mutex<u64>>) {
    let mut futures = FuturesUnordered::new();
    for _ in 0..3 {
        futures.push(lock_briefly(mutex.clone()));
    }
    tokio::select! {
        biased;
        _ = futures.next() => {}
        _ = tokio::time::sleep(Duration::from_millis(50)) => {
            lock_briefly(mutex.clone()).await;
        }
    }
    futures.next().await;
}

async fn permit_briefly(semaphore: Arc<Semaphore>) {
    let permit = semaphore.acquire().await;
    tokio::task::yield_now().await;
    drop(permit);
}

/// Waits for the permit that was given to a future of its own.
async fn futurelocked_by_permit(semaphore: Arc<Semaphore>) {
    let mut other = pin!(permit_briefly(semaphore.clone()));
    tokio::select! {
        biased;
        _ = &mut other => {}
        _ = tokio::time::sleep(Duration::from_millis(50)) => {
            permit_briefly(semaphore.clone()).await;
        }
    }
}

/// Waits for the permit that a future of its own has taken.
async fn futurelocked_by_holder(semaphore: Arc<Semaphore>) {
    let mut other = pin!(holds_permit(semaphore.clone()));
    tokio::select! {
        biased;
        _ = &mut other => {}
        _ = tokio::time::sleep(Duration::from_millis(50)) => {
            permit_briefly(semaphore.clone()).await;
        }
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(tasks());
    let (tasks, locks) = (TASKS.lock().unwrap().join(", "), LOCKS.lock().unwrap().join(", "));
    let messages = MESSAGES.lock().unwrap().join(", ");
    println!("ready {{\"tasks\": [{tasks}], \"locks\": [{locks}], \"messages\": [{messages}]}}");
    let mut rest = Vec::new();
    let _ = std::io::stdin().read_to_end(&mut rest);
    std::process::exit(0);
}

async fn turn() {
    tokio::time::sleep(Duration::from_millis(15)).await;
}

fn mutex(name: &str) -> Arc<Mutex<u64>> {
    let made = Arc::new(Mutex::new(0));
    tell(name, Arc::as_ptr(&made) as usize);
    made
}

async fn tasks() {
    let one = start("parked", parked());
    start("joins", joins(one));
    let one = start("parked", parked());
    start("holds_handle", holds_handle(one));

    let lock = mutex("mutex");
    start("dropped_mutex", dropped_mutex(lock.clone()));
    start("again", again(lock.clone(), 2));
    start("option_taken", option_taken(lock.clone()));
    start("maybe_dropped_did", maybe_dropped(lock.clone(), true));
    turn().await;
    start("holds_mutex", holds_mutex(lock.clone()));
    turn().await;
    start("waits_mutex", waits_mutex(lock.clone()));
    start("waits_owned", waits_owned(lock.clone()));
    start("waits_captured", waits_captured(lock.clone()));
    start("unordered", unordered(lock.clone()));
    start("ordered", ordered(lock.clone()));
    start("joins_few", joins_few(lock.clone()));
    start("joins_many", joins_many(lock.clone()));
    start("selects", selects(lock.clone()));
    start("buffered", buffered(lock.clone()));

    let lock = mutex("owned");
    start("holds_owned", holds_owned(lock.clone()));
    let lock = mutex("maybe");
    start("maybe_dropped_not", maybe_dropped(lock.clone(), false));
    turn().await;
    start("waits_mutex", waits_mutex(lock.clone()));

    let (one, other) = (mutex("shadows"), mutex("shadows_among"));
    start("shadowed", shadowed(one.clone()));
    start("shadowed", shadowed(other.clone()));
    turn().await;
    start("shadows", shadows(one.clone()));
    start("shadows_among", shadows_among(other.clone(), 1, 2));
    turn().await;
    start("waits_shadows", waits_mutex(one));
    start("waits_shadows", waits_mutex(other));

    let lock = Arc::new(RwLock::new(0));
    start("holds_read", holds_read(lock.clone()));
    turn().await;
    start("waits_write", waits_write(lock.clone()));
    let lock = Arc::new(RwLock::new(0));
    start("holds_write", holds_write(lock.clone()));
    turn().await;
    start("waits_read", waits_read(lock.clone()));

    let (lock, go_on) = (Arc::new(RwLock::new(0)), Arc::new(Notify::new()));
    start("reads_twice", reads_twice(lock.clone(), go_on.clone()));
    start("reads_twice", reads_twice(lock.clone(), go_on.clone()));
    turn().await;
    start("writes_between", waits_write(lock.clone()));
    turn().await;
    start("reads_behind", waits_read(lock.clone()));
    turn().await;
    start("writes_behind", waits_write(lock));
    go_on.notify_waiters();

    let semaphore = Arc::new(Semaphore::new(2));
    start("holds_permit", holds_permit(semaphore.clone()));
    start("holds_owned_permit", holds_owned_permit(semaphore.clone()));
    turn().await;
    start("waits_permit", waits_permit(semaphore.clone()));

    let (sender, receiver) = oneshot::channel();
    start("holds_oneshot", holds_oneshot(sender));
    start("waits_oneshot", waits_oneshot(receiver));
    let (sender, receiver) = oneshot::channel();
    let block = async move {
        pending::<()>().await;
        let _ = sender.send(1);
    };
    start("block_has_oneshot", block);
    start("waits_block", waits_oneshot(receiver));
    let (sender, receiver) = mpsc::channel(1);
    start("holds_mpsc", holds_mpsc(sender));
    start("waits_mpsc", waits_mpsc(receiver));
    tell_messages("waits_mpsc", 0, Some(1));
    let (sender, receiver) = mpsc::unbounded_channel();
    start("holds_unbounded", holds_unbounded(sender));
    start("waits_unbounded", waits_unbounded(receiver));
    tell_messages("waits_unbounded", 0, None);
    channels().await;
    let (sender, receiver) = mpsc::channel(1);
    sender.send("first".to_string()).await.unwrap();
    start("waits_capacity", waits_capacity(sender));
    start("holds_receiver", holds_receiver(receiver));
    let (sender, receiver) = watch::channel(0);
    start("holds_watch", holds_watch(sender));
    start("waits_watch", waits_watch(receiver));
    let (sender, receiver) = watch::channel(0);
    start("waits_closed", waits_closed(sender.clone()));
    start("holds_watch", holds_watch(sender));
    start("holds_watch_receiver", holds_watch_receiver(receiver));
    let (sender, receiver) = broadcast::channel(2);
    start("holds_broadcast", holds_broadcast(sender));
    start("waits_broadcast", waits_broadcast(receiver));
    start("waits_notify", waits_notify(Arc::new(Notify::new())));
    start("waits_timer", waits_timer());
    start("waits_timeout", waits_timeout());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    for bytes in [false, true] {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (other, _) = listener.accept().await.unwrap();
        std::mem::forget(other);
        if bytes {
            start("waits_read_bytes", waits_read_bytes(stream));
        } else {
            start("waits_read_socket", waits_read_socket(stream));
        }
    }
    start("waits_accept", waits_accept(listener));
    start("joins_set", joins_set());
    start("holds_set", holds_set());

    let (first, second) = (mutex("first"), mutex("second"));
    start("deadlocked", deadlocked(first.clone(), second.clone()));
    start("deadlocked", deadlocked(second, first));

    let (first, second) = (mutex("limited"), mutex("limited, the other"));
    start("limited", limited(first.clone(), second.clone()));
    start("limited", limited(second, first));

    let ((to_one, one), (to_other, other)) = (mpsc::channel(1), mpsc::channel(1));
    to_one.send("first".to_string()).await.unwrap();
    to_other.send("first".to_string()).await.unwrap();
    start("sends_and_receives", sends_and_receives(to_other, one));
    start("sends_and_receives", sends_and_receives(to_one, other));

    start("holds_and_waits", holds_and_waits(mutex("both")));
    start("locks_twice", locks_twice(mutex("twice")));
    let (sender, receiver) = oneshot::channel();
    let asking = start("asks", asks(receiver));
    start("answers", answers(sender, asking));

    let lock = mutex("given");
    start("pushed_away", pushed_away(lock.clone()));
    turn().await;
    start("gave_away", gave_away(lock.clone()));
    turn().await;
    start("waits_given", waits_mutex(lock));

    let (lock, many) = (mutex("futurelock"), mutex("futurelock_many"));
    let guards = (lock.lock().await, many.lock().await);
    let semaphore = Arc::new(Semaphore::new(1));
    let permit = semaphore.acquire().await;
    start("futurelocked_by_permit", futurelocked_by_permit(semaphore.clone()));
    start("futurelocked_by_holder", futurelocked_by_holder(Arc::new(Semaphore::new(1))));
    start("futurelocked", futurelocked(lock.clone()));
    start("futurelocked_by_many", futurelocked_by_many(many.clone()));
    tokio::time::sleep(Duration::from_millis(150)).await;
    drop((guards, permit));
    tokio::time::sleep(Duration::from_millis(50)).await;
}
