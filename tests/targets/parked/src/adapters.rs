//! Futures made of others by the methods and functions of futures-util.

use crate::combinators::{left, right, tries};
use crate::containers::item;
use crate::opaque;
use futures::channel::oneshot;
use futures::future::{
    self, join_all, ok, ready, select_ok, try_join_all, try_select, AbortHandle, Abortable, BoxFuture, FutureExt,
    OptionFuture, Shared, TryFutureExt,
};
use futures::lock::Mutex;
use futures::{join, pin_mut, select_biased, try_join};
use std::sync::{Arc, OnceLock};

//= nested_join: nested_join@! > {nested_join{block}@! > {left@30 > Forever | item@40 > Forever} | item@40 > Forever}
pub async fn nested_join() {
    opaque(join!(async { join!(left(), item(1)) }, item(2)));
}

//= join_in_select: join_in_select@! > {Fuse > join_in_select{block}@! > {left@30 > Forever | right@31 > left@30 > Forever} | Fuse > item@40 > Forever}
pub async fn join_in_select() {
    let (both, one) = (async { join!(left(), right()) }.fuse(), item(1).fuse());
    pin_mut!(both, one);
    futures::select! {
        pair = both => { opaque(pair); }
        value = one => { opaque(value); }
    }
}

//= biased: biased@! > {Fuse > left@30 > Forever | Fuse > item@40 > Forever}
pub async fn biased() {
    let (one, other) = (left().fuse(), item(1).fuse());
    pin_mut!(one, other);
    select_biased! {
        value = one => { opaque(value); }
        value = other => { opaque(value); }
    }
}

//= one_selected: one_selected@! > Fuse > item@40 > Forever
pub async fn one_selected() {
    let (one, other) = (ready(opaque(1_u64)).fuse(), item(1).fuse());
    pin_mut!(one, other);
    for _ in 0..2 {
        futures::select! {
            value = one => { opaque(value); }
            value = other => { opaque(value); }
        }
    }
}

//= one_tried: one_tried@! > tries@32 > Forever
pub async fn one_tried() {
    let _ = opaque(try_join!(ok::<u64, u64>(1), tries(2)));
}

//= then: then@200 > Then > Flatten > Map > Map > left@30 > Forever
pub async fn then() {
    opaque(left().then(item).await); //@200
}

//= then_second: then_second@201 > Then > Flatten > item@40 > Forever
pub async fn then_second() {
    opaque(async { opaque(1) }.then(item).await); //@201
}

//= inspected: inspected@202 > Inspect > Map > left@30 > Forever
pub async fn inspected() {
    opaque(left().inspect(|value| { opaque(*value); }).await); //@202
}

//= and_then: and_then@203 > AndThen > TryFlatten > TryFlatten > tries@32 > Forever
pub async fn and_then() {
    let _ = opaque(async { opaque(Ok::<u64, u64>(1)) }.and_then(tries).await); //@203
}

//= mapped_ok: mapped_ok@204 > MapOk > Map > Map > IntoFuture > tries@32 > Forever
pub async fn mapped_ok() {
    let _ = opaque(tries(1).map_ok(opaque).await); //@204
}

//= or_else: or_else@205 > OrElse > TryFlattenErr > TryFlattenErr > tries@32 > Forever
pub async fn or_else() {
    let _ = opaque(async { opaque(Err::<u64, u64>(1)) }.or_else(tries).await); //@205
}

//= made_box: made_box@206 > left@30 > Forever
pub async fn made_box() {
    let one: BoxFuture<'static, u64> = left().boxed();
    opaque(one.await); //@206
}

//= local_box: local_box@207 > Map > Map > left@30 > Forever
pub async fn local_box() {
    let one: BoxFuture<'static, u64> = Box::pin(left().map(opaque));
    opaque(one.await); //@207
}

//= left_future: left_future@208 > Either > left@30 > Forever
pub async fn left_future() {
    let one = if opaque(true) { left().left_future() } else { item(1).right_future() };
    opaque(one.await); //@208
}

//= right_future: right_future@209 > Either > item@40 > Forever
pub async fn right_future() {
    let one = if opaque(false) { left().left_future() } else { item(1).right_future() };
    opaque(one.await); //@209
}

//= caught: caught@210 > CatchUnwind > AssertUnwindSafe > left@30 > Forever
pub async fn caught() {
    let _ = opaque(std::panic::AssertUnwindSafe(left()).catch_unwind().await.is_ok()); //@210
}

//= flat: flat@211 > Flatten > Flatten > item@40 > Forever
pub async fn flat() {
    opaque(async { item(opaque(1)) }.flatten().await); //@211
}

//= fused: fused@212 > Fuse > left@30 > Forever
pub async fn fused() {
    opaque(left().fuse().await); //@212
}

//= many: many@213 > JoinAll > Collect > {Either > item@40 > Forever | Either > item@40 > Forever | Either > item@40 > Forever}
pub async fn many() {
    let several = (0..34).map(|value| if value < 31 { ready(value).left_future() } else { item(value).right_future() });
    opaque(join_all(several).await); //@213
}

//= few_left: few_left@214 > JoinAll > Either > item@40 > Forever
pub async fn few_left() {
    let several = (0..3).map(|value| if value < 2 { ready(value).left_future() } else { item(value).right_future() });
    opaque(join_all(several).await); //@214
}

//= try_all: try_all@215 > TryJoinAll > {IntoFuture > tries@32 > Forever | IntoFuture > tries@32 > Forever}
pub async fn try_all() {
    let _ = opaque(try_join_all((0..2).map(tries)).await); //@215
}

//= first_ok: first_ok@216 > SelectOk > {tries@32 > Forever | tries@32 > Forever}
pub async fn first_ok() {
    let _ = opaque(select_ok((0..2).map(|value| Box::pin(tries(value)))).await.is_ok()); //@216
}

//= try_either: try_either@217 > TrySelect > {tries@32 > Forever | tries@32 > Forever}
pub async fn try_either() {
    let _ = opaque(try_select(Box::pin(tries(1)), Box::pin(tries(2))).await.is_ok()); //@217
}

//= joined_two: joined_two@218 > Join > {left@30 > Forever | item@40 > Forever}
pub async fn joined_two() {
    opaque(future::join(left(), item(1)).await); //@218
}

//= joined_three: joined_three@219 > Join3 > {left@30 > Forever | item@40 > Forever}
pub async fn joined_three() {
    opaque(future::join3(left(), ready(opaque(1)), item(1)).await); //@219
}

//= perhaps: perhaps@220 > OptionFuture > item@40 > Forever
pub async fn perhaps() {
    opaque(OptionFuture::from(Some(item(1))).await); //@220
}

//= aborts: aborts@221 > Abortable > right@31 > left@30 > Forever
pub async fn aborts() {
    let (handle, registration) = AbortHandle::new_pair();
    let _ = opaque(Abortable::new(right(), registration).await); //@221
    handle.abort();
}

//= remote: remote@222 > Remote > CatchUnwind > AssertUnwindSafe > left@30 > Forever
pub async fn remote() {
    let (remote, handle) = left().remote_handle();
    remote.await; //@222
    drop(handle);
}

//= locks: locks@223 > MutexLockFuture
pub async fn locks() {
    let mutex = Mutex::new(1_u64);
    let held = mutex.lock().await;
    opaque(*mutex.lock().await); //@223
    drop(held);
}

//= answered: answered@224 > Receiver
pub async fn answered() {
    let (sender, receiver) = oneshot::channel::<u64>();
    let _ = opaque(receiver.await); //@224
    drop(sender);
}

//= both_wait_shared: both_wait_shared@! > {Shared > left@30 > Forever | Shared > left@30 > Forever}
pub async fn both_wait_shared() {
    let one = left().shared();
    opaque(join!(one.clone(), one));
}

type Common = Shared<BoxFuture<'static, u64>>;
static COMMON: OnceLock<Common> = OnceLock::new();

//= polls_common: polls_common@225 > Shared > left@30 > Forever
pub async fn polls_common() {
    let one = COMMON.get_or_init(|| left().boxed().shared()).clone();
    opaque(one.await); //@225
}

//= waits_common: waits_common@226 > Shared > left@30 > Forever
pub async fn waits_common() {
    let one = COMMON.get_or_init(|| left().boxed().shared()).clone();
    opaque(one.await); //@226
}

//= pending: pending@227 > Pending
pub async fn pending() {
    future::pending::<()>().await; //@227
}

//= in_arc: in_arc@228 > left@30 > Forever
pub async fn in_arc() {
    let kept = Arc::new(opaque(3));
    opaque(left().await + *kept); //@228
}
