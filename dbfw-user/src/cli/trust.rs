//! `dbfw trust`: adds, removes and lists sources by hand.

use anyhow::Context as _;
use dbfw_core::source::{Origin, TrustedSource};
use dbfw_wire::control::{CoveringSource, Request, SourceState, SourceStatus, Sources, TrustList};
use jiff::Timestamp;

use super::{
    args::TrustVerb,
    context::Context,
    exit::Exit,
    message::{note, warn},
};

pub(super) fn trust(context: &Context, verb: TrustVerb) -> anyhow::Result<Exit> {
    match verb {
        TrustVerb::List => context.show(&context.call::<TrustList>(&Request::TrustList {})?)?,
        TrustVerb::Rm { source, database } => {
            let source = source.to_string();
            let list: TrustList = context.call(&Request::TrustRemove { database, source })?;
            match list.still_trusted_by.as_slice() {
                [] if names_hosts(&list) => note("no longer trusted"),
                [] => note("no longer trusted by hand; no other source covers all of it"),
                others => warn(&still_trusted(others)),
            }
            for opening in &list.still_open {
                warn(&format!("strangers are let in, and so is what was removed: {opening}"));
            }
            if list.going_on > 0 {
                let (connections, go) = match list.going_on {
                    1 => ("connection", "goes"),
                    _ => ("connections", "go"),
                };
                warn(&format!(
                    "{} open {connections} of what was removed {go} on: at an interface that is not \
                     covered, only new ones are judged",
                    list.going_on
                ));
            }
            if let Some(why) = &list.not_written {
                warn(&format!(
                    "a restart of the agent trusts it again until that is written: {why}"
                ));
            }
            context.show(&list)?;
        }
        TrustVerb::Add { source, database, lifetime, why } => {
            if is_everyone(&source) {
                warn(&format!("{source} opens {database} to everyone"));
            }
            let expires_at = lifetime
                .map(|lifetime| Timestamp::now().checked_add(lifetime))
                .transpose()
                .context("--for ends after the year 9999")?;
            let request = Request::TrustAdd {
                database: database.clone(),
                source: source.to_string(),
                expires_at,
                why,
            };
            let list: TrustList = context.call(&request)?;
            match source.key().prefixes() {
                Some(_) => note("trusted from now on"),
                None => note(&match context.call(&Request::Sources {}) {
                    Ok(sources) => resolved(&sources, &database, &source),
                    // It is trusted all the same.
                    Err(error) => format!(
                        "trusted from now on; to which addresses it resolves is not known ({error})"
                    ),
                }),
            }
            context.show(&list)?;
        }
    }
    Ok(Exit::Ok)
}

/// Whether what was removed is single addresses.
fn names_hosts(list: &TrustList) -> bool {
    list.sources.iter().all(|local| {
        let source: Option<TrustedSource> = local.source.parse().ok();
        let prefixes = source.as_ref().and_then(|source| source.key().prefixes());
        prefixes.is_some_and(|prefixes| prefixes.iter().all(|prefix| prefix.is_host()))
    })
}

/// The sources that let in what was removed, and where to remove them.
fn still_trusted(others: &[CoveringSource]) -> String {
    let named: Vec<String> =
        others.iter().map(|other| format!("{} ({})", other.source, other.origin)).collect();
    format!("removed, but still let in by {}", named.join(", "))
}

fn is_everyone(source: &TrustedSource) -> bool {
    let prefixes = source.key().prefixes();
    prefixes.is_some_and(|prefixes| prefixes.iter().any(|prefix| prefix.len() == 0))
}

/// Current resolution of a source that was just added.
fn resolved(sources: &Sources, database: &str, source: &TrustedSource) -> String {
    let (text, origin) = (source.to_string(), Origin::Local.to_string());
    let is_it = |known: &&SourceStatus| {
        known.database == database && known.source == text && known.origin == origin
    };
    match sources.sources.iter().find(is_it) {
        Some(known) if !known.prefixes.is_empty() => {
            let more = if known.prefixes.len() > 3 { ", …" } else { "" };
            let first: Vec<_> = known.prefixes.iter().take(3).cloned().collect();
            format!("trusted from now on: {}{more}", first.join(", "))
        }
        Some(known) if known.state != SourceState::Pending => {
            let why = known.error.clone().or_else(|| {
                known.unresolved.first().map(|part| format!("{}: {}", part.part, part.why))
            });
            let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
            format!("it resolves to no address yet{why}; dbfw sources shows when it does")
        }
        _ => "being resolved; dbfw sources shows when it is in force".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::samples;

    #[test]
    fn what_a_new_source_stands_for() {
        let source: TrustedSource = "tag:backend".parse().unwrap();
        let mut status = samples::source("tag:backend");
        let other = SourceStatus { database: "reports".to_owned(), ..status.clone() };
        let said = |status: &SourceStatus| {
            let sources = Sources { sources: vec![other.clone(), status.clone()] };
            resolved(&sources, "orders", &source)
        };
        let waiting = "being resolved; dbfw sources shows when it is in force";
        assert_eq!(said(&status), waiting, "config trusts it too, and that is another rule");
        status.origin = "local".to_owned();
        assert_eq!(said(&status), "trusted from now on: 10.0.0.1/32");
        status.prefixes = (1..9).map(|n| format!("10.0.0.{n}/32")).collect();
        assert_eq!(said(&status), "trusted from now on: 10.0.0.1/32, 10.0.0.2/32, 10.0.0.3/32, …");
        status.prefixes.clear();
        status.state = SourceState::Pending;
        assert_eq!(said(&status), waiting);
        (status.state, status.error) = (SourceState::Stale, Some("no answer".to_owned()));
        assert_eq!(
            said(&status),
            "it resolves to no address yet (no answer); dbfw sources shows when it does"
        );
    }
}
