//! The document of `dbfw sources`, made of the rules in force and their counters.

use std::collections::HashMap;

use dbfw_common::RuleCounter;
use dbfw_core::{
    policy::RuleKey,
    source::{Prefix, Rule, SourceKey},
};
use dbfw_datapath::DatapathError;
use dbfw_wire::control::{SourceState, SourceStatus, Sources, Unresolved};
use jiff::Timestamp;

use super::status::View;
use crate::traffic::drops::Clock;

/// State of a source that had to be asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceDetail {
    /// The state of its resolution.
    pub state: SourceState,
    /// The request that was answered.
    pub resolved_from: Option<String>,
    /// Seconds since that answer was last confirmed.
    pub age_seconds: Option<u64>,
    /// Its parts that have no address or could not be asked for, and why.
    pub unresolved: Vec<(String, String)>,
    /// Reason why the last try failed.
    pub error: Option<String>,
    /// Hints at what is probably not meant.
    pub notes: Vec<String>,
}

/// The document of `dbfw sources`. `detail` adds what the agent knows of a source: the state of one
/// that is resolved, notes about others.
///
/// # Errors
///
/// The counters cannot be read.
pub fn sources(
    view: &View<'_>,
    detail: &dyn Fn(&SourceKey) -> Option<SourceDetail>,
) -> Result<Sources, DatapathError> {
    let mut counters: HashMap<&RuleKey, RuleCounter> = HashMap::new();
    for (slot, key) in view.slots.slots() {
        let read = view.reader.rule(slot)?;
        let sum = counters.entry(key).or_default();
        sum.packets += read.packets;
        sum.last_hit = sum.last_hit.max(read.last_hit);
    }
    let clock = Clock::read().ok();
    let now = Timestamp::now();
    let mut sources = Vec::new();
    for database in view.policy.databases() {
        for rule in &database.rules {
            let key = RuleKey {
                database: database.name.clone(),
                origin: rule.origin.clone(),
                source: rule.kind.to_string(),
            };
            let counter = counters.get(&key).copied().unwrap_or_default();
            let last_hit = clock.filter(|_| counter.last_hit != 0).map(|c| c.at(counter.last_hit));
            let status =
                status_of(rule, rule.source().and_then(|source| detail(source.key())), now);
            let database = database.name.clone();
            sources.push(SourceStatus { database, packets: counter.packets, last_hit, ..status });
        }
    }
    Ok(Sources { sources })
}

/// Status of a rule, without its counters.
fn status_of(rule: &Rule, detail: Option<SourceDetail>, now: Timestamp) -> SourceStatus {
    let is_literal = rule.source().is_none_or(|source| source.key().prefixes().is_some());
    let expires_at = rule.kind.expires_at();
    let is_over = expires_at.is_some_and(|at| at <= now);
    let state = match &detail {
        _ if is_over => SourceState::Expired,
        _ if is_literal => SourceState::Literal,
        Some(detail) => detail.state,
        None => SourceState::Pending,
    };
    let mut status = SourceStatus {
        database: String::new(),
        source: rule.kind.to_string(),
        origin: rule.origin.to_string(),
        description: rule.kind.description().map(str::to_owned),
        expires_at,
        prefixes: rule.prefixes.iter().map(Prefix::to_string).collect(),
        packets: 0,
        last_hit: None,
        state,
        resolved_from: None,
        age_seconds: None,
        unresolved: Vec::new(),
        error: None,
        notes: Vec::new(),
    };
    let Some(detail) = detail else { return status };
    status.notes = detail.notes;
    // Nothing that is asked about an address changes what it stands for.
    if !is_literal {
        let part = |(part, why)| Unresolved { part, why };
        status.resolved_from = detail.resolved_from;
        status.age_seconds = detail.age_seconds;
        status.unresolved = detail.unresolved.into_iter().map(part).collect();
        status.error = detail.error;
    }
    status
}

#[cfg(test)]
mod tests {
    use dbfw_core::source::{Origin, TrustedSource};

    use super::*;

    fn rule(text: &str, prefixes: &[&str]) -> Rule {
        let mut source: TrustedSource = text.parse().unwrap();
        source.expires_at = Some("2026-03-01T14:00:00Z".parse().unwrap());
        let prefixes: Vec<Prefix> = prefixes.iter().map(|text| text.parse().unwrap()).collect();
        Rule::of_source(source.into(), Origin::Config, prefixes)
    }

    fn detail() -> SourceDetail {
        SourceDetail {
            state: SourceState::Stale,
            resolved_from: Some("GET /v2/droplets?tag_name=backend".to_owned()),
            age_seconds: Some(90),
            unresolved: vec![("droplet 7".to_owned(), "is still being created".to_owned())],
            error: Some("no answer".to_owned()),
            notes: vec!["a note".to_owned()],
        }
    }

    fn at(time: &str) -> Timestamp {
        format!("2026-03-01T{time}Z").parse().unwrap()
    }

    #[test]
    fn a_source_that_stands_for_nothing_is_told_with_the_reason() {
        let status = status_of(&rule("tag:backend", &[]), Some(detail()), at("12:00:00"));
        assert_eq!((status.state, status.prefixes.len()), (SourceState::Stale, 0));
        assert_eq!(status.age_seconds, Some(90));
        assert_eq!(status.unresolved[0].why, "is still being created");
        assert_eq!(status.error.as_deref(), Some("no answer"));
    }

    #[test]
    fn the_state_of_what_was_not_asked_for() {
        let state = |rule: &Rule, time| status_of(rule, None, at(time)).state;
        assert_eq!(state(&rule("tag:backend", &[]), "12:00:00"), SourceState::Pending);
        let address = rule("ip_addr:10.0.0.1", &["10.0.0.1"]);
        assert_eq!(state(&address, "13:59:59"), SourceState::Literal);
        assert_eq!(state(&address, "14:00:00"), SourceState::Expired);
    }

    #[test]
    fn an_address_stays_what_it_is_whatever_was_asked_about_it() {
        let address = rule("ip_addr:10.0.0.0", &["10.0.0.0"]);
        let status = status_of(&address, Some(detail()), at("12:00:00"));
        assert_eq!(
            (status.state, status.error, status.age_seconds),
            (SourceState::Literal, None, None)
        );
        assert_eq!(status.notes, ["a note"]);
    }
}
