//! Leases of etcd: granted, renewed until they are given back or cannot be.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use etcd_client::{Compare, CompareOp, Error, PutOptions, Txn, TxnOp};
use tokio::{
    sync::{oneshot, watch},
    time::sleep,
};

use super::{
    super::{
        lease::{Hold, Lease},
        txn::{PATIENCE, StoreError},
    },
    kv::kv,
    members::{Members, Repeat},
};

/// Parts of its time after which a lease is renewed, and which is kept as a distance from its end:
/// clocks do not run quite alike.
const RENEWALS: u32 = 3;
const MARGIN: u32 = 5;

/// Holds a key; `None` if another does.
pub(super) async fn take(
    members: &Arc<Members>,
    key: String,
    value: &[u8],
    ttl: Duration,
) -> Result<Option<Lease>, StoreError> {
    let began = Instant::now();
    let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
    let grant = |client: etcd_client::Client| async move {
        client.lease_client().grant(seconds, None).await
    };
    // One whose answer was lost ends by itself.
    let id = members.ask(Repeat::Safe, PATIENCE, grant).await?.id();
    let is_free = Compare::version(key.clone(), CompareOp::Equal, 0);
    let put = TxnOp::put(key, value, Some(PutOptions::new().with_lease(id)));
    let txn = Txn::new().when([is_free]).and_then([put]);
    let commit = |client| {
        let txn = txn.clone();
        async move { kv(&client).txn(txn).await }
    };
    let done = members.ask(Repeat::Unsafe, PATIENCE, commit).await;
    if !done.as_ref().is_ok_and(|done| done.succeeded()) {
        revoke(members, id).await;
        return done.map(|_| None);
    }
    let (hold, is_held) = watch::channel(Hold::Until(end(began, ttl)));
    let (kept, dropped) = oneshot::channel();
    let members = Arc::clone(members);
    tokio::spawn(async move {
        tokio::select! {
            _ = dropped => {}
            () = renew(&members, id, ttl, &hold) => {}
        }
        hold.send_replace(Hold::Lost);
        revoke(&members, id).await;
    });
    Ok(Some(Lease::new(is_held, kept)))
}

/// The time until which a lease that was renewed then is held for sure.
fn end(renewed: Instant, ttl: Duration) -> Instant {
    renewed + ttl - ttl / MARGIN
}

/// Renews a lease until it is lost.
async fn renew(members: &Members, id: i64, ttl: Duration, hold: &watch::Sender<Hold>) {
    loop {
        let Hold::Until(until) = *hold.borrow() else { return };
        if Instant::now() >= until {
            return;
        }
        sleep(ttl / RENEWALS).await;
        let began = Instant::now();
        let patience = until.saturating_duration_since(began).min(PATIENCE);
        let renew = |client: etcd_client::Client| async move {
            match client.lease_client().keep_alive(id).await {
                Ok(_) => Ok(true),
                // It is over, or somebody revoked it.
                Err(Error::LeaseKeepAliveError(_)) => Ok(false),
                Err(error) => Err(error),
            }
        };
        match members.ask(Repeat::Safe, patience, renew).await {
            Ok(true) => {
                hold.send_replace(Hold::Until(end(began, ttl)));
            }
            Ok(false) => return,
            Err(error) => tracing::debug!(%error, "a lease could not be renewed yet"),
        }
    }
}

/// Gives a lease back. One that is not revoked ends by itself.
async fn revoke(members: &Members, id: i64) {
    let revoke =
        |client: etcd_client::Client| async move { client.lease_client().revoke(id).await };
    if let Err(error) = members.ask(Repeat::Safe, PATIENCE, revoke).await {
        tracing::debug!(%error, "a lease ends by itself");
    }
}
