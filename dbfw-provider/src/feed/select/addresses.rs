//! The addresses of a document that is being read.

use dbfw_core::source::{Prefix, PrefixError, parse_prefixes};

use crate::list::MAX_ENTRIES;

/// The advice where no other can be given.
pub(super) const UNUSED: &str = "the feed is not used until it is fixed";

/// The addresses of a document that is being read.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// At least one for every entry, for a range up to 254.
    prefixes: Vec<Prefix>,
}

/// The reason why an entry was not taken.
#[derive(Debug)]
pub(super) enum EntryError {
    Entry(PrefixError),
    TooMany,
}

impl Addresses {
    /// Takes an address, a CIDR or a range.
    pub(super) fn push(&mut self, entry: &str) -> Result<(), EntryError> {
        self.prefixes.extend(parse_prefixes(entry).map_err(EntryError::Entry)?);
        if self.prefixes.len() > MAX_ENTRIES { Err(EntryError::TooMany) } else { Ok(()) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    pub(super) fn finish(mut self) -> Vec<Prefix> {
        self.prefixes.sort_unstable();
        self.prefixes.dedup();
        self.prefixes
    }
}

impl EntryError {
    /// In words, with the place.
    pub(super) fn at(&self, place: &str) -> String {
        match self {
            Self::Entry(error @ PrefixError::Address { .. }) => {
                format!("{place}: {error}: {UNUSED}")
            }
            Self::Entry(error) => format!("{place}: {}: {UNUSED}", error.with_fix()),
            Self::TooMany => {
                format!("{place}: more than {MAX_ENTRIES} prefixes: use a shorter list")
            }
        }
    }
}
