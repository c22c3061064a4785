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

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use dbfw_core::answers::{Cause, FetchError, ListId, ListOutcome, SourceList};
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, ready},
};
use secrecy::SecretString;
use url::Url;

use self::document::{Document, rules};
use crate::{
    backoff::Backoff,
    http::{HttpClient, HttpConfig, Options, Redirects, Validators},
    poller::{self, Task, Wanted, jittered},
    stats::Stats,
    token::{Token, TokenSource},
    worker::{Demand, Mailbox, Report},
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
    config: AptibleConfig,
    stats: Arc<Stats>,
    token: Token,
    client: Option<HttpClient>,
    /// By their ids.
    endpoints: BTreeMap<u64, Endpoint>,
    /// The token's file changed at a look, and was not read since.
    renewed: bool,
}

#[derive(Debug, Default)]
struct Endpoint {
    /// The last answer, and by what the server tells that it is still the same.
    last: Option<(Arc<SourceList>, Validators)>,
    backoff: Backoff,
}

/// The result of a request.
#[derive(Debug)]
pub(crate) enum Reply {
    List(SourceList, Validators),
    NotModified,
    Gone(String),
    Failed(FetchError),
}

impl Aptible {
    /// Lists that were not asked for yet.
    pub fn new(config: AptibleConfig, stats: Arc<Stats>) -> Self {
        stats.interval(config.poll);
        let token = Token::new(config.token.clone());
        Self { config, stats, token, client: None, endpoints: BTreeMap::new(), renewed: false }
    }

    /// Works until the other end of the mailbox is gone.
    pub async fn run(self, mailbox: Mailbox) {
        poller::run(self, mailbox).await;
    }

    /// Built when it is needed: a file of certificate authorities may still come.
    fn client(&mut self) -> Result<HttpClient, FetchError> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let client = HttpClient::new(&self.config.http, Redirects::Refuse)?;
        Ok(self.client.insert(client).clone())
    }

    /// Prepares a request. A token that cannot be read is a failure like any other.
    fn prepare(&mut self, vhost: u64) -> Result<Request, FetchError> {
        let what = format!("Aptible: GET /vhosts/{vhost}");
        let named = |error: FetchError| FetchError { message: format!("{what}: {error}"), ..error };
        let token = self.token.read().map_err(named)?;
        self.renewed = false;
        let client = self.client().map_err(named)?;
        let url = self.config.api_url.join(&format!("/vhosts/{vhost}")).map_err(|error| {
            let text = format!("{what}: no URL of it can be made, {error}: correct api_url");
            FetchError::new(Cause::Invalid, text)
        })?;
        self.stats.request();
        Ok(Request { client, token, url, what, vhost })
    }
}

impl Task for Aptible {
    type Key = u64;
    type Reply = Reply;

    fn want(&mut self, demand: &Demand) -> Wanted<u64> {
        let vhost = |list: &ListId| match list {
            ListId::Aptible(vhost) => Some(*vhost),
            ListId::File(_) | ListId::DigitalOcean(_) => None,
        };
        let all: BTreeSet<u64> = demand.lists.iter().filter_map(vhost).collect();
        self.endpoints.retain(|vhost, _| all.contains(vhost));
        for vhost in &all {
            self.endpoints.entry(*vhost).or_default();
        }
        Wanted { all, ..Wanted::default() }
    }

    fn ask(&mut self, vhost: &u64) -> BoxFuture<'static, Reply> {
        let last = self.endpoints.get(vhost).and_then(|endpoint| endpoint.last.as_ref());
        let validators = last.map(|(_, validators)| validators.clone());
        match self.prepare(*vhost) {
            Ok(request) => {
                async move { request.send(validators).await.unwrap_or_else(Reply::Failed) }.boxed()
            }
            Err(error) => ready(Reply::Failed(error)).boxed(),
        }
    }

    fn heard(&mut self, vhost: &u64, reply: Reply) -> (Vec<Report>, Duration) {
        let endpoint = self.endpoints.entry(*vhost).or_default();
        let outcome = endpoint.outcome(reply);
        let wait = match &outcome {
            ListOutcome::Failed(error) => {
                self.stats.failure(error.cause);
                endpoint.backoff.failed(self.config.poll, error.cause, error.retry_after)
            }
            _ => {
                endpoint.backoff.succeeded();
                jittered(self.config.poll)
            }
        };
        (vec![Report::List { list: ListId::Aptible(*vhost), outcome }], wait)
    }

    fn hurry(&mut self) {
        for endpoint in self.endpoints.values_mut() {
            endpoint.backoff.succeeded();
        }
    }

    /// A token that was renewed is tried at once.
    fn look(&mut self) -> Option<BoxFuture<'static, BTreeSet<u64>>> {
        let renewed = self.token.changed();
        // Once: a file that cannot be read counts as changed until it can.
        let due = if renewed && !self.renewed {
            self.endpoints.keys().cloned().collect()
        } else {
            BTreeSet::new()
        };
        self.renewed = renewed;
        Some(ready(due).boxed())
    }
}

impl Endpoint {
    fn outcome(&mut self, reply: Reply) -> ListOutcome {
        match reply {
            Reply::Failed(error) => ListOutcome::Failed(error),
            Reply::NotModified => match &self.last {
                Some((list, _)) => ListOutcome::List(Arc::clone(list)),
                None => ListOutcome::Failed(FetchError::new(
                    Cause::Invalid,
                    "Aptible: answered 304 to a request without a condition: check what answers \
                     there",
                )),
            },
            Reply::Gone(why) => {
                self.last = None;
                ListOutcome::Gone(why)
            }
            Reply::List(list, validators) => {
                let list = Arc::new(list);
                self.last = Some((Arc::clone(&list), validators));
                ListOutcome::List(list)
            }
        }
    }
}

/// A request with everything that it needs.
#[derive(Debug)]
struct Request {
    client: HttpClient,
    token: SecretString,
    url: Url,
    /// Names it in errors.
    what: String,
    vhost: u64,
}

impl Request {
    async fn send(self, validators: Option<Validators>) -> Result<Reply, FetchError> {
        let Self { client, token, url, what, vhost } = self;
        let options = Options {
            bearer: Some(&token),
            accept: "application/hal+json, application/json",
            max_bytes: MAX_BYTES,
            validators: validators.as_ref(),
        };
        let response = client.get(&url, &what, options).await?.success(&what)?;
        match response.status {
            200 => {
                let document: Document = response.json(&what)?;
                Ok(Reply::List(rules(document, vhost, &what)?, response.validators))
            }
            304 if validators.is_some() => Ok(Reply::NotModified),
            404 => Ok(Reply::Gone(format!("{what}: endpoint not found (404)"))),
            status => Err(FetchError::new(
                Cause::Invalid,
                format!("{what}: answered {status}, not a document: check api_url"),
            )),
        }
    }
}
