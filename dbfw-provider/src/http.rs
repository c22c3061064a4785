//! Requests over HTTP(S), bounded in size and time; what is wrong is said in words.
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
mod stream;
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
    header::{self, HeaderMap, HeaderValue},
};
pub(crate) use stream::Stream;
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
    /// In place of the certificate authorities.
    tls: Option<Arc<rustls::ClientConfig>>,
    /// Authorities beside those in `ca_file`, PEM.
    also: Arc<Mutex<Vec<String>>>,
    /// For other hosts and for this machine, each built when it is needed: a file of
    /// certificate authorities may still come.
    clients: Arc<Mutex<[Option<Client>; 2]>>,
}

impl HttpClient {
    /// A client that trusts the system's certificate authorities and those in `ca_file`. TLS
    /// 1.2 at least, always verified.
    pub fn new(config: &HttpConfig, redirects: Redirects) -> Self {
        Self {
            config: Arc::new(config.clone()),
            redirects,
            tls: None,
            also: Arc::default(),
            clients: Arc::default(),
        }
    }

    /// The same client, which judges certificates as `tls` does.
    pub(crate) fn with_tls(self, tls: rustls::ClientConfig) -> Self {
        Self { tls: Some(tls.into()), clients: Arc::default(), ..self }
    }

    /// Trusts these authorities (PEM) beside those in `ca_file`, in place of what was said here
    /// before; for this client and its clones.
    ///
    /// # Errors
    /// One of them is no certificate; nothing changes.
    pub(crate) fn trust_also(&self, authorities: Vec<String>) -> Result<(), FetchError> {
        setup::parse_all(&authorities)?;
        *lock(&self.also) = authorities;
        *lock(&self.clients) = Default::default();
        Ok(())
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
            None => {
                let built =
                    setup::build(&self.config, self.tls.as_deref(), &lock(&self.also), is_local)?;
                Ok(client.insert(built).clone())
            }
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
        self.finish(asked.unwrap_or_else(|_| Err(self.too_late(url))), what, &options)
    }

    /// Sends `body`, as JSON, by POST; the rest is as in [`HttpClient::get`]. Redirects are not
    /// followed.
    ///
    /// # Errors
    /// As [`HttpClient::get`].
    pub async fn post(
        &self,
        url: &Url,
        what: &str,
        options: Options<'_>,
        body: Vec<u8>,
    ) -> Result<Response, FetchError> {
        let send =
            async { answer::read(self.send(url, &options, body).await?, url, &options).await };
        let answer = tokio::time::timeout(self.config.timeout, send).await;
        self.finish(answer.unwrap_or_else(|_| Err(self.too_late(url))), what, &options)
    }

    /// Sends `body`, as JSON, by POST, and gives an answer whose body goes on; it is to come within
    /// the timeout, and its body takes as long as it takes.
    ///
    /// # Errors
    /// As [`HttpClient::get`].
    pub(crate) async fn open(
        &self,
        url: &Url,
        what: &str,
        options: Options<'_>,
        body: Vec<u8>,
    ) -> Result<Stream, FetchError> {
        let open = async {
            let response = self.send(url, &options, body).await?;
            if response.status().is_success() {
                return Ok(Stream::new(response, url));
            }
            // Its words say why.
            let error = answer::read(response, url, &options).await?.success(what);
            Err(error.err().unwrap_or_else(|| {
                FetchError::new(Cause::NotFound, "answered 404: check the address")
            }))
        };
        let answer = tokio::time::timeout(self.config.timeout, open).await;
        self.finish(answer.unwrap_or_else(|_| Err(self.too_late(url))), what, &options)
    }

    async fn send(
        &self,
        url: &Url,
        options: &Options<'_>,
        body: Vec<u8>,
    ) -> Result<reqwest::Response, FetchError> {
        let mut headers = headers(options)?;
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.check(url)?;
        let request = self.prepare(url)?.post(url.clone()).headers(headers).body(body);
        let response = request.send().await.map_err(|error| failure(error, url))?;
        if response.status().is_redirection() {
            self.target(url, response.status().as_u16(), response.headers())?;
            return Err(FetchError::new(Cause::Redirect, "is redirected: check its address"));
        }
        Ok(response)
    }

    fn too_late(&self, url: &Url) -> FetchError {
        let (host, limit) = (host_of(url), self.config.timeout);
        let text = format!("no whole answer from {host} within {limit:?}: dbfw will retry");
        FetchError::new(Cause::Timeout, text)
    }

    /// Names the request in its error. After one of TLS the authorities are read again.
    fn finish<T>(
        &self,
        answer: Result<T, FetchError>,
        what: &str,
        options: &Options<'_>,
    ) -> Result<T, FetchError> {
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
