//! Results of asking for one source.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::error::FetchError;
use crate::source::{Prefix, PrefixSet};

/// Result of asking for one source, or for a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<T = Answer> {
    /// A whole answer, which may be the same as the one before.
    Answer(Arc<T>),
    /// No answer, or no usable one: what the last one said stays.
    Failed(FetchError),
    /// The provider says that it does not exist (404).
    Gone(String),
}

impl<T> From<T> for Outcome<T> {
    fn from(answer: T) -> Self {
        Self::Answer(answer.into())
    }
}

/// Answer of a provider. A part that is missing here does not belong to the source any more,
/// unless it is among the `unanswered`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Parts by name ("droplet 123", "node pool-a-x1", "AAAA"). None at all: the source exists
    /// and is empty.
    pub parts: BTreeMap<String, Part>,
    /// The parts that could not be asked for, if any.
    pub unanswered: Option<Unanswered>,
    /// The request that was answered, for people: "GET /v2/droplets?tag_name=backend".
    pub from: String,
    /// Time for which an address stays after it vanished from the answer.
    pub grace: Duration,
    /// Notes on what is probably not meant, for status and log.
    pub notes: Vec<String>,
}

/// Parts that nobody could list: those that are known stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// Prefix of the names of such parts: "GPU droplet".
    pub parts: &'static str,
    /// The reason.
    pub error: FetchError,
}

impl Unanswered {
    /// Whether a part of this name is one of them.
    pub fn has(&self, part: &str) -> bool {
        part.starts_with(self.parts)
    }
}

/// One part of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its prefixes.
    Prefixes(PrefixSet),
    /// It could not be asked for: it keeps what it had.
    Failed(FetchError),
    /// It is gone, or has no address, and why: "is still being created".
    Empty(String),
}

impl Part {
    /// A part of these prefixes, in any order.
    pub fn prefixes(prefixes: Vec<Prefix>) -> Self {
        Self::Prefixes(prefixes.into())
    }

    /// Its prefixes, as far as they are known.
    pub fn known(&self) -> &[Prefix] {
        match self {
            Self::Prefixes(prefixes) => prefixes,
            Self::Failed(_) | Self::Empty(_) => &[],
        }
    }
}
