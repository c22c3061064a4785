//! Following etcd: one watch, whose commits go to everybody who watches here.

use std::{sync::Arc, time::Duration};

use etcd_client::{EventType, WatchOptions, WatchResponse};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    super::{
        txn::{Batch, PATIENCE, Revision, StoreError, Write},
        watch::Ring,
    },
    kv::{LEASES, MAX_ANSWER, header, own, revision, signed, unsigned},
    members::Members,
};

/// Time until a member is asked again after one failed.
const PAUSE: Duration = Duration::from_millis(200);

/// The task that follows. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Follower(JoinHandle<()>);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Feeds the commits after a revision to a ring.
pub(super) fn follow(
    members: Arc<Members>,
    prefix: Arc<str>,
    ring: Arc<Ring>,
    seen: Revision,
) -> Follower {
    let mut feed = Feed { members, prefix, ring, seen };
    Follower(tokio::spawn(async move {
        let mut is_told = false;
        loop {
            match feed.watch(&mut is_told).await {
                End::Broken(error) => {
                    // Told once, until it works again.
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(%error, "the watch of etcd ended; trying again");
                    }
                    feed.members.leave_current();
                }
                End::Missed(reason) => match revision(&feed.members, &feed.prefix).await {
                    Ok(newest) => {
                        tracing::warn!(reason, %newest, "changes were missed: reading all anew");
                        feed.seen = newest;
                        feed.ring.restart(newest);
                        continue;
                    }
                    Err(error) => tracing::debug!(%error, "etcd's revision is not known"),
                },
            }
            sleep(PAUSE).await;
        }
    }))
}

/// Reason why a watch ended.
enum End {
    /// It can go on behind the last commit that was seen.
    Broken(StoreError),
    /// It cannot: commits are gone.
    Missed(&'static str),
}

impl From<etcd_client::Error> for End {
    fn from(error: etcd_client::Error) -> Self {
        Self::Broken(StoreError::Failed(error.to_string()))
    }
}

struct Feed {
    members: Arc<Members>,
    prefix: Arc<str>,
    ring: Arc<Ring>,
    /// The last commit that everybody was told of.
    seen: Revision,
}

impl Feed {
    async fn watch(&mut self, is_told: &mut bool) -> End {
        match self.try_watch(is_told).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn try_watch(&mut self, is_told: &mut bool) -> Result<std::convert::Infallible, End> {
        // A restored etcd begins again at an earlier one, and a watch would wait for the later.
        let newest = revision(&self.members, &self.prefix).await.map_err(End::Broken)?;
        if newest < self.seen {
            tracing::error!(
                %newest,
                seen = %self.seen,
                "etcd went back to an earlier revision: it was restored from a backup; restart the \
                 servers"
            );
            return Err(End::Missed("etcd was restored"));
        }
        let client = self.members.connect().await.map_err(End::Broken)?;
        let mut watcher = client.watch_client().max_decoding_message_size(MAX_ANSWER);
        let options = WatchOptions::new()
            .with_prefix()
            .with_progress_notify()
            .with_start_revision(signed(self.seen).saturating_add(1));
        let opened = timeout(PATIENCE, watcher.watch(self.prefix.as_bytes(), Some(options))).await;
        let mut stream = opened.map_err(|_| End::Broken(StoreError::Timeout))??;
        loop {
            let ended = || End::Broken(StoreError::Failed("etcd ended the watch".to_owned()));
            let response = stream.message().await?.ok_or_else(ended)?;
            if response.canceled() {
                return Err(match response.compact_revision() {
                    0 => End::Broken(StoreError::Failed(response.cancel_reason().to_owned())),
                    _ => End::Missed("etcd was compacted"),
                });
            }
            if std::mem::take(is_told) {
                tracing::info!("the watch of etcd goes on");
            }
            self.take(&response);
        }
    }

    fn take(&mut self, response: &WatchResponse) {
        let events = response.events();
        let mut at = 0;
        while let Some(first) = events.get(at).and_then(|event| event.kv()) {
            // The events of one commit stand together.
            let revision = first.mod_revision();
            let mut writes = Vec::new();
            while let Some(event) = events.get(at)
                && let Some(found) = event.kv()
                && found.mod_revision() == revision
            {
                at += 1;
                let Some(key) = own(&self.prefix, found.key()) else { continue };
                if key.starts_with(LEASES) {
                    continue;
                }
                writes.push(match event.event_type() {
                    EventType::Put => Write::Put(key, found.value().into()),
                    EventType::Delete => Write::Delete(key),
                });
            }
            self.seen = Revision(unsigned(revision));
            if !writes.is_empty() {
                self.ring.push(Batch { revision: self.seen, writes });
            }
        }
        // A sign of life says up to where there was nothing more.
        if events.is_empty() && !response.created() {
            self.seen = self.seen.max(response.header().map_or_else(Revision::default, header));
        }
    }
}
