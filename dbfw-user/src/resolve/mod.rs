//! Prefixes that a trusted source's own text names.

use crate::source::{Prefix, TrustedSource};

/// The prefixes a source's own text names: canonical, sorted, no duplicates; `None` if they
/// have to be asked for. The text was checked when it was read.
pub fn literal(source: &TrustedSource) -> Option<Vec<Prefix>> {
    let mut prefixes = source.literal_prefixes()?.unwrap_or_default();
    prefixes.sort_unstable();
    prefixes.dedup();
    Some(prefixes)
}
