//! [`Trusted`]: a trusted source as an audit knows it, and X-2.

use jiff::{SignedDuration, Timestamp};

use super::{check::CheckId, finding::Finding};
use crate::source::PrefixSet;

/// The time without a packet after which a trusted source counts as unused.
pub const UNUSED_AFTER: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A trusted source of a database.
#[derive(Clone, Debug, Default)]
pub struct Trusted {
    /// "tag:backend".
    pub source: String,
    /// For people.
    pub description: Option<String>,
    /// The database's users that are meant to come from it; none: nobody said.
    pub users: Vec<String>,
    /// The addresses that it stands for.
    pub prefixes: PrefixSet,
    /// The moment since when its packets are counted; `None`: they are not.
    pub since: Option<Timestamp>,
    /// The time of the last of them.
    pub last_hit: Option<Timestamp>,
}

impl Trusted {
    /// Its name with its description.
    pub fn shown(&self) -> String {
        match &self.description {
            Some(description) => format!("{} ({description})", self.source),
            None => self.source.clone(),
        }
    }

    /// Whether none of its packets came for long; `None`: it was not watched for as long.
    pub(super) fn is_unused(&self, now: Timestamp) -> Option<bool> {
        match (self.since, self.last_hit) {
            (_, Some(hit)) => Some(is_long_ago(hit, now)),
            (Some(since), None) if is_long_ago(since, now) => Some(true),
            (Some(_) | None, None) => None,
        }
    }
}

fn is_long_ago(then: Timestamp, now: Timestamp) -> bool {
    now.duration_since(then) >= UNUSED_AFTER
}

/// Finds trusted sources that are not used.
pub fn judge_uses(trusted: &[Trusted], now: Timestamp) -> Vec<Finding> {
    let days = |since: Timestamp| now.duration_since(since).as_hours() / 24;
    let (mut findings, mut too_short) = (Vec::new(), Vec::new());
    for source in trusted {
        let name = source.shown();
        let fail = |text| Finding::fail(CheckId::X2, text).about(&source.source);
        match (source.is_unused(now), source.last_hit, source.since) {
            (Some(false), ..) => {}
            (Some(true), Some(hit), _) => {
                findings.push(fail(format!("{name}: no packet for {} days", days(hit))));
            }
            (Some(true), None, Some(since)) => findings.push(fail(format!(
                "{name}: no packet in the {} days that it is counted",
                days(since)
            ))),
            (None, ..) | (Some(true), None, None) => too_short.push(name),
        }
    }
    match (&*findings, &*too_short) {
        ([], []) => findings.push(Finding::ok(
            CheckId::X2,
            format!("each of {} trusted sources sent packets in the last 30 days", trusted.len()),
        )),
        (_, []) => {}
        (_, [first, rest @ ..]) => findings.push(Finding::unknown(
            CheckId::X2,
            match rest.len() {
                0 => format!("{first} is not counted for 30 days yet"),
                others => format!("{first} and {others} more are not counted for 30 days yet"),
            },
        )),
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{super::finding::State, *};

    #[test]
    fn sources_are_unused_once_they_were_watched_for_long_enough() {
        let now: Timestamp = "2026-11-28T12:00:00Z".parse().unwrap();
        let ago = |days: i64| Some(now - SignedDuration::from_hours(24 * days));
        for (since, last_hit, state, text) in [
            (ago(90), ago(41), State::Fail, "tag:a (app): no packet for 41 days"),
            (ago(90), None, State::Fail, "no packet in the 90 days that it is counted"),
            (ago(90), ago(29), State::Ok, "each of 1 trusted sources"),
            (ago(3), None, State::Unknown, "tag:a (app) is not counted for 30 days yet"),
            (None, None, State::Unknown, "is not counted for 30 days yet"),
            (ago(3), ago(1), State::Ok, "each of 1"),
        ] {
            let source = Trusted {
                source: "tag:a".to_owned(),
                description: Some("app".to_owned()),
                since,
                last_hit,
                ..Trusted::default()
            };
            let findings = judge_uses(&[source], now);
            assert_eq!(findings.len(), 1, "{text}");
            assert_eq!(findings[0].state(), state, "{text}");
            assert!(findings[0].text().contains(text), "{}", findings[0].text());
        }
    }
}
