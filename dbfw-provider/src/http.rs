//! GET over HTTP(S), bounded in size and time; what is wrong is said in words.
//!
//! Proxies come from the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`,
//! in small letters too), but a loopback host is never asked through one: what may go without
//! TLS because it does not leave the machine must then not leave it.

mod answer;
mod config;
mod json;
mod rate;
mod reason;
mod request;
mod setup;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{Arc, Mutex},
};

pub use answer::Response;
pub use config::{HttpConfig, is_loopback};
use dbfw_core::answers::{Cause, FetchError};
pub use rate::Rate;
pub(crate) use reason::clean;
use reason::{about, failure, host_of};
pub use request::{Options, Validators};
use request::{headers, is_conditional};
use reqwest::{
    Client,
    header::{self, HeaderMap},
};
use url::Url;

use crate::lock::lock;

/// Redirects followed for one request.
const MAX_REDIRECTS: usize = 5;

/// Whether redirects are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirects {
    /// A redirect is an error ([`Cause::Redirect`]).
    Refuse,
    /// Up to 5, from https to https only and not from elsewhere to this machine; never with a
    /// token.
    Follow,
}

/// A client for HTTP/1.1 with limits on time, size and redirects. Clones share connections.
#[derive(Clone)]
pub struct HttpClient {
    config: Arc<HttpConfig>,
    redirects: Redirects,
    /// For other hosts and for this machine, each built when it is needed: a file of
    /// certificate authorities may still come.
    clients: Arc<Mutex<[Option<Client>; 2]>>,
}

impl HttpClient {
    /// A client that trusts the system's certificate authorities and those in `ca_file`. TLS
    /// 1.2 at least, always verified.
    pub fn new(config: &HttpConfig, redirects: Redirects) -> Self {
        Self { config: Arc::new(config.clone()), redirects, clients: Arc::default() }
    }

    /// Builds what asks `url`, unless it is there.
    ///
    /// # Errors
    /// [`Cause::Tls`] if there are no certificate authorities, or `ca_file` holds none.
    pub fn prepare(&self, url: &Url) -> Result<Client, FetchError> {
        let is_local = is_loopback(url);
        let client = &mut lock(&self.clients)[usize::from(is_local)];
        match client {
            Some(client) => Ok(client.clone()),
            None => Ok(client.insert(setup::build(&self.config, is_local)?).clone()),
        }
    }

    /// Asks for `url`. Any status is an answer, except redirects that are not followed; no,
    /// broken, slow and too large answers are errors. `what` names the request in errors:
    /// "DigitalOcean: GET /v2/droplets?page=2".
    ///
    /// # Errors
    /// Refused too: plain http to a host that is neither loopback nor in `allow_http`, and
    /// URLs with a user name or password. After an error of TLS the certificate authorities
    /// are read again: their file may be another by then.
    pub async fn get(
        &self,
        url: &Url,
        what: &str,
        options: Options<'_>,
    ) -> Result<Response, FetchError> {
        let asked = tokio::time::timeout(self.config.timeout, self.ask(url, &options)).await;
        let answer = asked.unwrap_or_else(|_| {
            let host = host_of(url);
            let limit = self.config.timeout;
            let text = format!("no whole answer from {host} within {limit:?}: dbfw will retry");
            Err(FetchError::new(Cause::Timeout, text))
        });
        answer.map_err(|error| {
            if error.cause == Cause::Tls {
                *lock(&self.clients) = Default::default();
            }
            about(error, what, options.bearer)
        })
    }

    async fn ask(&self, url: &Url, options: &Options<'_>) -> Result<Response, FetchError> {
        let headers = headers(options)?;
        if self.redirects == Redirects::Follow && options.bearer.is_some() {
            return Err(FetchError::new(
                Cause::Invalid,
                "a token is not sent where redirects are followed",
            ));
        }
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            self.check(&url)?;
            let request = self.prepare(&url)?.get(url.clone()).headers(headers.clone());
            let response = request.send().await.map_err(|error| failure(error, &url))?;
            let status = response.status();
            if status.as_u16() == 304 && !is_conditional(&headers) {
                return Err(FetchError::new(
                    Cause::Invalid,
                    "answered 304 to a request without a condition: check what answers there",
                ));
            }
            if !status.is_redirection() || status.as_u16() == 304 {
                return answer::read(response, &url, options).await;
            }
            url = self.target(&url, status.as_u16(), response.headers())?;
        }
        Err(FetchError::new(
            Cause::Redirect,
            format!("is redirected more than {MAX_REDIRECTS} times: use the address it leads to"),
        ))
    }

    /// The target of a redirect, if it may be followed.
    fn target(&self, from: &Url, status: u16, headers: &HeaderMap) -> Result<Url, FetchError> {
        let refuse = |text: String| Err(FetchError::new(Cause::Redirect, text));
        let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
        let Some(target) = location.and_then(|location| from.join(location).ok()) else {
            return refuse(format!("answers {status} and names no place to go: check its address"));
        };
        let (to, scheme) = (host_of(&target), target.scheme());
        if self.redirects == Redirects::Refuse {
            return refuse(format!(
                "is redirected to {to}, which is not followed, for a token must not get there: \
                 check `api_url`"
            ));
        }
        if scheme != "https" && from.scheme() == "https" {
            return refuse(format!(
                "is redirected from https to {} at {to}, which is not followed: use an address \
                 that stays with https",
                clean(scheme, 20)
            ));
        }
        if is_loopback(&target) && !is_loopback(from) {
            return refuse(format!(
                "is redirected to {to} on this machine, which is not followed: use an address \
                 that answers itself"
            ));
        }
        Ok(target)
    }

    /// Whether a URL may be asked at all.
    fn check(&self, url: &Url) -> Result<(), FetchError> {
        let host = host_of(url);
        if !url.username().is_empty() || url.password().is_some() {
            return Err(FetchError::new(
                Cause::Invalid,
                format!("the address at {host} has a user name or password: remove it"),
            ));
        }
        match url.scheme() {
            _ if self.config.may_ask(url) => Ok(()),
            "http" => {
                let name = url.host_str().unwrap_or_default();
                Err(FetchError::new(
                    Cause::Tls,
                    format!(
                        "{host} would be asked without TLS: use https, or allow it with \
                         `allow_http = [{name:?}]`"
                    ),
                ))
            }
            other => Err(FetchError::new(
                Cause::Invalid,
                format!("{} is not a way to ask {host}: use https", clean(other, 20)),
            )),
        }
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // reqwest's clients would show the proxies, which may have passwords.
        f.debug_struct("HttpClient")
            .field("timeout", &self.config.timeout)
            .field("redirects", &self.redirects)
            .field("allow_http", &self.config.allow_http)
            .finish_non_exhaustive()
    }
}
