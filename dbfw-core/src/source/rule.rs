//! [`Rule`]: a trusted source with its origin and its prefixes.

use std::{borrow::Cow, fmt, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::Display;

use super::{
    grammar::SourceType,
    prefix::Prefix,
    prefix_set::PrefixSet,
    trusted::{TrustedSource, UncheckedSource},
};

/// The origin of a trusted source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Display, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Origin {
    /// The configuration.
    Config,
    /// A provider's list; the text names it ("file:/etc/dbfw/orders.list").
    #[strum(to_string = "{0}")]
    Provider(Arc<str>),
    /// `dbfw trust add`.
    Local,
}

/// A trusted source, or several that count as one, with the prefixes it stands for. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The kind of rule.
    pub kind: RuleKind,
    /// The origin of the rule.
    pub origin: Origin,
    /// The prefixes it resolved to.
    pub prefixes: PrefixSet,
}

/// The kind of a [`Rule`]. As text it looks like a source, `type:value`, and is for display only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleKind {
    /// One trusted source, as somebody wrote it.
    Source(Arc<TrustedSource>),
    /// All lines of a long list that are bare addresses, as one rule.
    PlainLines,
    /// Everybody: the provider's list is empty, and `on_empty` is `open`.
    Everybody,
    /// A prefix found in the maps at a start that had neither list nor snapshot.
    Adopted(Prefix),
}

impl Rule {
    /// The rule of one trusted source.
    pub fn of_source(
        source: Arc<TrustedSource>,
        origin: Origin,
        prefixes: impl Into<PrefixSet>,
    ) -> Self {
        Self { kind: RuleKind::Source(source), origin, prefixes: prefixes.into() }
    }

    /// The plain lines of a long list.
    pub fn plain_lines(origin: Origin, prefixes: PrefixSet) -> Self {
        Self { kind: RuleKind::PlainLines, origin, prefixes }
    }

    /// Everybody, as an empty list means with `on_empty = "open"`.
    pub fn everybody(provider: Arc<str>) -> Self {
        Self {
            kind: RuleKind::Everybody,
            origin: Origin::Provider(provider),
            prefixes: [Prefix::ANY4, Prefix::ANY6].into(),
        }
    }

    /// A prefix that an earlier agent left in the maps.
    pub fn adopted(origin: Origin, prefix: Prefix) -> Self {
        Self { kind: RuleKind::Adopted(prefix), origin, prefixes: [prefix].into() }
    }

    /// Its source, if it is the rule of one.
    pub fn source(&self) -> Option<&Arc<TrustedSource>> {
        match &self.kind {
            RuleKind::Source(source) => Some(source),
            RuleKind::PlainLines | RuleKind::Everybody | RuleKind::Adopted(_) => None,
        }
    }
}

impl RuleKind {
    /// The value it is shown with.
    pub fn value(&self) -> Cow<'_, str> {
        match self {
            Self::Source(source) => source.key().value().into(),
            Self::PlainLines => "lines without a comment".into(),
            Self::Everybody => "0.0.0.0/0, ::/0".into(),
            Self::Adopted(prefix) => prefix.to_string().into(),
        }
    }

    /// The type it is shown with.
    fn source_type(&self) -> SourceType {
        match self {
            Self::Source(source) => source.kind(),
            Self::PlainLines | Self::Everybody | Self::Adopted(_) => SourceType::IpAddr,
        }
    }

    /// Its description, for people.
    pub fn description(&self) -> Option<&str> {
        match self {
            Self::Source(source) => source.description.as_deref(),
            Self::PlainLines => None,
            Self::Everybody => Some("the provider's list is empty and on_empty is open"),
            Self::Adopted(_) => Some("found in the maps at start, with no list to read"),
        }
    }

    /// The form in files: all of a source, and of other kinds the text they are shown as.
    pub fn to_unchecked(&self) -> UncheckedSource {
        UncheckedSource {
            kind: self.source_type(),
            value: self.value().into_owned(),
            description: self.description().map(str::to_owned),
            expires_at: self.expires_at(),
            users: self.users().to_vec(),
        }
    }

    /// The database's users that are meant to come from it; none: nobody said.
    pub fn users(&self) -> &[String] {
        match self {
            Self::Source(source) => &source.users,
            Self::PlainLines | Self::Everybody | Self::Adopted(_) => &[],
        }
    }

    /// The time from which on it is trusted no more.
    pub fn expires_at(&self) -> Option<Timestamp> {
        match self {
            Self::Source(source) => source.expires_at,
            Self::PlainLines | Self::Everybody | Self::Adopted(_) => None,
        }
    }
}

impl fmt::Display for RuleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source_type(), self.value())
    }
}
