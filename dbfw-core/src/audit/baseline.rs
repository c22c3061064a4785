//! [`Accepted`]: the findings that somebody said may be.

use std::{collections::BTreeSet, str::FromStr};

use super::{check::CheckId, finding::Finding};

/// A check whose findings are accepted, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acceptance {
    check: CheckId,
    reason: String,
}

/// The problem of a text that is no acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcceptanceError {
    /// There is no colon.
    #[error("write it as ID:REASON, as in X-2:\"used once a year\"")]
    NoReason,
    /// The reason is empty.
    #[error("say why after the colon, as in X-2:\"used once a year\"")]
    EmptyReason,
    /// The id is not one.
    #[error("there is no check of this id: docs/audit.md has them all")]
    NoCheck,
}

impl FromStr for Acceptance {
    type Err = AcceptanceError;

    fn from_str(text: &str) -> Result<Self, AcceptanceError> {
        let (id, reason) = text.split_once(':').ok_or(AcceptanceError::NoReason)?;
        let check = id.trim().parse().map_err(|_| AcceptanceError::NoCheck)?;
        let reason = reason.trim().to_owned();
        if reason.is_empty() {
            Err(AcceptanceError::EmptyReason)
        } else {
            Ok(Self { check, reason })
        }
    }
}

/// The findings that are accepted: by their check, or one by one because an earlier audit had them.
#[derive(Clone, Debug, Default)]
pub struct Accepted {
    checks: Vec<Acceptance>,
    known: BTreeSet<(CheckId, Option<String>, Option<String>)>,
}

impl Accepted {
    /// Those of these checks, and no others.
    pub fn new(checks: Vec<Acceptance>) -> Self {
        Self { checks, known: BTreeSet::new() }
    }

    /// Adds the finding of an earlier audit, by its database and subject.
    pub fn add_known(&mut self, check: CheckId, database: Option<String>, subject: Option<String>) {
        self.known.insert((check, database, subject));
    }

    /// Accepts those of the findings that are meant.
    pub fn apply(&self, findings: &mut [Finding]) {
        for finding in findings {
            let by_check = self.checks.iter().find(|one| one.check == finding.check());
            let own = |text: Option<&str>| text.map(str::to_owned);
            let key = (finding.check(), own(finding.database()), own(finding.subject()));
            if let Some(Acceptance { reason, .. }) = by_check {
                finding.accept(reason);
            } else if self.known.contains(&key) {
                finding.accept("it is in the baseline");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::finding::State, *};

    #[test]
    fn acceptances_need_a_check_and_a_reason() {
        let accepted: Acceptance = "x-2: once a year: in May ".parse().unwrap();
        assert_eq!(accepted.check, CheckId::X2);
        assert_eq!(accepted.reason, "once a year: in May");
        for (text, error) in [
            ("X-2", AcceptanceError::NoReason),
            ("X-2: ", AcceptanceError::EmptyReason),
            ("X-22:why", AcceptanceError::NoCheck),
            ("", AcceptanceError::NoReason),
        ] {
            assert_eq!(text.parse::<Acceptance>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_baseline_accepts_what_it_has_and_nothing_that_is_new() {
        let mut accepted = Accepted::new(vec!["T-1:a trial".parse().unwrap()]);
        accepted.add_known(CheckId::X1, Some("orders".to_owned()), Some("f:6".to_owned()));
        let at = |check, subject| Finding::fail(check, "").of("orders").about(subject);
        let mut findings = [
            at(CheckId::X1, "f:6"),
            at(CheckId::X1, "f:7"),
            at(CheckId::X1, "f:6").of("users"),
            at(CheckId::T1, "any"),
        ];
        accepted.apply(&mut findings);
        let states = findings.map(|finding| finding.state());
        assert_eq!(states, [State::Accepted, State::Fail, State::Fail, State::Accepted]);
    }
}
