//! Aptible: the `ip_whitelist` of a database endpoint (a "vhost" in the API).
//!
//! Of the API, by its clients:
//! - `GET /vhosts/{id}` with `Authorization: Bearer …` answers with a HAL document
//!   (`application/hal+json`; aptible/go-deploy, `aptible/client.go`).
//! - `ip_whitelist` is an array of strings and always there (aptible/aptible-api-go,
//!   `model_vhost.go`: among the required properties, and decoded by Go's rules, which take
//!   null for an empty array; aptible/app-ui, `src/deploy/endpoint/index.ts`: `string[]`).
//! - Empty, it means all traffic (aptible/aptible-cli, `resource_formatter.rb`: "all
//!   traffic"). Here it is an empty list, and the agent's `on_empty` says what that means.
//! - IPv4 addresses and CIDRs, at most 50 (aptible.com/docs, "IP filtering").
//! - Errors are `{"code": 404, "error": "not_found", "message": "…"}`; 404 means that the
//!   endpoint is deleted, 401 that the token is wrong (aptible/go-deploy,
//!   `aptible/endpoints.go`).

mod document;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use dbfw_core::answers::{FetchError, ListId, ListOutcome};
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, ready},
};
use url::Url;

use self::document::{Document, rules};
use crate::{
    api::{Client, GetError, Provider},
    backoff::Backoff,
    http::HttpConfig,
    poller::{self, Task, Wanted, jittered},
    stats::Stats,
    token::TokenSource,
    worker::{Demand, Mailbox, Report},
};

const PROVIDER: Provider = Provider {
    name: "Aptible",
    accept: "application/hal+json, application/json",
    is_own_error: |_| true,
};

/// Bytes an answer may have; a document of an endpoint has some thousand.
const MAX_BYTES: u64 = 1 << 20;

/// Aptible's own address of the API.
pub const API_URL: &str = "https://api.aptible.com";

/// Settings of [`Aptible`]: `[aptible]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AptibleConfig {
    /// `https://api.aptible.com`, without a path.
    pub api_url: Url,
    /// The API token.
    pub token: TokenSource,
    /// Settings of the requests.
    pub http: HttpConfig,
    /// Interval of the requests for lists.
    pub poll: Duration,
}

impl Default for AptibleConfig {
    fn default() -> Self {
        Self {
            api_url: Url::parse(API_URL).expect("a constant that is a URL"),
            token: TokenSource::Credential("aptible-token".to_owned()),
            http: HttpConfig::default(),
            poll: Duration::from_secs(60),
        }
    }
}

/// Keeps the lists of endpoints fresh.
#[derive(Debug)]
pub struct Aptible {
    client: Arc<Client>,
    poll: Duration,
    /// The ids of the endpoints.
    vhosts: BTreeSet<u64>,
}

impl Aptible {
    /// Lists that were not asked for yet.
    pub fn new(config: AptibleConfig, stats: Arc<Stats>) -> Self {
        let AptibleConfig { api_url, token, http, poll } = config;
        stats.interval(poll);
        let client = Arc::new(Client::new(PROVIDER, api_url, token, &http, None, stats));
        Self { client, poll, vhosts: BTreeSet::new() }
    }

    /// Works until the other end of the mailbox is gone.
    pub async fn run(self, mailbox: Mailbox) {
        poller::run(self, mailbox).await;
    }
}

impl Task for Aptible {
    type Key = u64;
    type Reply = ListOutcome;

    fn want(&mut self, demand: &Demand) -> Wanted<u64> {
        let vhost = |list: &ListId| match list {
            ListId::Aptible(vhost) => Some(*vhost),
            ListId::File(_) | ListId::DigitalOcean(_) | ListId::Server(_) => None,
        };
        self.vhosts = demand.lists.iter().filter_map(vhost).collect();
        Wanted { all: self.vhosts.clone(), ..Wanted::default() }
    }

    fn ask(&mut self, vhost: &u64) -> BoxFuture<'static, ListOutcome> {
        let (client, vhost) = (Arc::clone(&self.client), *vhost);
        async move { ask(&client, vhost).await.unwrap_or_else(ListOutcome::from) }.boxed()
    }

    fn handle_reply(
        &mut self,
        vhost: &u64,
        outcome: ListOutcome,
        backoff: &mut Backoff,
    ) -> (Vec<Report>, Duration) {
        let wait = match &outcome {
            ListOutcome::Failed(error) => backoff.failed(self.poll, error.cause, error.retry_after),
            ListOutcome::Answer(_) | ListOutcome::Gone(_) => {
                backoff.succeeded();
                jittered(self.poll)
            }
        };
        (vec![Report::List { list: ListId::Aptible(*vhost), outcome }], wait)
    }

    /// A token that was renewed is tried at once.
    fn look(&mut self) -> Option<BoxFuture<'static, BTreeSet<u64>>> {
        let due = match self.client.token_changed() {
            true => self.vhosts.clone(),
            false => BTreeSet::new(),
        };
        Some(ready(due).boxed())
    }
}

/// Asks for the list of an endpoint.
async fn ask(client: &Client, vhost: u64) -> Result<ListOutcome, GetError> {
    let path = format!("/vhosts/{vhost}");
    let what = format!("Aptible: GET {path}");
    let named = |error: FetchError| GetError::Failed(error.not_asked(&what));
    let session = client.session().map_err(named)?;
    let read = move |document: Document| rules(document, vhost, &what).map(Arc::new);
    match &*session.get(&path, MAX_BYTES, read).await? {
        Ok(list) => Ok(ListOutcome::Answer(Arc::clone(list))),
        Err(error) => Err(session.unusable(error.clone())),
    }
}
