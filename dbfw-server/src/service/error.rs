//! Reasons why the service did not do it.

use crate::{
    list::{NoSuchRule, Violation},
    store::StoreError,
};

/// Reason why the service did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// There is no such database.
    #[error("there is no such database")]
    NoDatabase,
    /// There is no such token.
    #[error("there is no such token")]
    NoToken,
    /// There is no such host.
    #[error("there is no such host")]
    NoHost,
    /// A join token lets nobody join.
    #[error(
        "the join token does not count: it is wrong, used up or over; make another with \
         `dbfw-server join-token`"
    )]
    NotLetIn,
    /// Hosts read the list of a database that is to go.
    #[error(
        "{} the list of this database: remove {} first with `dbfw-server hosts rm`",
        readers(.0),
        if .0.len() == 1 { "it" } else { "them" }
    )]
    HasHosts(Vec<String>),
    /// The list has no such rule.
    #[error(transparent)]
    NoRule(#[from] NoSuchRule),
    /// The list is not the one that If-Match names.
    #[error("the list has changed since it was read: read it again and repeat the change")]
    Precondition,
    /// The list that is wanted cannot be.
    #[error("{}", shown(.0))]
    Invalid(Vec<Violation>),
    /// A field of a document cannot be what it is.
    #[error("{field}: {reason}; {fix}")]
    Field {
        /// The field.
        field: &'static str,
        /// The problem.
        reason: String,
        /// The fix.
        fix: String,
    },
    /// Another thing has the name or the id.
    #[error("{0}")]
    Exists(String),
    /// The history does not reach that far back.
    #[error("the history has no version {0}")]
    NoVersion(u64),
    /// Others changed the same again and again.
    #[error("others change the same: try again")]
    Busy,
    /// The system has no random numbers.
    #[error("the system has no random numbers")]
    NoRandomness,
    /// A stored document is not one.
    #[error("the store has a document that this version cannot read: {0}")]
    Unreadable(String),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ServiceError {
    /// An error about a field.
    pub fn field(field: &'static str, reason: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Field { field, reason: reason.into(), fix: fix.into() }
    }
}

/// Violations or hosts that a message repeats.
const SHOWN: usize = 5;

/// The names of hosts, as the subject of "read".
fn readers(names: &[String]) -> String {
    let first: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
    match names.len().saturating_sub(SHOWN) {
        0 if names.len() == 1 => format!("the host {} reads", first.join(", ")),
        0 => format!("the hosts {} read", first.join(", ")),
        more => format!("the hosts {} and {more} more read", first.join(", ")),
    }
}

fn shown(violations: &[Violation]) -> String {
    let mut lines: Vec<String> = violations.iter().take(SHOWN).map(ToString::to_string).collect();
    match violations.len().saturating_sub(SHOWN) {
        0 => {}
        more => lines.push(format!("and {more} more")),
    }
    lines.join(". ")
}
