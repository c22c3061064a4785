//! The keys about HTTP that several tables have.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use crate::{
    http::{HttpConfig, is_loopback},
    token::TokenSource,
};
use dbfw_core::toml::{Report, Table, Value, quoted};
use url::{Host, Url};

const HOSTS_FIX: &str = r#"write ["api.internal"]"#;

/// The longest interval: it is the time until a revoked source goes.
const LONGEST_POLL: Duration = Duration::from_secs(3600);

/// A table of an API with a token.
#[derive(Clone, Copy, Debug)]
pub struct Api {
    /// Its name.
    pub table: &'static str,
    /// The API's own address.
    pub url: &'static str,
    /// Example path of a token, for the problems.
    pub token_file: &'static str,
}

/// The settings that all such tables have.
pub(super) struct ApiSettings<'c> {
    pub(super) url: &'c mut Url,
    pub(super) token: &'c mut TokenSource,
    pub(super) http: &'c mut HttpConfig,
    pub(super) poll: &'c mut Duration,
}

impl Api {
    /// Reads the keys in one file's table.
    pub(super) fn read(
        &self,
        settings: ApiSettings<'_>,
        table: &mut Table<'_>,
        report: &mut Report,
    ) {
        table.set("token_file", settings.token, report, |value, report| {
            token_file(value, self.token_file, report).map(TokenSource::File)
        });
        // The key somebody writes who looks for a place for the token itself.
        if let Some(value) = table.refuse("token") {
            let fix = format!(
                "write it to a file with mode 0600 and add token_file = {:?}; make a new \
                 token if others could read this file",
                self.token_file
            );
            report.problem(&value.place(), "a token does not belong in the configuration", fix);
        }
        table
            .set("api_url", settings.url, report, |value, report| api_url(value, self.url, report));
        table.set("poll", settings.poll, report, |value, report| {
            value.interval(LONGEST_POLL, report)
        });
        read_http(settings.http, table, report);
    }

    /// Checks the settings of all files together.
    pub fn check(&self, url: &Url, http: &HttpConfig, report: &mut Report) {
        let Some(place) = report.place_of(&format!("{}.api_url", self.table)) else { return };
        let host = url.host_str().unwrap_or_default();
        if !http.may_ask(url) {
            report.problem(
                &place,
                format!("the token would be sent to {host} without TLS"),
                format!("begin it with https://, or add allow_http = [{host:?}]"),
            );
        } else if url.scheme() == "http" && !is_loopback(url) {
            report.warning(
                &place,
                "anyone between this host and the server can read the token",
                "use https, with ca_file if it has a certificate of your own",
            );
        }
    }
}

/// `timeout`, `ca_file` and `allow_http`.
pub(super) fn read_http(http: &mut HttpConfig, table: &mut Table<'_>, report: &mut Report) {
    table.set("timeout", &mut http.timeout, report, Value::timeout);
    table.set("ca_file", &mut http.ca_file, report, |value, report| {
        value.path("/etc/dbfw/ca.pem", report).map(Some)
    });
    table.set("allow_http", &mut http.allow_http, report, |value, report| {
        value.list(HOSTS_FIX, report, host)
    });
}

/// The path of a file with a token; `example` is one.
pub fn token_file(value: &Value<'_>, example: &str, report: &mut Report) -> Option<PathBuf> {
    secret_file(value, "token", example, report)
}

/// As [`Value::path`], but without showing what was written: it may be the secret.
pub fn secret_file(
    value: &Value<'_>,
    what: &str,
    example: &str,
    report: &mut Report,
) -> Option<PathBuf> {
    let written = value.string(&format!("write {example:?}"), report)?;
    if written.starts_with('/') && !written.contains('\0') {
        return Some(PathBuf::from(written));
    }
    report.problem(
        &value.place(),
        "is not an absolute path",
        format!("name a file that holds the {what}, as in {example:?}"),
    );
    None
}

/// The address of an API. It is not shown either: it may have a password in it.
fn api_url(value: &Value<'_>, example: &str, report: &mut Report) -> Option<Url> {
    let fix = format!("write {example:?}");
    let written = value.string(&fix, report)?;
    let problem = match Url::parse(written) {
        Err(error) => format!("is not a URL ({error})"),
        Ok(url) => match api_url_problem(&url) {
            None => return Some(url),
            Some(problem) => problem.to_owned(),
        },
    };
    report.problem(&value.place(), problem, fix);
    None
}

fn api_url_problem(url: &Url) -> Option<&'static str> {
    if !matches!(url.scheme(), "http" | "https") {
        return Some("begins neither with https:// nor with http://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some("has a user name or a password in it");
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Some("has text behind the host");
    }
    None
}

/// A host name or address as [`Url::host_str`] writes it.
fn host(value: &Value<'_>, report: &mut Report) -> Option<String> {
    let written = value.string(HOSTS_FIX, report)?;
    let host = match written.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => Some(Host::Ipv6(address)),
        _ => Host::parse(written).ok(),
    };
    let plain = |name: &str| {
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    let host = host.filter(|host| match host {
        Host::Domain(name) => plain(name),
        Host::Ipv4(_) | Host::Ipv6(_) => true,
    });
    if host.is_none() {
        let message = format!("{} is not a host name", quoted(written));
        report.problem(&value.place(), message, "write only the name, as in \"api.internal\"");
    }
    host.map(|host| host.to_string())
}
