//! Several futures in one.

use crate::{opaque, Forever};
use futures::future::{abortable as make_abortable, select, FutureExt};
use futures::{join, pin_mut, try_join};

pub(crate) async fn left() -> u64 {
    Forever.await //@30
}

pub(crate) async fn right() -> u64 {
    let value = left().await; //@31
    opaque(value)
}

async fn done() -> u64 {
    opaque(4)
}

//= joined: joined@! > {left@30 > Forever | right@31 > left@30 > Forever}
pub async fn joined() {
    opaque(join!(left(), right()));
}

//= one_done: one_done@! > {right@31 > left@30 > Forever}
pub async fn one_done() {
    opaque(join!(done(), right()));
}

pub(crate) async fn tries(value: u64) -> Result<u64, u64> {
    Ok(Forever.await + value) //@32
}

//= tried: tried@! > {tries@32 > Forever | tries@32 > Forever}
pub async fn tried() {
    let _ = opaque(try_join!(tries(1), tries(2)));
}

//= selected: selected@! > {Fuse > left@30 > Forever | Fuse > right@31 > left@30 > Forever}
pub async fn selected() {
    let (one, other) = (left().fuse(), right().fuse());
    pin_mut!(one, other);
    futures::select! {
        value = one => { opaque(value); }
        value = other => { opaque(value); }
    }
}

//= either: either@33 > Select > {left@30 > Forever | right@31 > left@30 > Forever}
pub async fn either() {
    opaque(select(Box::pin(left()), Box::pin(right())).await.factor_first().0); //@33
}

//= mapped: mapped@34 > Map > Map > left@30 > Forever
pub async fn mapped() {
    left().map(opaque).await; //@34
}

//= shared: shared@35 > Shared > left@30 > Forever
pub async fn shared() {
    let one = left().shared();
    opaque(one.await); //@35
}

//= abortable: abortable@36 > Abortable > right@31 > left@30 > Forever
pub async fn abortable() {
    let (inner, handle) = make_abortable(right());
    let _ = opaque(inner.await); //@36
    handle.abort();
}
