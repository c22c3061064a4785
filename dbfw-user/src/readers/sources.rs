//! The document of `dbfw sources`, made of the rules in force and their counters.

use std::collections::HashMap;

use dbfw_core::{
    answers::SourceReport,
    policy::{RuleKey, SlotTable},
    source::{Prefix, Rule},
};
use dbfw_datapath::{DatapathError, Reader};
use dbfw_wire::control::{SourceState, SourceStatus, Sources, Unresolved};
use jiff::Timestamp;

use super::status::{View, age_seconds};
use crate::traffic::{
    drops::Clock,
    uses::{SourceCounters, SourceUses, UsedSource},
};

/// The counters of the sources that are `wanted` and have any. Reading one is a system call.
///
/// # Errors
///
/// The counters cannot be read.
pub fn count(
    reader: &Reader,
    slots: &SlotTable,
    wanted: impl Fn(&RuleKey) -> bool,
) -> Result<HashMap<UsedSource, SourceCounters>, DatapathError> {
    let clock = Clock::read().ok();
    let mut counted: HashMap<UsedSource, SourceCounters> = HashMap::new();
    for (slot, key) in slots.slots().filter(|(_, key)| wanted(key)) {
        let source = UsedSource::new(&key.database, &key.source);
        counted.entry(source).or_default().add(count_slot(reader, slot, clock)?);
    }
    Ok(counted)
}

/// The counters of one slot.
///
/// # Errors
///
/// The counters cannot be read.
pub fn count_slot(
    reader: &Reader,
    slot: u32,
    clock: Option<Clock>,
) -> Result<SourceCounters, DatapathError> {
    let read = reader.rule(slot)?;
    let last_hit = clock.filter(|_| read.last_hit != 0).map(|clock| clock.at(read.last_hit));
    Ok(SourceCounters { packets: read.packets, last_hit })
}

/// The document of `dbfw sources`. `report` tells what the agent knows of a rule of a database: the
/// state of a source that is resolved, notes about others. `uses` is what was counted before.
///
/// # Errors
///
/// The counters cannot be read.
pub fn sources(
    view: &View<'_>,
    report: &dyn Fn(&str, &Rule) -> SourceReport,
    uses: &SourceUses,
) -> Result<Sources, DatapathError> {
    let counted = count(view.reader, view.slots, |_| true)?;
    let now = Timestamp::now();
    let mut sources = Vec::new();
    for database in view.policy.databases() {
        for rule in &database.rules {
            let key = UsedSource::new(&database.name, &rule.kind.to_string());
            let used = uses.of(&key, counted.get(&key), now);
            let report = report(&database.name, rule);
            let status = status_of(rule, report, now);
            sources.push(SourceStatus {
                database: database.name.clone(),
                since: used.map(|used| used.since),
                packets: used.map_or(0, |used| used.packets),
                last_hit: used.and_then(|used| used.last_hit),
                ..status
            });
        }
    }
    Ok(Sources { sources })
}

/// Status of a rule, without its counters.
fn status_of(rule: &Rule, mut report: SourceReport, now: Timestamp) -> SourceStatus {
    let is_literal = rule.source().is_none_or(|source| source.key().prefixes().is_some());
    let expires_at = rule.kind.expires_at();
    let state = match report.state {
        _ if expires_at.is_some_and(|at| at <= now) => SourceState::Expired,
        _ if is_literal => SourceState::Literal,
        state => state.into(),
    };
    if is_literal {
        // Nothing that is asked about an address changes what it stands for.
        report = SourceReport { notes: report.notes, ..SourceReport::default() };
    }
    let part = |(part, why)| Unresolved { part, why };
    SourceStatus {
        database: String::new(),
        source: rule.kind.to_string(),
        origin: rule.origin.to_string(),
        description: rule.kind.description().map(str::to_owned),
        expires_at,
        users: rule.kind.users().to_vec(),
        prefixes: rule.prefixes.iter().map(Prefix::to_string).collect(),
        since: None,
        packets: 0,
        last_hit: None,
        state,
        resolved_from: report.from,
        age_seconds: report.answered_at.map(|at| age_seconds(at, now)),
        unresolved: report.unresolved.into_iter().map(part).collect(),
        error: report.error.map(|error| error.to_string()),
        notes: report.notes,
    }
}

#[cfg(test)]
mod tests {
    use dbfw_core::{
        answers::{self, Cause, FetchError},
        source::{Origin, TrustedSource},
    };

    use super::*;

    fn rule(text: &str, prefixes: &[&str]) -> Rule {
        let mut source: TrustedSource = text.parse().unwrap();
        source.expires_at = Some("2026-03-01T14:00:00Z".parse().unwrap());
        let prefixes: Vec<Prefix> = prefixes.iter().map(|text| text.parse().unwrap()).collect();
        Rule::of_source(source.into(), Origin::Config, prefixes)
    }

    fn report() -> SourceReport {
        SourceReport {
            state: answers::SourceState::Stale,
            from: Some("GET /v2/droplets?tag_name=backend".to_owned()),
            answered_at: Some(at("11:58:30")),
            unresolved: vec![("droplet 7".to_owned(), "is still being created".to_owned())],
            error: Some(FetchError::new(Cause::Timeout, "no answer")),
            notes: vec!["a note".to_owned()],
        }
    }

    fn at(time: &str) -> Timestamp {
        format!("2026-03-01T{time}Z").parse().unwrap()
    }

    #[test]
    fn a_source_that_stands_for_nothing_is_told_with_the_reason() {
        let status = status_of(&rule("tag:backend", &[]), report(), at("12:00:00"));
        assert_eq!((status.state, status.prefixes.len()), (SourceState::Stale, 0));
        assert_eq!(status.age_seconds, Some(90));
        assert_eq!(status.unresolved[0].why, "is still being created");
        assert_eq!(status.error.as_deref(), Some("no answer"));
    }

    #[test]
    fn the_state_of_what_was_not_asked_for() {
        let state = |rule: &Rule, time| status_of(rule, SourceReport::default(), at(time)).state;
        assert_eq!(state(&rule("tag:backend", &[]), "12:00:00"), SourceState::Pending);
        let address = rule("ip_addr:10.0.0.1", &["10.0.0.1"]);
        assert_eq!(state(&address, "13:59:59"), SourceState::Literal);
        assert_eq!(state(&address, "14:00:00"), SourceState::Expired);
    }

    #[test]
    fn an_address_stays_what_it_is_whatever_was_asked_about_it() {
        let address = rule("ip_addr:10.0.0.0", &["10.0.0.0"]);
        let status = status_of(&address, report(), at("12:00:00"));
        assert_eq!(
            (status.state, status.error, status.age_seconds),
            (SourceState::Literal, None, None)
        );
        assert_eq!(status.notes, ["a note"]);
    }
}
