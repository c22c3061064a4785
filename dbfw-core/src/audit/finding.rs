//! [`Finding`]: the result of a check.

use std::cmp::Reverse;

use strum::{Display, EnumString};

use super::check::{CheckId, Severity};
use crate::escaped;

/// Findings of a check; the rest is counted.
pub(super) const MAX_FINDINGS: usize = 20;
/// Characters of a text; more of it is cut off.
const MAX_TEXT: usize = 400;

/// The result of a check, the most pressing first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Display, EnumString)]
#[strum(serialize_all = "lowercase")]
pub enum State {
    /// The problem is there.
    Fail,
    /// The check could not be made.
    Unknown,
    /// The problem is there, and somebody said that it may be.
    Accepted,
    /// The problem is not there.
    Ok,
}

/// The result of a check for one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    check: CheckId,
    severity: Severity,
    state: State,
    database: Option<String>,
    subject: Option<String>,
    text: String,
    reason: Option<String>,
}

impl Finding {
    fn new(check: CheckId, state: State, text: &str) -> Self {
        Self {
            check,
            severity: check.check().severity,
            state,
            database: None,
            subject: None,
            text: bounded(text),
            reason: None,
        }
    }

    /// A problem.
    pub fn fail(check: CheckId, text: impl AsRef<str>) -> Self {
        Self::new(check, State::Fail, text.as_ref())
    }

    /// No problem.
    pub fn ok(check: CheckId, text: impl AsRef<str>) -> Self {
        Self::new(check, State::Ok, text.as_ref())
    }

    /// A check that could not be made, and the reason.
    pub fn unknown(check: CheckId, why: impl AsRef<str>) -> Self {
        Self::new(check, State::Unknown, why.as_ref())
    }

    /// The finding about a subject, such as an endpoint, a line or a trusted source.
    pub fn about(self, subject: impl AsRef<str>) -> Self {
        Self { subject: Some(bounded(subject.as_ref())), ..self }
    }

    /// The finding about a subject that its text does not name.
    pub fn at(self, subject: &str) -> Self {
        let text = bounded(&format!("{subject}: "));
        Self { text: text + &self.text, ..self }.about(subject)
    }

    /// The finding of a database.
    pub fn of(self, database: &str) -> Self {
        Self { database: Some(database.to_owned()), ..self }
    }

    /// The finding with a weight of its own.
    pub fn weighing(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }

    /// The check.
    pub fn check(&self) -> CheckId {
        self.check
    }

    /// The weight.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// The result.
    pub fn state(&self) -> State {
        self.state
    }

    /// The database; `None`: it is about the host.
    pub fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }

    /// The subject; `None`: all of the database, or of the host.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// The facts, escaped: some of them are others' words.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The reason why it is accepted.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Accepts a problem.
    pub(super) fn accept(&mut self, reason: &str) {
        if self.state == State::Fail {
            self.state = State::Accepted;
            self.reason = Some(bounded(reason));
        }
    }

    /// Sorts findings, the worst first.
    pub fn sort(findings: &mut [Self]) {
        findings.sort_by(|a, b| {
            let key = |finding: &Self| (finding.state, Reverse(finding.severity), finding.check);
            key(a)
                .cmp(&key(b))
                .then_with(|| a.database.cmp(&b.database))
                .then_with(|| a.subject.cmp(&b.subject))
        });
    }
}

/// The finding that there are more of a kind than are listed.
pub(super) fn rest(check: CheckId, found: usize, what: &str) -> Option<Finding> {
    let more = found.checked_sub(MAX_FINDINGS).filter(|more| *more > 0)?;
    Some(Finding::fail(check, format!("{more} more {what}")).about("more"))
}

/// The findings of a check about several subjects, or one that all is well. A doubt is added.
pub(super) fn listed(
    check: CheckId,
    failed: Vec<(String, String)>,
    what: &str,
    doubt: Option<String>,
    fine: &str,
) -> Vec<Finding> {
    let count = failed.len();
    let mut findings: Vec<Finding> = failed
        .into_iter()
        .take(MAX_FINDINGS)
        .map(|(subject, text)| Finding::fail(check, text).about(subject))
        .collect();
    findings.extend(rest(check, count, what));
    match doubt {
        Some(why) => findings.push(Finding::unknown(check, why)),
        None if count == 0 => findings.push(Finding::ok(check, fine)),
        None => {}
    }
    findings
}

/// A text that a terminal takes, or its beginning.
fn bounded(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => escaped(&text[..end]) + "…",
        None => escaped(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_others_are_escaped_and_cut() {
        let finding = Finding::fail(CheckId::T1, "a\u{1b}[2Jb\u{202e}").about("x\ny").of("orders");
        assert_eq!(finding.text(), "a\\u{1b}[2Jb\\u{202e}");
        assert_eq!(finding.subject(), Some("x\\ny"));
        let long = Finding::fail(CheckId::T1, "ä".repeat(1_000));
        assert_eq!(long.text().chars().count(), MAX_TEXT + 1);
    }

    #[test]
    fn the_worst_is_first_and_what_is_unknown_before_what_is_accepted() {
        let mut accepted = Finding::fail(CheckId::A1, "");
        accepted.accept("a trial");
        let mut findings = [
            Finding::ok(CheckId::T3, ""),
            accepted,
            Finding::unknown(CheckId::T4, ""),
            Finding::fail(CheckId::T8, ""),
            Finding::fail(CheckId::T5, "").weighing(Severity::Medium),
            Finding::fail(CheckId::T1, "").of("b"),
            Finding::fail(CheckId::T1, "").of("a"),
        ];
        Finding::sort(&mut findings);
        let order: Vec<_> =
            findings.iter().map(|found| (found.check(), found.database())).collect();
        assert_eq!(
            order,
            [
                (CheckId::T1, Some("a")),
                (CheckId::T1, Some("b")),
                (CheckId::T5, None),
                (CheckId::T8, None),
                (CheckId::T4, None),
                (CheckId::A1, None),
                (CheckId::T3, None),
            ]
        );
    }

    #[test]
    fn only_problems_are_accepted() {
        for (mut finding, state) in [
            (Finding::fail(CheckId::T1, ""), State::Accepted),
            (Finding::unknown(CheckId::T1, ""), State::Unknown),
            (Finding::ok(CheckId::T1, ""), State::Ok),
        ] {
            finding.accept("because");
            assert_eq!(finding.state(), state);
            assert_eq!(finding.reason().is_some(), state == State::Accepted);
        }
    }
}
