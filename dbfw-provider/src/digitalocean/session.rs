//! The requests of a round: within the budget, and only for what changed.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use dbfw_core::answers::{Cause, FetchError};
use dbfw_wire::digitalocean::ErrorBody;
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

use super::{
    api::{Api, lock},
    facts::Missed,
    listing::Fetched,
};
use crate::http::{HttpClient, Options, Response, Validators};

/// Requests at a time.
pub(crate) const CONCURRENT: usize = 16;

/// Longest wait of a request for the budget.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Bodies beyond this are parsed on another thread.
const SMALL: usize = 64 << 10;

/// Failures to reach the API at all, in a row, or requests that took too long, after which the
/// others of a round are not tried: fewer may be one resource's.
const ENOUGH: u32 = 3;

/// The requests of one round, or of one errand between rounds.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    api: &'a Api,
    client: HttpClient,
    token: SecretString,
    /// One turn until the first answer, where the last round ended with a refusal.
    gate: Semaphore,
    state: Mutex<State>,
}

/// The course of a session so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Course {
    /// Requests made.
    pub(crate) requests: u32,
    /// Whether the API answered anything that can be used.
    pub(crate) answered: bool,
    /// The error that every further request would end in.
    pub(crate) broken: Option<FetchError>,
    /// The first failure, likewise.
    pub(crate) failure: Option<FetchError>,
}

#[derive(Debug, Default)]
struct State {
    course: Course,
    /// Requests that took too long.
    slow: u32,
    /// The gate is open.
    opened: bool,
    /// Failures in a row to reach the API at all.
    unreachable: u32,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Path and query.
    pub(crate) path: String,
    /// Bytes the answer may have.
    pub(crate) max_bytes: u64,
}

impl<'a> Session<'a> {
    /// Without a request so far. A careful one waits for its first answer before it sends a
    /// second request.
    pub(crate) fn new(
        api: &'a Api,
        client: HttpClient,
        token: SecretString,
        careful: bool,
    ) -> Self {
        let gate = Semaphore::new(if careful { 1 } else { CONCURRENT });
        let state = Mutex::new(State { opened: !careful, ..State::default() });
        Self { api, client, token, gate, state }
    }

    /// Its course so far.
    pub(crate) fn course(&self) -> Course {
        lock(&self.state).course.clone()
    }

    pub(crate) const fn api(&self) -> &Api {
        self.api
    }

    /// Asks for a document. The same body as last time is not parsed again.
    pub(crate) async fn get<T: DeserializeOwned + Send + Sync + 'static>(
        &self,
        request: &Request,
    ) -> Result<Arc<Fetched<T>>, Missed> {
        let what = format!("GET {}", request.path);
        let answer = match self.turn(&what).await {
            Ok(_turn) => {
                let answer = self.ask(request, &what).await;
                self.note(&answer);
                answer
            }
            Err(error) => Err(Missed::Failed(error)),
        };
        answer.map_err(Missed::of_digitalocean)
    }

    /// An answer that contradicts itself or another.
    pub(crate) fn count(&self, error: &FetchError) {
        self.api.stats.failure(error.cause);
    }

    async fn ask<T: DeserializeOwned + Send + Sync + 'static>(
        &self,
        request: &Request,
        what: &str,
    ) -> Result<Arc<Fetched<T>>, Missed> {
        let url = self.url(&request.path)?;
        let last = self.api.last::<T>(&request.path);
        let etag = last.as_ref().and_then(|(_, etag)| etag.clone());
        let validators = Validators { etag, last_modified: None };
        let options = Options {
            bearer: Some(&self.token),
            accept: "application/json",
            max_bytes: request.max_bytes,
            validators: last.as_ref().map(|_| &validators),
        };
        self.api.stats.request();
        lock(&self.state).course.requests += 1;
        let response = self.client.get(&url, what, options).await;
        {
            let now = Instant::now();
            let mut budget = lock(&self.api.budget);
            if let Ok(response) = &response {
                budget.heard(now, response.status, &response.rate);
            }
            self.api.stats.budget(budget.limits(), budget.left(now));
        }
        let response = response.and_then(|response| response.success(what));
        let mut response = response.map_err(Missed::Failed)?;
        let last = last.map(|(value, _)| value);
        match response.status {
            200 => {}
            304 => {
                return last.ok_or_else(|| failed(what, Cause::Invalid, "answered 304 unasked"));
            }
            404 => return Err(not_found(&response, what)),
            status => {
                return Err(failed(what, Cause::Invalid, &format!("answered {status}, not 200")));
            }
        }
        let etag = response.validators.etag.take();
        let print = XxHash3_128::oneshot(&response.body);
        let value = match last.filter(|last| last.print == print) {
            Some(last) => last,
            None => {
                let value = parse(response, what.to_owned()).await.map_err(Missed::Failed)?;
                Arc::new(Fetched { value, print })
            }
        };
        self.api.keep(&request.path, print, etag, &value);
        Ok(value)
    }

    /// Waits until this request may be made.
    async fn turn(&self, what: &str) -> Result<[SemaphorePermit<'_>; 2], FetchError> {
        let closed = |_| FetchError::new(Cause::Io, format!("{what}: dbfw is ending"));
        let gate = self.gate.acquire().await.map_err(closed)?;
        let turn = self.api.turns.acquire().await.map_err(closed)?;
        let mut waited = Duration::ZERO;
        loop {
            self.check(what)?;
            let taken = lock(&self.api.budget).take(Instant::now());
            match taken {
                Ok(()) => return Ok([gate, turn]),
                Err(wait) if waited + wait <= MAX_WAIT => {
                    sleep(wait).await;
                    waited += wait;
                }
                Err(wait) => {
                    let error = used_up(what, wait);
                    self.conclude(&error);
                    return Err(error);
                }
            }
        }
    }

    /// Whether it makes sense to ask at all.
    fn check(&self, what: &str) -> Result<(), FetchError> {
        let state = lock(&self.state);
        match &state.course.broken {
            Some(error) => {
                let message = format!("{what}: not asked, because {}", error.message);
                Err(FetchError { message, ..error.clone() })
            }
            None => Ok(()),
        }
    }

    /// Draws the conclusions of an answer for the requests to come.
    fn note<T>(&self, answer: &Result<T, Missed>) {
        match answer {
            Ok(_) | Err(Missed::Gone(_)) => {
                let mut state = lock(&self.state);
                state.course.answered = true;
                state.unreachable = 0;
            }
            Err(Missed::Failed(error)) => self.conclude(error),
        }
        let opened = std::mem::replace(&mut lock(&self.state).opened, true);
        if !opened {
            self.gate.add_permits(CONCURRENT - 1);
        }
    }

    fn conclude(&self, error: &FetchError) {
        self.api.stats.failure(error.cause);
        if error.cause == Cause::Tls {
            self.api.forget_client();
        }
        let mut state = lock(&self.state);
        match error.cause {
            Cause::Connect | Cause::Tls => state.unreachable += 1,
            _ => state.unreachable = 0,
        }
        state.slow += u32::from(error.cause == Cause::Timeout);
        let refused = matches!(error.cause, Cause::Unauthorized | Cause::RateLimited);
        let away = state.unreachable >= ENOUGH || state.slow >= ENOUGH;
        if refused || away {
            state.course.broken.get_or_insert_with(|| error.clone());
        }
        state.course.failure.get_or_insert_with(|| error.clone());
    }

    /// The URL of a path and query of the API.
    pub(crate) fn url(&self, path: &str) -> Result<Url, Missed> {
        self.api.config.api_url.join(path).map_err(|error| {
            let text = format!("makes no URL: {error}: check `api_url`");
            failed(&format!("GET {path}"), Cause::Invalid, &text)
        })
    }
}

async fn parse<T: DeserializeOwned + Send + 'static>(
    response: Response,
    what: String,
) -> Result<T, FetchError> {
    if response.body.len() <= SMALL {
        return response.json(&what);
    }
    let lost = FetchError::new(Cause::Io, format!("{what}: the answer was not read to its end"));
    spawn_blocking(move || response.json(&what)).await.unwrap_or(Err(lost))
}

/// A 404 in DigitalOcean's own words. A page of somebody else's says nothing of a resource.
fn not_found(response: &Response, what: &str) -> Missed {
    match response.json::<ErrorBody>(what) {
        Ok(_) => Missed::Gone(format!("{what}: there is no such thing (404)")),
        Err(_) => failed(
            what,
            Cause::NotFound,
            "answered 404, but not in DigitalOcean's words: check `api_url`",
        ),
    }
}

fn used_up(what: &str, wait: Duration) -> FetchError {
    let until = Timestamp::now().saturating_add(wait).unwrap_or(Timestamp::MAX);
    let message = format!(
        "{what}: the request budget is used up until {until:.0}, by requests_per_hour or \
         requests_per_minute in [digitalocean] or by the server's word: poll less often"
    );
    FetchError { cause: Cause::RateLimited, message, retry_after: Some(wait) }
}

fn failed(what: &str, cause: Cause, text: &str) -> Missed {
    Missed::Failed(FetchError::new(cause, format!("{what}: {text}")))
}
