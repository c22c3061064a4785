//! The API: its client and token, and what it answered last.

use std::{
    any::Any,
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use dbfw_core::answers::FetchError;
use tokio::sync::Semaphore;

use super::{
    DigitalOceanConfig,
    listing::Fetched,
    session::{CONCURRENT, Session},
};
use crate::{
    budget::Budget,
    http::{HttpClient, Redirects},
    secret::Token,
    stats::Stats,
};

/// The API, and what it answered last.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) config: DigitalOceanConfig,
    token: Mutex<Token>,
    client: Mutex<Option<HttpClient>>,
    pub(super) budget: Arc<Mutex<Budget>>,
    pub(super) stats: Arc<Stats>,
    /// One for every request at a time, whosever it is.
    pub(super) turns: Semaphore,
    answers: Mutex<Answers>,
}

/// Answers by request, as far as the last round used them.
#[derive(Debug, Default)]
struct Answers {
    round: u64,
    kept: HashMap<String, Kept>,
}

#[derive(Debug)]
struct Kept {
    /// Used in this round last.
    round: u64,
    print: u128,
    etag: Option<String>,
    value: Arc<dyn Any + Send + Sync>,
}

impl Api {
    pub(crate) fn new(
        config: DigitalOceanConfig,
        budget: Arc<Mutex<Budget>>,
        stats: Arc<Stats>,
    ) -> Self {
        Self {
            token: Mutex::new(Token::new(config.token.clone())),
            client: Mutex::default(),
            config,
            budget,
            stats,
            turns: Semaphore::new(CONCURRENT),
            answers: Mutex::default(),
        }
    }

    /// Begins a series of requests. A careful one waits for its first answer before it sends
    /// a second request.
    ///
    /// # Errors
    /// There is no token, or no client.
    pub(crate) fn session(&self, careful: bool) -> Result<Session<'_>, FetchError> {
        let session = || {
            let token = lock(&self.token).read()?;
            let mut client = lock(&self.client);
            let client = match &*client {
                Some(client) => client.clone(),
                None => {
                    client.insert(HttpClient::new(&self.config.http, Redirects::Refuse)?).clone()
                }
            };
            Ok(Session::new(self, client, token, careful))
        };
        session().inspect_err(|error: &FetchError| self.stats.failure(error.cause))
    }

    /// The next session reads the certificate authorities anew: their file may be another.
    pub(crate) fn forget_client(&self) {
        lock(&self.client).take();
    }

    /// Whether the token's file is another than when it was last read.
    pub(crate) fn token_changed(&self) -> bool {
        lock(&self.token).changed()
    }

    /// A round begins.
    pub(crate) fn begin(&self) {
        lock(&self.answers).round += 1;
    }

    /// A round has ended: what it did not use is forgotten.
    pub(crate) fn end(&self) {
        let mut answers = lock(&self.answers);
        let round = answers.round;
        answers.kept.retain(|_, kept| kept.round == round);
    }

    /// The interval between rounds of so many requests.
    pub(crate) fn interval(&self, requests: u32) -> Duration {
        let interval = lock(&self.budget).interval(self.config.poll, requests);
        self.stats.interval(interval);
        interval
    }

    /// Something that was made of answers with this mark.
    pub(crate) fn made<T: Send + Sync + 'static>(&self, key: &str, print: u128) -> Option<Arc<T>> {
        let mut answers = lock(&self.answers);
        let round = answers.round;
        let kept = answers.kept.get_mut(key).filter(|kept| kept.print == print)?;
        kept.round = round;
        Arc::clone(&kept.value).downcast().ok()
    }

    /// Keeps something that was made of answers with this mark.
    pub(crate) fn keep<T: Send + Sync + 'static>(
        &self,
        key: &str,
        print: u128,
        etag: Option<String>,
        value: &Arc<T>,
    ) {
        let mut answers = lock(&self.answers);
        let (round, value) = (answers.round, Arc::clone(value) as Arc<dyn Any + Send + Sync>);
        answers.kept.insert(key.to_owned(), Kept { round, print, etag, value });
    }

    /// The last answer to a request, for a conditional one.
    pub(super) fn last<T: Send + Sync + 'static>(
        &self,
        key: &str,
    ) -> Option<(Arc<Fetched<T>>, Option<String>)> {
        let mut answers = lock(&self.answers);
        let round = answers.round;
        let kept = answers.kept.get_mut(key)?;
        kept.round = round;
        Some((Arc::clone(&kept.value).downcast().ok()?, kept.etag.clone()))
    }
}

/// Locks a mutex. State that a panic elsewhere left behind is whole: nothing here stops half-way.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
