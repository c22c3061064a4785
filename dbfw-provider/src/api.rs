//! A provider's API: its token, the request budget, the last answers, and the requests of a
//! round.

use std::{
    any::Any,
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use dbfw_core::answers::{Cause, FetchError, ListOutcome, Outcome, reason_first};
use jiff::Timestamp;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    task::spawn_blocking,
    time::{Instant, sleep},
};
use twox_hash::XxHash3_128;
use url::Url;

use crate::{
    budget::Budget,
    http::{HttpClient, HttpConfig, Options, Redirects, Response, Validators},
    lock::lock,
    stats::Stats,
    token::{Token, TokenSource},
};

/// Requests under way at once, those of rounds and of errands together.
const CONCURRENT: usize = 16;

/// Requests without an answer after which the others of a round are not tried: as many as are
/// under way at once. Fewer may be the trouble of one kind of thing.
const MAX_UNANSWERED: usize = CONCURRENT;

/// Longest wait of a request for the budget.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Bodies beyond this are parsed on another thread.
const SMALL: usize = 64 << 10;

/// Age at which a request that is made no more is forgotten, with its answer.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);

/// A provider, where its API differs from others'.
#[derive(Debug)]
pub(crate) struct Provider {
    /// For people: "DigitalOcean".
    pub(crate) name: &'static str,
    /// The media types it is asked for.
    pub(crate) accept: &'static str,
    /// Whether the body of a 404 is in its own words: a page of somebody else's says nothing of
    /// a resource.
    pub(crate) is_own_error: fn(&[u8]) -> bool,
}

/// An API, as it is kept between rounds.
#[derive(Debug)]
pub(crate) struct Client {
    provider: Provider,
    api_url: Url,
    token: Mutex<Token>,
    http: HttpClient,
    budget: Option<Arc<Mutex<Budget>>>,
    stats: Arc<Stats>,
    slots: Semaphore,
    /// By path and query.
    past: Mutex<HashMap<String, PastRequest>>,
}

/// A request that was made.
#[derive(Debug)]
struct PastRequest {
    /// The last time.
    at: Instant,
    cached: Option<CachedBody>,
}

/// The body of the last good answer to a request, as it was read.
#[derive(Clone, Debug)]
struct CachedBody {
    etag: Option<String>,
    /// Of the body.
    hash: u128,
    /// The result of reading the body.
    value: Arc<dyn Any + Send + Sync>,
}

/// The requests of one round, or of one errand between rounds.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    client: &'a Client,
    token: SecretString,
    progress: Mutex<Progress>,
}

/// The progress of a session so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// Requests made.
    pub(crate) requests: u32,
    /// Whether the API answered anything that can be used.
    pub(crate) answered: bool,
    /// The error that every further request would end in.
    pub(crate) broken: Option<FetchError>,
    /// The first failure.
    pub(crate) failure: Option<FetchError>,
    /// Requests that found nobody, or took too long.
    pub(crate) unanswered: usize,
}

/// No answer to use.
#[derive(Clone, Debug)]
pub(crate) enum GetError {
    /// The provider says that there is no such thing, in words that name the request.
    Gone(String),
    /// There is no answer, or it is none.
    Failed(FetchError),
}

impl Client {
    /// A client that has not asked yet. `api_url` has no path.
    pub(crate) fn new(
        provider: Provider,
        api_url: Url,
        token: TokenSource,
        http: &HttpConfig,
        budget: Option<Arc<Mutex<Budget>>>,
        stats: Arc<Stats>,
    ) -> Self {
        Self {
            provider,
            api_url,
            token: Mutex::new(Token::new(token)),
            http: HttpClient::new(http, Redirects::Refuse),
            budget,
            stats,
            slots: Semaphore::new(CONCURRENT),
            past: Mutex::default(),
        }
    }

    /// Begins a series of requests; those that nobody makes any more are forgotten.
    ///
    /// # Errors
    /// There is no token, or no HTTP client.
    pub(crate) fn session(&self) -> Result<Session<'_>, FetchError> {
        lock(&self.past).retain(|_, past| past.at.elapsed() < FORGOTTEN);
        let session = || {
            let token = lock(&self.token).read()?;
            self.http.prepare(&self.api_url)?;
            Ok(Session { client: self, token, progress: Mutex::default() })
        };
        session().inspect_err(|error: &FetchError| self.stats.failure(error.cause))
    }

    /// Whether the token's file is another than when it was last read.
    pub(crate) fn token_changed(&self) -> bool {
        lock(&self.token).changed()
    }

    /// The interval between rounds of so many requests, `poll` if the budget pays for them.
    pub(crate) fn interval(&self, poll: Duration, requests: u32) -> Duration {
        let budget = self.budget.as_ref();
        let interval = budget.map_or(poll, |budget| lock(budget).interval(poll, requests));
        self.stats.interval(interval);
        interval
    }

    /// The longest list that may be asked for, in pages: one that four fifths of the budget do
    /// not pay for would end where the budget does, round after round.
    pub(crate) fn most_pages(&self) -> u64 {
        let most = |budget: &Arc<Mutex<Budget>>| {
            let limits = lock(budget).limits();
            (u64::from(limits.per_hour.min(limits.per_minute)) * 4 / 5).max(1)
        };
        self.budget.as_ref().map_or(u64::MAX, most)
    }

    /// The keys in the order to ask for them, longest ago first: if the budget does not pay for
    /// all of them, the next round begins with those that this one does not reach.
    pub(crate) fn by_age<'k, K>(
        &self,
        keys: &'k BTreeSet<K>,
        path: impl Fn(&K) -> String,
    ) -> Vec<&'k K> {
        let past = lock(&self.past);
        let mut keys: Vec<&K> = keys.iter().collect();
        keys.sort_by_cached_key(|key| past.get(&path(key)).map(|request| request.at));
        keys
    }

    /// The last body of a request that is now made again.
    fn cached(&self, path: &str) -> Option<CachedBody> {
        let at = Instant::now();
        let mut past = lock(&self.past);
        let past = past.entry(path.to_owned()).or_insert(PastRequest { at, cached: None });
        past.at = at;
        past.cached.clone()
    }

    fn keep(&self, path: &str, body: CachedBody) {
        if let Some(past) = lock(&self.past).get_mut(path) {
            past.cached = Some(body);
        }
    }
}

impl Session<'_> {
    /// The client that it belongs to.
    pub(crate) const fn client(&self) -> &Client {
        self.client
    }

    /// Its progress so far.
    pub(crate) fn progress(&self) -> Progress {
        lock(&self.progress).clone()
    }

    /// Asks for the document at a path of the API, of `max_bytes` at most, and keeps what
    /// `read` makes of it: the same body is not parsed and read again.
    ///
    /// # Errors
    /// There is no such thing, or no answer that can be used.
    pub(crate) async fn get<T: DeserializeOwned, V: Send + Sync + 'static>(
        &self,
        path: &str,
        max_bytes: u64,
        read: impl FnOnce(T) -> V + Send + 'static,
    ) -> Result<Arc<V>, GetError> {
        let what = self.name(path);
        let _slot = self.wait_for_turn(&what).await.map_err(GetError::Failed)?;
        let answer = self.ask(path, &what, max_bytes, read).await;
        match &answer {
            Ok(_) | Err(GetError::Gone(_)) => lock(&self.progress).answered = true,
            Err(GetError::Failed(error)) => self.note(error),
        }
        answer
    }

    /// The request for a path and query, as errors name it.
    pub(crate) fn name(&self, path: &str) -> String {
        format!("{}: GET {path}", self.client.provider.name)
    }

    /// Counts an answer that contradicts itself or another, as a failure.
    pub(crate) fn unusable(&self, error: FetchError) -> GetError {
        self.client.stats.failure(error.cause);
        GetError::Failed(error)
    }

    async fn ask<T: DeserializeOwned, V: Send + Sync + 'static>(
        &self,
        path: &str,
        what: &str,
        max_bytes: u64,
        read: impl FnOnce(T) -> V + Send + 'static,
    ) -> Result<Arc<V>, GetError> {
        let no_url = |error| {
            failed(what, Cause::Invalid, &format!("makes no URL: {error}: check `api_url`"))
        };
        let url = self.client.api_url.join(path).map_err(no_url)?;
        let last = self.client.cached(path);
        let etag = last.as_ref().and_then(|last| last.etag.clone());
        let options = Options {
            bearer: Some(&self.token),
            accept: self.client.provider.accept,
            max_bytes,
            validators: Some(&Validators { etag, last_modified: None }),
        };
        self.client.stats.request();
        lock(&self.progress).requests += 1;
        let response = self.client.http.get(&url, what, options).await;
        if let Some(budget) = &self.client.budget {
            let now = Instant::now();
            let mut budget = lock(budget);
            if let Ok(response) = &response {
                budget.update(now, response.status, &response.rate);
            }
            self.client.stats.budget(budget.limits(), budget.left(now));
        }
        let response = response.and_then(|response| response.success(what));
        let mut response = response.map_err(GetError::Failed)?;
        let value = |body: CachedBody| body.value.downcast::<V>().ok();
        match response.status {
            200 => {}
            304 => {
                let unasked = || failed(what, Cause::Invalid, "answered 304 unasked");
                return last.and_then(value).ok_or_else(unasked);
            }
            404 => return Err(self.not_found(&response, what)),
            status => {
                let text = format!("answered {status}, not 200: check `api_url`");
                return Err(failed(what, Cause::Invalid, &text));
            }
        }
        let etag = response.validators.etag.take();
        let hash = XxHash3_128::oneshot(&response.body);
        let value = match last.filter(|last| last.hash == hash).and_then(value) {
            Some(value) => value,
            None => Arc::new(parse(response, what, read).await.map_err(GetError::Failed)?),
        };
        self.client.keep(path, CachedBody { etag, hash, value: Arc::clone(&value) as _ });
        Ok(value)
    }

    /// Waits until this request may be made.
    async fn wait_for_turn(&self, what: &str) -> Result<SemaphorePermit<'_>, FetchError> {
        let closed = |_| FetchError::new(Cause::Io, "dbfw is ending").about(what);
        let slot = self.client.slots.acquire().await.map_err(closed)?;
        let mut waited = Duration::ZERO;
        loop {
            if let Some(error) = &lock(&self.progress).broken {
                return Err(error.clone().not_asked(what));
            }
            let budget = self.client.budget.as_ref();
            let taken = budget.map_or(Ok(()), |budget| lock(budget).take(Instant::now()));
            match taken {
                Ok(()) => return Ok(slot),
                Err(wait) if waited + wait <= MAX_WAIT => {
                    sleep(wait).await;
                    waited += wait;
                }
                Err(wait) => {
                    let error = self.used_up(what, wait);
                    self.note(&error);
                    return Err(error);
                }
            }
        }
    }

    /// Counts a failure; some are the end of the session.
    fn note(&self, error: &FetchError) {
        self.client.stats.failure(error.cause);
        let mut progress = lock(&self.progress);
        if matches!(error.cause, Cause::Connect | Cause::Tls | Cause::Timeout) {
            progress.unanswered += 1;
        }
        let is_refused = matches!(error.cause, Cause::Unauthorized | Cause::RateLimited);
        if is_refused || progress.unanswered >= MAX_UNANSWERED {
            progress.broken.get_or_insert_with(|| error.clone());
        }
        progress.failure.get_or_insert_with(|| error.clone());
    }

    fn not_found(&self, response: &Response, what: &str) -> GetError {
        let Provider { name, is_own_error, .. } = self.client.provider;
        match is_own_error(&response.body) {
            true => GetError::Gone(reason_first("answered 404, not found", what)),
            false => {
                let text = format!("answered 404, but not in {name}'s words: check `api_url`");
                failed(what, Cause::NotFound, &text)
            }
        }
    }

    fn used_up(&self, what: &str, wait: Duration) -> FetchError {
        let until = Timestamp::now().saturating_add(wait).unwrap_or(Timestamp::MAX);
        let table = self.client.provider.name.to_ascii_lowercase();
        let reason = format!(
            "the request budget is used up until {until:.0}, by requests_per_hour or \
             requests_per_minute in [{table}] or by the server: poll less often"
        );
        FetchError {
            retry_after: Some(wait),
            ..FetchError::new(Cause::RateLimited, reason).about(what)
        }
    }
}

impl GetError {
    /// As a failure: of what cannot be gone, such as a list.
    pub(crate) fn into_error(self) -> FetchError {
        match self {
            Self::Gone(message) => FetchError::new(Cause::NotFound, message),
            Self::Failed(error) => error,
        }
    }
}

impl From<GetError> for Outcome {
    fn from(missed: GetError) -> Self {
        match missed {
            GetError::Gone(message) => Self::Gone(message),
            GetError::Failed(error) => Self::Failed(error),
        }
    }
}

impl From<GetError> for ListOutcome {
    fn from(missed: GetError) -> Self {
        match missed {
            GetError::Gone(message) => Self::Gone(message),
            GetError::Failed(error) => Self::Failed(error),
        }
    }
}

async fn parse<T: DeserializeOwned, V: Send + 'static>(
    response: Response,
    what: &str,
    read: impl FnOnce(T) -> V + Send + 'static,
) -> Result<V, FetchError> {
    if response.body.len() <= SMALL {
        return response.json(what).map(read);
    }
    let lost = FetchError::new(Cause::Io, "the answer was not read to its end").about(what);
    let what = what.to_owned();
    spawn_blocking(move || response.json(&what).map(read)).await.unwrap_or(Err(lost))
}

fn failed(what: &str, cause: Cause, text: &str) -> GetError {
    GetError::Failed(FetchError::new(cause, text).about(what))
}
