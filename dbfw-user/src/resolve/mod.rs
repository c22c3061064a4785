//! From a trusted source to its prefixes.

use crate::source::{GrammarError, Prefix, SourceType, TrustedSource};

/// A source that could not be resolved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The value is wrong.
    #[error("{source_text}: {error}")]
    Value {
        /// The source, `type:value`.
        source_text: String,
        /// What is wrong.
        error: GrammarError,
    },
    /// No resolver knows this type.
    #[error("{0} needs the DigitalOcean provider, which this version does not have")]
    NoResolver(TrustedSource),
}

/// The prefixes of a source: canonical, sorted, no duplicates.
pub fn resolve(source: &TrustedSource) -> Result<Vec<Prefix>, ResolveError> {
    match source.kind {
        SourceType::IpAddr => match source.literal_prefixes() {
            Some(Ok(mut prefixes)) => {
                prefixes.sort_unstable();
                prefixes.dedup();
                Ok(prefixes)
            }
            Some(Err(error)) => Err(ResolveError::Value { source_text: source.to_string(), error }),
            None => Err(ResolveError::NoResolver(source.clone())),
        },
        SourceType::Droplet | SourceType::K8s | SourceType::Tag | SourceType::App => {
            Err(ResolveError::NoResolver(source.clone()))
        }
    }
}
