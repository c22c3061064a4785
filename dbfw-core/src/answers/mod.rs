//! What providers answered for each trusted source, and how those answers age.
//!
//! Workers report an [`Outcome`] for every source they were asked for. The [`Cache`] alone
//! decides what of it stays trusted.

mod cache;
mod damper;
mod error;

use std::{collections::BTreeMap, time::Duration};

pub use cache::{Cache, Limits, Resolution, SourceState, Stored};
pub use damper::Damper;
pub use error::{Cause, FetchError};

use crate::source::Prefix;

/// What became of asking for one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Answer(Answer),
    /// The answer is the same as the last one.
    Unchanged,
    /// There was no answer, or no usable one: what the last one gave stays.
    Failed(FetchError),
    /// The provider says that there is no such thing (404).
    Gone(String),
}

/// An answer: what is not in it does not belong to the source any more, unless it is among
/// what is `unanswered`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// By what the source consists of ("droplet 123", "node pool-a-x1", "AAAA"). None at
    /// all: the source exists and is empty.
    pub parts: BTreeMap<String, Part>,
    /// What could not be asked for, if anything.
    pub unanswered: Option<Unanswered>,
    /// The request that was answered, for people: "GET /v2/droplets?tag_name=backend".
    pub from: String,
    /// How long an address stays after it vanished from the answer.
    pub grace: Duration,
    /// What is probably not meant, for status and log.
    pub notes: Vec<String>,
}

/// Parts that nobody could list: those that are known stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// How the names of such parts begin: "GPU droplet".
    pub parts: &'static str,
    /// Why not.
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
    /// Its prefixes, in any order.
    Prefixes(Vec<Prefix>),
    /// It could not be asked for: it keeps what it had.
    Failed(FetchError),
    /// It is gone, or has no address, and why: "is still being created".
    Empty(String),
}
