//! Checks over all databases, and warnings about what is hardly meant.

use std::{collections::HashMap, ptr};

use dbfw_common::MAX_DATABASES;
use dbfw_core::{
    source::{FeedValue, Location, Prefix, SourceType, TrustedSource},
    toml::{Place, Report, shortened},
};
use dbfw_provider::{http::HttpConfig, worker::Account};
use jiff::Timestamp;

use super::{
    tables::{aptible::APTIBLE, database::Draft, digitalocean::DIGITALOCEAN, http::Api},
    types::Config,
};

/// Reports databases that share a name or a port.
pub(super) fn check_databases(drafts: &[Draft], report: &mut Report) {
    let mut names = HashMap::new();
    let mut ports = HashMap::new();
    for draft in drafts {
        if let Some(place) = &draft.name {
            let name = &draft.config.name;
            let first = *names.entry(name.as_str()).or_insert(place);
            if !ptr::eq(first, place) {
                let message = format!("{name:?} is already the name of a database ({first})");
                report.problem(place, message, "choose another");
            }
        }
        for (port, place) in draft.config.ports.iter().zip(&draft.ports) {
            let first = *ports.entry(*port).or_insert(place);
            if !ptr::eq(first, place) {
                let message =
                    format!("{port} already belongs to a database ({}, {first})", first.key);
                report.problem(place, message, "give each port to one database");
            }
        }
    }
    if let Some(draft) = drafts.get(MAX_DATABASES as usize) {
        report.problem(
            &draft.place,
            format!("one of {} databases, more than a host can have", drafts.len()),
            format!("keep at most {MAX_DATABASES}; one database can have several ports"),
        );
    }
}

/// Reports sources and lists whose provider is not configured.
pub(super) fn check_providers(drafts: &[Draft], config: &Config, report: &mut Report) {
    let has_digitalocean = config.digitalocean.is_some();
    for draft in drafts {
        if let (Some(provider), Some(place)) = (&draft.config.provider, &draft.provider) {
            match Account::listing(provider) {
                Account::DigitalOcean if !has_digitalocean => {
                    missing(place, "the list of a cluster", &DIGITALOCEAN, report);
                }
                Account::Aptible if config.aptible.is_none() => {
                    missing(place, "the list of an endpoint", &APTIBLE, report);
                }
                _ => {}
            }
        }
        for (source, place) in draft.config.trusted_sources.iter().zip(&draft.sources) {
            match Account::resolving(source.kind()) {
                Some(Account::DigitalOcean) if !has_digitalocean => {
                    missing(place, &shortened(&source.to_string()), &DIGITALOCEAN, report);
                }
                Some(Account::Feeds) => check_feed(source, place, &config.feeds.http, report),
                _ => {}
            }
        }
    }
}

fn missing(place: &Place, what: &str, api: &Api, report: &mut Report) {
    let Api { table, token_file, .. } = api;
    report.problem(
        place,
        format!("{what} needs the table [{table}], which is missing"),
        format!("write [{table}] with token_file = {token_file:?}"),
    );
}

fn check_feed(source: &TrustedSource, place: &Place, feeds: &HttpConfig, report: &mut Report) {
    let Some(FeedValue { location: Location::Url(url), .. }) = source.key().feed() else { return };
    if !feeds.may_ask(url) {
        let host = url.host_str().unwrap_or_default();
        report.problem(
            place,
            format!("{} would be fetched without TLS", shortened(&source.to_string())),
            format!("use https, or write [feeds] with allow_http = [{host:?}]"),
        );
    }
}

/// Warns about a database's sources.
pub(super) fn warn_sources(draft: &Draft, now: Timestamp, report: &mut Report) {
    let config = &draft.config;
    if config.trusted_sources.is_empty() && config.provider.is_none() {
        report.warning(
            &draft.place,
            "has neither trusted_sources nor a provider: nobody may connect",
            r#"add trusted_sources = ["ip_addr:10.0.0.0/8"]"#,
        );
    }
    let mut seen = HashMap::new();
    for (source, place) in config.trusted_sources.iter().zip(&draft.sources) {
        let shown = shortened(&source.to_string());
        let first = *seen.entry(identity(source)).or_insert(place);
        if !ptr::eq(first, place) {
            let message = format!("{shown} is already listed ({first})");
            report.warning(place, message, "remove one");
        }
        if prefixes(source).iter().any(|prefix| prefix.len() == 0) {
            report.warning(
                place,
                format!("{shown} opens the database to everyone"),
                "list only the networks that need it",
            );
        }
        if let Some(expires_at) = source.expires_at.filter(|expires_at| *expires_at <= now) {
            report.warning(
                place,
                format!("{shown} expired at {expires_at}: it is not trusted"),
                "remove it, or move expires_at",
            );
        }
    }
}

/// Equal for sources that mean the same, however they are written.
fn identity(source: &TrustedSource) -> (SourceType, &[Prefix], String) {
    let value = source.key().value();
    let text = match source.kind() {
        SourceType::IpAddr => String::new(),
        SourceType::Dns => value.trim_end_matches('.').to_ascii_lowercase(),
        _ => value.to_owned(),
    };
    (source.kind(), prefixes(source), text)
}

fn prefixes(source: &TrustedSource) -> &[Prefix] {
    source.key().prefixes().map_or(&[], |prefixes| prefixes)
}
