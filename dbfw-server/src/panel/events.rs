//! News for pages that are open: which lists changed, and about which databases hosts were heard.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderName, header},
    response::{IntoResponse as _, Response},
};
use futures_util::stream;
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, sleep, sleep_until},
};
use uuid::Uuid;

use super::{state::Panel, visitor::Visitor};
use crate::{
    api::{ApiError, ErrorId},
    fleet::Activity,
    model::{Scope, keys},
    store::{Event, Watch},
};

/// Between two signs of life: less than the time after which servers and proxies end a connection
/// that says nothing.
const BEAT: Duration = Duration::from_secs(15);

/// Time for more news of hosts: a thousand of them say the same at once.
const GATHER: Duration = Duration::from_millis(500);

/// The time after which a browser has to ask again.
const LASTS: Duration = Duration::from_secs(3600);

/// Tells nginx to pass on what comes.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The news of one page.
struct News {
    panel: Arc<Panel>,
    visitor: Visitor,
    watch: Watch,
    hosts: watch::Receiver<u64>,
    /// The activity that the page has been told of.
    told: BTreeMap<Uuid, Activity>,
    stopped: watch::Receiver<bool>,
    ends: Instant,
    is_begun: bool,
    _room: OwnedSemaphorePermit,
}

/// Answers with news until the session ends.
pub(super) async fn stream(
    State(panel): State<Arc<Panel>>,
    visitor: Visitor,
) -> Result<Response, ApiError> {
    let room = Arc::clone(&panel.live).try_acquire_owned();
    let room = room.map_err(|_| {
        let message = "too many pages are open: this one is not kept up to date";
        ApiError::new(ErrorId::ServiceUnavailable, message).retry_after(60)
    })?;
    let store = panel.service().store();
    let newest = store.list(keys::META).await.map_err(crate::service::ServiceError::from)?.revision;
    let news = News {
        watch: store.watch("", newest),
        hosts: panel.app.fleet.subscribe(),
        told: panel.app.fleet.activity(),
        stopped: panel.stopped.clone(),
        ends: Instant::now() + LASTS,
        is_begun: false,
        panel,
        visitor,
        _room: room,
    };
    let body = stream::unfold(news, |mut news| async move {
        let text = news.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(text)), news))
    });
    let kind = [(header::CONTENT_TYPE, "text/event-stream"), (X_ACCEL_BUFFERING, "no")];
    Ok((kind, Body::from_stream(body)).into_response())
}

/// Something that news were waited for.
enum Heard {
    /// Nothing for a while.
    Nothing,
    /// The store changed.
    Store(Event),
    /// A host said or did something.
    Hosts,
}

impl News {
    async fn next(&mut self) -> Option<String> {
        if !std::mem::replace(&mut self.is_begun, true) {
            return Some("retry: 3000\n\n".to_owned());
        }
        let beat = Instant::now() + BEAT;
        loop {
            let heard = tokio::select! {
                // A sender that is gone says the same.
                _ = self.stopped.changed() => return None,
                () = sleep_until(beat.min(self.ends)) => Heard::Nothing,
                event = self.watch.next() => Heard::Store(event?),
                _ = self.hosts.changed() => Heard::Hosts,
            };
            let topics = match heard {
                Heard::Nothing => {
                    let goes_on = Instant::now() < self.ends && self.is_logged_in().await;
                    return goes_on.then(|| ": beat\n\n".to_owned());
                }
                Heard::Store(Event::Batch(batch)) => {
                    self.topics(batch.writes.iter().map(|write| write.key()))
                }
                // So much happened that nobody knows what: ask for everything.
                Heard::Store(Event::Resync) => return None,
                Heard::Hosts => {
                    sleep(GATHER).await;
                    self.hosts.borrow_and_update();
                    self.topics_of_hosts()
                }
            };
            if topics.is_empty() {
                continue;
            }
            if !self.is_logged_in().await {
                return None;
            }
            return Some(topics.iter().map(|topic| format!("data: {topic}\n\n")).collect());
        }
    }

    /// The topics that keys of the store belong to, as far as the visitor may see them.
    fn topics<'k>(&self, keys: impl Iterator<Item = &'k str>) -> Vec<String> {
        let topic = |key: &str| {
            if key.starts_with(keys::HOSTS) {
                return self.visitor.caller.may(Scope::HostRead).then(|| "host".to_owned());
            }
            if key.starts_with(keys::AUDIT) {
                let may = self.visitor.may_with_all(Scope::AuditRead);
                return may.then(|| "audit".to_owned());
            }
            let (name, id) = match keys::database_of_list(key) {
                Some(id) => ("list", id),
                None => ("database", key.strip_prefix(keys::DATABASES)?.parse().ok()?),
            };
            self.visitor.caller.sees(id).then(|| format!("{name}:{id}"))
        };
        keys.filter_map(topic).collect()
    }

    /// The topics about which hosts were heard since the last look, as far as the visitor may see
    /// them.
    fn topics_of_hosts(&mut self) -> Vec<String> {
        let now = self.panel.app.fleet.activity();
        let mut topics = Vec::new();
        for (id, activity) in now.iter().filter(|(id, _)| self.visitor.caller.sees(**id)) {
            let told = self.told.get(id).copied().unwrap_or_default();
            if told.hosts != activity.hosts {
                topics.push(format!("state:{id}"));
            }
            if told.refused != activity.refused {
                topics.push(format!("refused:{id}"));
            }
        }
        self.told = now;
        topics
    }

    async fn is_logged_in(&self) -> bool {
        let session = self.panel.service().session(&self.visitor.session).await;
        session.is_ok_and(|token| token.is_some())
    }
}
