//! `feed:` sources: lists at URLs and in files.
//!
//! A document is fetched once for all feeds that take something of it. What cannot be fetched,
//! or has a single wrong entry, changes nothing: the last good list stays. So does a document
//! that is not there (404, no such file): a list that was moved does not say that anybody on
//! it is gone.

mod fetch;
mod select;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use dbfw_core::{
    answers::{Answer, Cause, FetchError, Outcome, Part},
    source::{FeedValue, Location, Prefix, SourceKey},
};
use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::sync::Semaphore;

use self::fetch::{DocumentVersion, Fetched, MAX_NAME, Reply, Request, changed, fetch, shown};
use crate::{
    backoff::Backoff,
    fs::Stamp,
    http::{HttpClient, HttpConfig, Redirects, clean},
    poller::{self, Task, Wanted, jittered},
    stats::Stats,
    worker::{Demand, Mailbox, Report},
};

/// Name of a feed's only part.
const PART: &str = "feed";

/// Settings of [`Feeds`]: `[feeds]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedsConfig {
    /// Settings of the requests.
    pub http: HttpConfig,
    /// Interval of the requests for each feed.
    pub poll: Duration,
    /// Bytes a feed may have.
    pub max_bytes: u64,
}

impl Default for FeedsConfig {
    fn default() -> Self {
        let http = HttpConfig { timeout: Duration::from_secs(30), ..HttpConfig::default() };
        Self { http, poll: Duration::from_secs(300), max_bytes: 16 << 20 }
    }
}

/// Keeps feeds fresh.
#[derive(Debug)]
pub struct Feeds {
    config: FeedsConfig,
    stats: Arc<Stats>,
    client: HttpClient,
    /// Held while a large document is taken apart: one after the other, for the memory.
    parsing: Arc<Semaphore>,
    documents: BTreeMap<Location, Document>,
}

/// A document and the feeds that take something of it.
#[derive(Debug, Default)]
struct Document {
    /// Each with its outcome for the document as `known`.
    feeds: BTreeMap<SourceKey, Option<Outcome>>,
    /// The last document that was read, whatever the feeds made of it.
    known: Option<DocumentVersion>,
    /// Of a file, when it was read last; `None`: there was none.
    stamp: Option<Stamp>,
}

impl Feeds {
    /// Feeds that were not fetched yet.
    pub fn new(config: FeedsConfig, stats: Arc<Stats>) -> Self {
        stats.interval(config.poll);
        Self {
            client: HttpClient::new(&config.http, Redirects::Follow),
            config,
            stats,
            parsing: Arc::new(Semaphore::new(1)),
            documents: BTreeMap::new(),
        }
    }

    /// Works until the other end of the mailbox is gone.
    pub async fn run(self, mailbox: Mailbox) {
        poller::run(self, mailbox).await;
    }
}

impl Task for Feeds {
    type Key = Location;
    type Reply = Reply;

    fn want(&mut self, demand: &Demand) -> Wanted<Location> {
        for document in self.documents.values_mut() {
            document.feeds.retain(|key, _| demand.sources.contains(key));
        }
        let mut now = BTreeSet::new();
        for key in &demand.sources {
            let Some(FeedValue { location, .. }) = key.feed() else { continue };
            let document = self.documents.entry(location.clone()).or_default();
            if !document.feeds.contains_key(key) {
                document.feeds.insert(key.clone(), None);
                now.insert(location.clone());
            }
        }
        self.documents.retain(|_, document| !document.feeds.is_empty());
        Wanted { all: self.documents.keys().cloned().collect(), now, ..Wanted::default() }
    }

    fn ask(&mut self, location: &Location) -> BoxFuture<'static, Reply> {
        if matches!(location, Location::Url(_)) {
            self.stats.request();
        }
        let document = self.documents.get(location);
        let feeds = || document.iter().flat_map(|document| &document.feeds);
        // A new feed has no outcome for this document yet: then it is fetched in full.
        let known = document
            .and_then(|document| document.known.clone())
            .filter(|_| feeds().all(|(_, last)| last.is_some()));
        fetch(Request {
            location: location.clone(),
            client: self.client.clone(),
            max_bytes: self.config.max_bytes,
            known,
            feeds: feeds().map(|(key, _)| key.clone()).collect(),
            parsing: Arc::clone(&self.parsing),
        })
        .boxed()
    }

    fn handle_reply(
        &mut self,
        location: &Location,
        reply: Reply,
        backoff: &mut Backoff,
    ) -> (Vec<Report>, Duration) {
        let Some(document) = self.documents.get_mut(location) else {
            return (Vec::new(), self.config.poll);
        };
        let Document { feeds, known, stamp } = document;
        *stamp = reply.stamp;
        let mut reports = Vec::new();
        let mut report = |key: &SourceKey, outcome| {
            if let Outcome::Failed(error) = &outcome {
                self.stats.failure(error.cause);
            }
            reports.push(Report::Source { key: key.clone(), outcome });
        };
        match reply.result {
            Err(error) => {
                for key in feeds.keys() {
                    report(key, Outcome::Failed(error.clone()));
                }
                return (reports, backoff.failed(self.config.poll, error.cause, error.retry_after));
            }
            Ok(Fetched::Same(same)) => {
                *known = Some(same);
                for (key, last) in feeds {
                    if let Some(last) = last {
                        report(key, last.clone());
                    }
                }
            }
            Ok(Fetched::New { known: new, lists }) => {
                *known = Some(new);
                for (key, list) in lists {
                    if let Some(last) = feeds.get_mut(&key) {
                        let outcome = judge(&key, location, list);
                        *last = Some(outcome.clone());
                        report(&key, outcome);
                    }
                }
            }
        }
        backoff.succeeded();
        (reports, jittered(self.config.poll))
    }

    fn look(&mut self) -> Option<BoxFuture<'static, BTreeSet<Location>>> {
        let files: Vec<_> = self
            .documents
            .iter()
            .filter_map(|(location, document)| match location {
                Location::Path(path) => Some((path.clone(), document.stamp)),
                Location::Url(_) => None,
            })
            .collect();
        (!files.is_empty()).then(|| changed(files).boxed())
    }
}

/// The outcome of a feed for its part of the document.
fn judge(key: &SourceKey, location: &Location, list: Result<Vec<Prefix>, String>) -> Outcome {
    match list {
        Ok(prefixes) => {
            let part = |prefixes| (PART.to_owned(), Part::prefixes(prefixes));
            let parts = Some(prefixes).filter(|list| !list.is_empty()).map(part);
            let from = match location {
                Location::Url(_) => format!("GET {}", shown(location)),
                Location::Path(_) => shown(location),
            };
            Answer { parts: parts.into_iter().collect(), from, ..Answer::default() }.into()
        }
        Err(text) => {
            let name = clean(&key.to_string(), MAX_NAME);
            Outcome::Failed(FetchError::new(Cause::Invalid, text).about(name))
        }
    }
}
