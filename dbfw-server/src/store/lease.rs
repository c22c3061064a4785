//! Leases: keys that one holder has at a time, for as long as it lives.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::{oneshot, watch},
    time::sleep,
};

/// The certainty with which a key is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// Until it is given back.
    ForGood,
    /// At least until then, unless it is renewed.
    #[cfg_attr(not(feature = "etcd"), expect(dead_code, reason = "a file loses no lease"))]
    Until(Instant),
    /// No more.
    Lost,
}

impl Hold {
    pub(super) fn is_now(self) -> bool {
        match self {
            Self::ForGood => true,
            Self::Until(end) => Instant::now() < end,
            Self::Lost => false,
        }
    }
}

/// A key that nobody else holds. It is given back when this is dropped.
#[derive(Debug)]
pub struct Lease {
    pub(super) hold: watch::Receiver<Hold>,
    /// Whoever has the other end gives the key back when this is dropped.
    kept: oneshot::Sender<()>,
}

impl Lease {
    pub(super) fn new(hold: watch::Receiver<Hold>, kept: oneshot::Sender<()>) -> Self {
        Self { hold, kept }
    }

    /// Whether it is held. `false` comes before anybody else can get it.
    pub fn is_held(&self) -> bool {
        self.hold.borrow().is_now()
    }

    /// Waits until it is lost.
    pub async fn lost(&mut self) {
        until_lost(&mut self.hold).await;
    }

    /// Gives the key back, and waits until it is free.
    pub async fn release(self) {
        let Self { mut hold, kept } = self;
        drop(kept);
        // The other end goes when that is done.
        while hold.changed().await.is_ok() {}
    }
}

/// Waits until a key is held no more.
pub(super) async fn until_lost(hold: &mut watch::Receiver<Hold>) {
    loop {
        let now = *hold.borrow_and_update();
        let end = async {
            match now {
                Hold::Until(end) => sleep(end.saturating_duration_since(Instant::now())).await,
                Hold::ForGood | Hold::Lost => std::future::pending().await,
            }
        };
        if !now.is_now() {
            return;
        }
        tokio::select! {
            () = end => {}
            changed = hold.changed() => if changed.is_err() { return },
        }
    }
}

/// The keys that are held in a store that one process has open.
#[derive(Clone, Debug, Default)]
pub(super) struct LocalLeases(Arc<Mutex<BTreeMap<String, Arc<[u8]>>>>);

impl LocalLeases {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<[u8]>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds a key; `None` if it is held already. The time is for holders that could die alone.
    pub(super) fn take(&self, key: &str, value: &[u8], _ttl: Duration) -> Option<Lease> {
        let mut held = self.lock();
        if held.contains_key(key) {
            return None;
        }
        held.insert(key.to_owned(), value.into());
        let (hold, is_held) = watch::channel(Hold::ForGood);
        let (kept, dropped) = oneshot::channel();
        let (leases, key) = (self.clone(), key.to_owned());
        tokio::spawn(async move {
            let _hold = hold;
            let _ = dropped.await;
            leases.lock().remove(&key);
        });
        Some(Lease::new(is_held, kept))
    }

    /// The keys that are held below a prefix, and what their holders say.
    pub(super) fn holders(&self, prefix: &str) -> Vec<(String, Arc<[u8]>)> {
        let held = self.lock();
        let below = held.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        below.map(|(key, value)| (key.clone(), Arc::clone(value))).collect()
    }
}
