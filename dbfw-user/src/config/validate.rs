//! Checks over all databases, and warnings about what is hardly meant.

use std::{
    collections::{HashMap, hash_map::Entry},
    ptr,
};

use dbfw_common::{MAX_DATABASES, Mode};
use dbfw_core::{
    source::{FeedValue, Location, Prefix, SourceType, TrustedSource},
    toml::{Place, Report, shortened},
};
use dbfw_provider::{
    http::HttpConfig,
    tables::{APTIBLE, Api, DIGITALOCEAN},
    worker::Account,
};
use jiff::Timestamp;

use super::{
    tables::{
        database::Draft,
        server::{TOKEN_FILE, URL},
    },
    types::Config,
};

/// Reports databases that share a name or a port.
pub(super) fn check_databases(drafts: &[Draft], report: &mut Report) {
    let mut names = HashMap::new();
    for draft in drafts {
        if let Some(place) = &draft.name {
            let name = &draft.config.name;
            let first = *names.entry(name.as_str()).or_insert(place);
            if !ptr::eq(first, place) {
                let message = format!("{name:?} is already the name of a database ({first})");
                report.problem(place, message, "choose another");
            }
        }
    }
    for (at, draft) in drafts.iter().enumerate() {
        for before in &drafts[..at] {
            check_ports(before, draft, report);
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

/// Reports ports that two databases share without being told apart by their addresses.
fn check_ports(before: &Draft, draft: &Draft, report: &mut Report) {
    let (one, other) = (&before.config.destinations, &draft.config.destinations);
    if !one.overlap(other) {
        return;
    }
    for (range, place) in &draft.ports {
        let Some((shared, first)) = before.ports.iter().find(|(known, _)| known.overlaps(range))
        else {
            continue;
        };
        let named = if shared == range { range.to_string() } else { format!("{range} ({shared})") };
        let message = format!("{named} already belongs to a database ({}, {first})", first.key);
        let fix = match (one.is_every(), other.is_every()) {
            (true, true) => "give each port to one database, or both addresses of their own",
            (true, false) | (false, true) => {
                "give the port to one database, or addresses to the other as well"
            }
            (false, false) if one.has_local() || other.has_local() => {
                r#"write out the addresses of both: "local" may be any"#
            }
            (false, false) => "give each address to one database",
        };
        report.problem(place, message, fix);
    }
}

/// Reports databases that are bound to this host's own addresses without the backstop.
pub(super) fn check_local(drafts: &[Draft], backstop: bool, report: &mut Report) {
    let local = drafts.iter().filter(|draft| draft.config.destinations.has_local());
    for place in local.filter(|_| !backstop).filter_map(|draft| draft.addresses.as_ref()) {
        report.problem(
            place,
            r#""local" needs the backstop, which judges an address that has just come up"#,
            "remove backstop = false, or write out the addresses",
        );
    }
}

/// Reports sources and lists whose provider is not configured.
pub(super) fn check_providers(drafts: &[Draft], config: &Config, report: &mut Report) {
    let has_digitalocean = config.digitalocean.is_some();
    for draft in drafts {
        if let (Some(provider), Some(place)) = (&draft.config.provider, &draft.provider) {
            let (message, fix) = match Account::listing(provider) {
                Account::DigitalOcean if !has_digitalocean => {
                    missing("the list of a cluster", &DIGITALOCEAN)
                }
                Account::Aptible if config.aptible.is_none() => {
                    missing("the list of an endpoint", &APTIBLE)
                }
                Account::Server if config.server.as_ref().is_none_or(|s| s.urls.is_empty()) => (
                    "the list of a server needs the table [server] with urls, which is missing"
                        .to_owned(),
                    format!(
                        "run `dbfw join`, which writes it, or write [server] with urls = [{URL:?}] \
                         and token_file = {TOKEN_FILE:?}"
                    ),
                ),
                _ => continue,
            };
            report.problem(place, message, fix);
        }
        for (source, place) in draft.config.trusted_sources.iter().zip(&draft.sources) {
            if let Some((message, fix)) = unanswerable(source, has_digitalocean, &config.feeds.http)
            {
                report.problem(place, message, fix);
            }
        }
    }
}

/// The reason why nobody can be asked for a source, and the fix.
pub(super) fn unanswerable(
    source: &TrustedSource,
    has_digitalocean: bool,
    feeds: &HttpConfig,
) -> Option<(String, String)> {
    match Account::resolving(source.kind())? {
        Account::DigitalOcean if !has_digitalocean => {
            Some(missing(&shortened(&source.to_string()), &DIGITALOCEAN))
        }
        Account::Feeds => without_tls(source, feeds),
        _ => None,
    }
}

fn missing(what: &str, api: &Api) -> (String, String) {
    let Api { table, token_file, .. } = api;
    (
        format!("{what} needs the table [{table}], which is missing"),
        format!("write [{table}] with token_file = {token_file:?}"),
    )
}

fn without_tls(source: &TrustedSource, feeds: &HttpConfig) -> Option<(String, String)> {
    let FeedValue { location: Location::Url(url), .. } = source.key().feed()? else { return None };
    let host = url.host_str().unwrap_or_default();
    (!feeds.may_ask(url)).then(|| {
        (
            format!("{} would be fetched without TLS", shortened(&source.to_string())),
            format!("use https, or write [feeds] with allow_http = [{host:?}]"),
        )
    })
}

/// Warns about a database's sources.
pub(super) fn warn_sources(draft: &Draft, now: Timestamp, report: &mut Report) {
    let config = &draft.config;
    let trusts_nobody = config.trusted_sources.is_empty() && config.provider.is_none();
    if config.mode == Mode::Enforce && trusts_nobody {
        report.warning(
            &draft.place,
            "has neither trusted_sources nor a provider: nobody may connect",
            r#"add trusted_sources with the addresses of its clients, or mode = "observe" to see first who they are"#,
        );
    }
    let mut doubts = Doubts::new(now);
    for (source, place) in config.trusted_sources.iter().zip(&draft.sources) {
        doubts.look(source, place, report);
        if prefixes(source).iter().any(|prefix| prefix.len() == 0) {
            report.warning(
                place,
                format!("{} opens the database to everyone", shortened(&source.to_string())),
                "list only the networks that need it",
            );
        }
    }
}

/// Warnings about the sources of one list, one after the other.
pub(super) struct Doubts {
    now: Timestamp,
    seen: HashMap<Identity, Place>,
}

/// Equal for sources that mean the same, however they are written.
type Identity = (SourceType, Box<[Prefix]>, String);

impl Doubts {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { now, seen: HashMap::new() }
    }

    /// Warns about a source that is there twice, or has expired.
    pub(super) fn look(&mut self, source: &TrustedSource, place: &Place, report: &mut Report) {
        let shown = || shortened(&source.to_string());
        match self.seen.entry(identity(source)) {
            Entry::Occupied(first) => {
                let message = format!("{} is already listed ({})", shown(), first.get());
                report.warning(place, message, "remove one");
            }
            Entry::Vacant(entry) => {
                entry.insert(place.clone());
            }
        }
        if let Some(expires_at) = source.expires_at.filter(|expires_at| *expires_at <= self.now) {
            report.warning(
                place,
                format!("{} expired at {expires_at}: it is not trusted", shown()),
                "remove it, or move expires_at",
            );
        }
    }
}

fn identity(source: &TrustedSource) -> Identity {
    let value = source.key().value();
    let text = match source.kind() {
        SourceType::IpAddr => String::new(),
        SourceType::Dns => value.trim_end_matches('.').to_ascii_lowercase(),
        _ => value.to_owned(),
    };
    (source.kind(), prefixes(source).into(), text)
}

fn prefixes(source: &TrustedSource) -> &[Prefix] {
    source.key().prefixes().map_or(&[], |prefixes| prefixes)
}
