//! The leader of several servers, and who of them runs.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::sleep};

use super::{
    Store,
    lease::{Hold, Lease, until_lost},
    txn::StoreError,
};

/// The key of the one server that does what one alone does.
const LEADER: &str = "leader";

/// Above the keys of the servers that run.
const SERVERS: &str = "servers/";

/// Time after which the key of a server that died is free.
const TTL: Duration = Duration::from_secs(10);

/// Time between two tries to get a key that another has.
const PAUSE: Duration = Duration::from_secs(2);

/// A key that is held whenever nobody else does. It is given back with the last clone.
#[derive(Clone, Debug)]
struct Claim {
    hold: watch::Receiver<Hold>,
    /// `true`, or that it is gone, ends the claim.
    stop: Arc<watch::Sender<bool>>,
}

impl Claim {
    fn new(store: Store, key: String, who: String) -> Self {
        let (hold, is_held) = watch::channel(Hold::Lost);
        let (stop, mut stopped) = watch::channel(false);
        tokio::spawn(async move {
            let mut lease = None;
            tokio::select! {
                () = claim(&store, &key, &who, &mut lease, &hold) => {}
                _ = stopped.changed() => {}
            }
            hold.send_replace(Hold::Lost);
            if let Some(lease) = lease {
                lease.release().await;
            }
        });
        Self { hold: is_held, stop: Arc::new(stop) }
    }

    fn is_held(&self) -> bool {
        self.hold.borrow().is_now()
    }

    /// Gives the key back for good, and waits until it is free.
    async fn release(&self) {
        self.stop.send_replace(true);
        let mut hold = self.hold.clone();
        while hold.changed().await.is_ok() {}
    }
}

/// Takes a lease whenever it can be had.
async fn claim(
    store: &Store,
    key: &str,
    who: &str,
    place: &mut Option<Lease>,
    hold: &watch::Sender<Hold>,
) {
    let mut is_told = false;
    loop {
        match store.lease(key, who.as_bytes(), TTL).await {
            Ok(Some(lease)) => {
                is_told = false;
                forward(place.insert(lease), hold).await;
                *place = None;
                hold.send_replace(Hold::Lost);
                tracing::warn!(key, "a lease was lost; trying to get it again");
            }
            Ok(None) => is_told = false,
            // Told once, and not with every try.
            Err(error) if !is_told => {
                is_told = true;
                tracing::warn!(key, %error, "a lease cannot be had; trying again");
            }
            Err(_) => {}
        }
        sleep(PAUSE).await;
    }
}

/// Says how a lease is held until it is lost.
async fn forward(lease: &mut Lease, hold: &watch::Sender<Hold>) {
    let mut end = lease.hold.clone();
    loop {
        let now = *lease.hold.borrow_and_update();
        hold.send_replace(now);
        tokio::select! {
            changed = lease.hold.changed() => if changed.is_err() { return },
            () = until_lost(&mut end) => return,
        }
    }
}

/// The one server of a store that does what one alone does. A server whose store is a file always is.
#[derive(Clone, Debug)]
pub struct Leader(Claim);

impl Leader {
    /// Takes part: becomes the leader whenever there is none, until the last clone is dropped. `who`
    /// is what the others are told. Must be called within a runtime.
    pub fn campaign(store: Store, who: &str) -> Self {
        Self(Claim::new(store, LEADER.to_owned(), who.to_owned()))
    }

    /// Whether this server is the leader. No two are at a time, as far as clocks run alike; what is
    /// written still has conditions.
    pub fn is_leader(&self) -> bool {
        self.0.is_held()
    }

    /// Leaves it to the others, and waits until they can.
    pub async fn resign(&self) {
        self.0.release().await;
    }

    /// Waits until this server is the leader.
    pub async fn elected(&mut self) {
        while !self.is_leader() {
            if self.0.hold.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until it is the leader no more.
    pub async fn deposed(&mut self) {
        until_lost(&mut self.0.hold).await;
    }
}

/// The sign that a server runs on a store, for the others.
#[derive(Debug)]
pub struct Presence(Claim);

impl Presence {
    /// Shows that a server runs until it is dropped. `id` is its own. Must be called within a
    /// runtime.
    pub fn announce(store: Store, id: &str, name: &str) -> Self {
        Self(Claim::new(store, format!("{SERVERS}{id}"), name.to_owned()))
    }

    /// Shows that it runs no more, and waits until nobody sees it.
    pub async fn end(&self) {
        self.0.release().await;
    }

    /// The names of the servers that run.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn all(store: &Store) -> Result<Vec<String>, StoreError> {
        let holders = store.holders(SERVERS).await?;
        Ok(holders.iter().map(|(_, who)| String::from_utf8_lossy(who).into_owned()).collect())
    }
}
