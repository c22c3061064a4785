//! Trusted sources: their grammar, their prefixes, and where each came from.

mod address;
mod dns_name;
mod error;
mod expiry;
mod feed;
mod grammar;
pub mod lines;
mod mistake;
mod parse;
mod prefix;
mod prefix_map;
mod prefix_set;
mod rule;
mod trusted;

pub use address::unusable_source;
pub use error::ParseError;
pub use expiry::Expiry;
pub use feed::{Column, FeedValue, Location, Selector};
pub use grammar::{GrammarError, SourceType};
pub use mistake::Mistake;
pub use parse::parse_prefixes;
pub use prefix::{Prefix, PrefixError};
pub use prefix_map::PrefixMap;
pub(crate) use prefix_set::{Extent, LARGE, is_private6};
pub use prefix_set::{PrefixSet, PrefixUnion};
pub use rule::{Origin, Rule, RuleKind};
pub use trusted::{SourceKey, TrustedSource, UncheckedSource};
