//! The table `[server]` of the configuration: its keys, their checks and defaults.

use std::path::PathBuf;

use dbfw_core::{
    source::{Prefix, PrefixError},
    toml::{Report, Table, Value},
};
use dbfw_provider::{
    server::{ServerConfig, url_problem},
    tables::token_file,
    token::TokenSource,
};
use url::Url;

pub(crate) const TOKEN_FILE: &str = "/etc/dbfw/host-token";
pub(crate) const URL: &str = "https://ctl.example.com:7443";
const URLS_FIX: &str = r#"write ["https://ctl.example.com:7443"]"#;
const WITHIN_FIX: &str = r#"write ["10.0.0.0/8"], the networks that the server may grant at most"#;

/// Servers that a host may know.
const MAX_URLS: usize = 16;

/// Networks that `within` may list.
const MAX_WITHIN: usize = 256;

/// Reads the table of one file; a later file's value replaces an earlier one's.
pub(crate) fn read_server(config: &mut ServerConfig, mut table: Table<'_>, report: &mut Report) {
    table.set("urls", &mut config.urls, report, urls);
    table.set("token_file", &mut config.token, report, |value, report| {
        token_file(value, TOKEN_FILE, report).map(TokenSource::File)
    });
    // The key somebody writes who looks for a place for the token itself.
    if let Some(value) = table.refuse("token") {
        let fix = format!(
            "write it to a file with mode 0600 and add token_file = {TOKEN_FILE:?}; join the host \
             again if others could read this file"
        );
        report.problem(&value.place(), "a token does not belong in the configuration", fix);
    }
    table.set("ca_file", &mut config.http.ca_file, report, |value, report| {
        value.path("/etc/dbfw/server-ca.pem", report).map(Some::<PathBuf>)
    });
    table.set("within", &mut config.within, report, |value, report| {
        let networks = value.list(WITHIN_FIX, report, network)?;
        if networks.is_empty() {
            let fix = "name a network, or remove it: without it the server may grant everything \
                       that min_prefix lets through";
            report.problem(&value.place(), "lists no network", fix);
            return None;
        }
        if networks.len() > MAX_WITHIN {
            let message = format!("{} networks, more than {MAX_WITHIN}", networks.len());
            report.problem(&value.place(), message, "write wider ones");
            return None;
        }
        Some(Some(networks.into()))
    });
    table.finish(report);
}

fn urls(value: &Value<'_>, report: &mut Report) -> Option<Vec<Url>> {
    let urls = value.distinct(URLS_FIX, report, url)?;
    if urls.is_empty() {
        report.problem(&value.place(), "lists no server", URLS_FIX);
        return None;
    }
    if urls.len() > MAX_URLS {
        let message = format!("{} servers, more than {MAX_URLS}", urls.len());
        report.problem(&value.place(), message, "name some of them: each has every list");
        return None;
    }
    Some(urls)
}

/// The address of a server. It is not shown: it may have a password in it.
fn url(value: &Value<'_>, report: &mut Report) -> Option<Url> {
    let fix = format!("write {URL:?}");
    let written = value.string(&fix, report)?;
    let problem = match Url::parse(written) {
        Err(error) => format!("is not a URL ({error})"),
        Ok(url) => match url_problem(&url) {
            None => return Some(url),
            Some(problem) => problem.to_owned(),
        },
    };
    report.problem(&value.place(), problem, fix);
    None
}

fn network(value: &Value<'_>, report: &mut Report) -> Option<Prefix> {
    let written = value.string(WITHIN_FIX, report)?;
    match written.parse::<Prefix>() {
        Ok(prefix) => Some(prefix),
        Err(error) => {
            let fix = match &error {
                PrefixError::HostBits { network, .. } => format!("write {network}"),
                _ => WITHIN_FIX.to_owned(),
            };
            report.problem(&value.place(), error.to_string(), fix);
            None
        }
    }
}
