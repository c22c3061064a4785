//! A list, its rules, and what a client wants of them.

use dbfw_core::source::SourceKey;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The trusted sources of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// The number of changes so far; 0 is a list that nobody changed yet.
    pub version: u64,
    /// SHA-256 of the change that made this version, in hexadecimal digits; empty at version 0.
    pub change_sha256: String,
    /// The rules, in the client's order.
    pub rules: Vec<Rule>,
}

/// A trusted source of a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its id.
    pub uuid: Uuid,
    /// Its type and value, as written.
    #[serde(flatten)]
    pub key: SourceKey,
    /// The part of it that can be edited.
    #[serde(default, skip_serializing_if = "Details::is_empty")]
    pub details: Details,
    /// The time at which it was added, in whole seconds.
    pub created_at: Timestamp,
    /// The name of the token that added it.
    pub created_by: String,
}

/// The part of a rule that can be edited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The time from which on it is trusted no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl Details {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The setting of a property of a rule that a client sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Setting<T> {
    /// Nothing: what is stored stays.
    #[default]
    Keep,
    /// That there is none.
    Clear,
    /// Its value.
    Set(T),
}

impl<T: Clone> Setting<T> {
    /// The property afterwards, where it is `stored` now.
    pub fn over(&self, stored: Option<&T>) -> Option<T> {
        match self {
            Self::Keep => stored.cloned(),
            Self::Clear => None,
            Self::Set(value) => Some(value.clone()),
        }
    }

    /// This, unless it says nothing and `other` does.
    pub(super) fn or(&self, other: &Self) -> Self {
        match self {
            Self::Keep => other.clone(),
            said => said.clone(),
        }
    }
}

/// A source that a client wants in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its type and value.
    pub key: SourceKey,
    /// For people.
    pub description: Setting<String>,
    /// The time from which on it is trusted no more.
    pub expires_at: Setting<Timestamp>,
}

impl Wanted {
    /// The details afterwards, where they are `stored` now.
    pub(super) fn details(&self, stored: &Details) -> Details {
        Details {
            description: self.description.over(stored.description.as_ref()),
            expires_at: self.expires_at.over(stored.expires_at.as_ref()),
        }
    }
}

impl From<SourceKey> for Wanted {
    /// The source alone.
    fn from(key: SourceKey) -> Self {
        Self { key, description: Setting::Keep, expires_at: Setting::Keep }
    }
}

impl From<&Rule> for Wanted {
    /// The source as it is: its details are kept.
    fn from(rule: &Rule) -> Self {
        rule.key.clone().into()
    }
}
