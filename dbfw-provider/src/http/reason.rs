//! Reasons of failed requests, in words.

use std::{error::Error, io, iter};

use dbfw_core::{
    answers::{Cause, FetchError},
    misleads,
};
use jiff::Timestamp;
use rustls::CertificateError;
use secrecy::{ExposeSecret as _, SecretString, zeroize::Zeroizing};
use url::Url;

/// Characters of a reason that libraries or servers gave.
const MAX_REASON: usize = 200;

/// Names of a certificate that are shown.
const MAX_NAMES: usize = 5;

/// The failure on the way to or from the host of `url`; the request is not named yet.
pub(super) fn failure(error: reqwest::Error, url: &Url) -> FetchError {
    let error = error.without_url();
    let host = host_of(url);
    if let Some(error) = find::<rustls::Error>(&error) {
        return FetchError::new(Cause::Tls, tls(error, &host));
    }
    if error.is_timeout() {
        return FetchError::new(
            Cause::Timeout,
            format!("no connection to {host} in time: check the network and its address"),
        );
    }
    if find::<hyper::Error>(&error).is_some_and(hyper::Error::is_parse) {
        return FetchError::new(
            Cause::Invalid,
            format!("{host} does not answer in HTTP: check the address and its port"),
        );
    }
    let reason = innermost(&error);
    let text = if error.is_connect() {
        format!(
            "no connection to {host}, {reason}: check its address, the network and, if there is \
             one, the proxy"
        )
    } else {
        format!("the connection to {host} broke, {reason}: dbfw will retry")
    };
    FetchError::new(Cause::Connect, text)
}

/// The error as one of the request `what`, without the secret.
pub(super) fn about(error: FetchError, what: &str, secret: Option<&SecretString>) -> FetchError {
    FetchError { reason: without(&error.reason, secret), ..error }.about(without(what, secret))
}

/// A text in which a server may have repeated the secret, without it. To be used before the
/// text is cut or escaped, after which the secret might not be recognised.
pub(super) fn without(text: &str, secret: Option<&SecretString>) -> String {
    // A host name has only small letters.
    let small = |text: &str| Zeroizing::new(text.to_ascii_lowercase());
    let secret = secret.map(|secret| small(secret.expose_secret()));
    let Some(secret) = secret.filter(|secret| !secret.is_empty()) else { return text.to_owned() };
    let (small, mut rest) = (small(text), text);
    let mut cleared = String::new();
    while let Some(at) = small[text.len() - rest.len()..].find(secret.as_str()) {
        cleared.push_str(&rest[..at]);
        cleared.push_str("[token]");
        rest = &rest[at + secret.len()..];
    }
    cleared + rest
}

/// The fault of the other side's TLS, and its fix.
fn tls(error: &rustls::Error, host: &str) -> String {
    let rustls::Error::InvalidCertificate(error) = error else {
        let reason = clean(&error.to_string(), MAX_REASON);
        return format!(
            "no TLS with {host}, {reason}: check that its port speaks TLS 1.2 or later"
        );
    };
    let day = |time: &rustls::pki_types::UnixTime| {
        i64::try_from(time.as_secs())
            .ok()
            .and_then(|seconds| Timestamp::from_second(seconds).ok())
            .map_or_else(String::new, |time| format!(" {time}"))
    };
    match error {
        CertificateError::ExpiredContext { not_after, .. } => format!(
            "the certificate of {host} has expired{}: renew it; check this machine's clock too",
            day(not_after)
        ),
        CertificateError::NotValidYetContext { not_before, .. } => format!(
            "the certificate of {host} is not valid before{}: check this machine's clock",
            day(not_before)
        ),
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names = presented.iter().take(MAX_NAMES).map(|name| clean(name, 80));
            let names = match presented.is_empty() {
                true => "another name".to_owned(),
                false => names.collect::<Vec<_>>().join(", "),
            };
            format!("the certificate of {host} is for {names}, a name mismatch: check the address")
        }
        // The signature is bad if another issuer of that name is trusted.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "the certificate of {host} is by an issuer that is not trusted here: if it is yours, \
             set `ca_file` to the issuer's certificate"
        ),
        // webpki's own error, which rustls has no variant for.
        CertificateError::Other(other)
            if matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity)) =>
        {
            format!(
                "the certificate of {host} is an authority's own: let that authority sign \
                 another for the server, and set `ca_file` to the authority's"
            )
        }
        other => format!(
            "the certificate of {host} is not trusted, {}: replace it, or set its issuer as \
             `ca_file`",
            clean(&other.to_string(), MAX_REASON)
        ),
    }
}

/// An error and what is behind it, outermost first.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |&error: &&'a (dyn Error + 'static)| {
        // Of an error that only wraps another, std names the other's source as its own.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// The first cause of an error, in one line.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map_or_else(String::new, |last| clean(&last.to_string(), MAX_REASON))
}

/// A text of others in one line of at most `limit` characters, without what could steer a
/// terminal or forge a line of a log.
pub(crate) fn clean(text: &str, limit: usize) -> String {
    let mut characters = text.chars();
    let mut cleaned: String = characters
        .by_ref()
        .take(limit)
        .map(|c| match c {
            '\t' | '\n' | '\r' => ' ',
            c if c.is_control() || misleads(c) => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect();
    if characters.next().is_some() {
        cleaned.push('…');
    }
    cleaned
}

/// Host and, if it is not the scheme's, port: all of a URL that an error names.
pub(super) fn host_of(url: &Url) -> String {
    let host = clean(url.host_str().unwrap_or("no host"), 255);
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host,
    }
}
