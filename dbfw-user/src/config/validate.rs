//! What can only be checked over all databases, and what is legal but hardly meant.

use std::collections::{HashMap, hash_map::Entry};

use dbfw_common::MAX_DATABASES;
use jiff::Timestamp;

use super::{
    database::Draft,
    report::{Place, Report},
    text::shortened,
};
use crate::source::{Prefix, SourceType, TrustedSource};

/// Checks names and ports against each other.
pub(super) fn check_databases(drafts: &[Draft], report: &mut Report) {
    let mut names = HashMap::new();
    let mut ports = HashMap::new();
    for draft in drafts {
        if let Some(place) = &draft.name {
            match names.entry(draft.config.name.as_str()) {
                Entry::Vacant(free) => {
                    free.insert(place);
                }
                Entry::Occupied(first) => {
                    let message = format!(
                        "{:?} is the name of a database already ({})",
                        draft.config.name,
                        at(first.get())
                    );
                    report.problem(place, message, "choose another");
                }
            }
        }
        for (port, place) in draft.config.ports.iter().zip(&draft.ports) {
            match ports.entry(*port) {
                Entry::Vacant(free) => {
                    free.insert(place);
                }
                Entry::Occupied(first) => {
                    let first = first.get();
                    let message = format!(
                        "{port} belongs to a database already ({}, {})",
                        first.key,
                        at(first)
                    );
                    report.problem(place, message, "give each port to one database");
                }
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
        match seen.entry(identity(source)) {
            Entry::Vacant(free) => {
                free.insert(place);
            }
            Entry::Occupied(first) => {
                let message = format!("{shown} is listed already ({})", at(first.get()));
                report.warning(place, message, "remove one");
            }
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
fn identity(source: &TrustedSource) -> (SourceType, Vec<Prefix>, &str) {
    let prefixes = prefixes(source);
    let text = if prefixes.is_empty() { source.value.as_str() } else { "" };
    (source.kind, prefixes, text)
}

fn prefixes(source: &TrustedSource) -> Vec<Prefix> {
    source.literal_prefixes().and_then(Result::ok).unwrap_or_default()
}

fn at(place: &Place) -> String {
    match place.line {
        Some(line) => format!("{}:{line}", place.file.display()),
        None => place.file.display().to_string(),
    }
}
