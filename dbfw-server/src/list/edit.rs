//! Changes of single rules.

use dbfw_core::source::SourceKey;
use jiff::Timestamp;
use uuid::Uuid;

use super::rule::{Rule, Setting, Wanted};

/// A change of a list that does not name all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Adds a source, first; one that is there already gets what is said about it.
    Add(Wanted),
    /// Changes the details of a rule.
    Describe {
        /// The rule.
        uuid: Uuid,
        /// For people.
        description: Setting<String>,
        /// The time from which on it is trusted no more.
        expires_at: Setting<Timestamp>,
    },
    /// Removes a rule.
    Remove(Uuid),
    /// Removes a source, by type and value.
    RemoveSource(SourceKey),
    /// Removes what has expired by this time.
    Expire(Timestamp),
}

/// A list has no such rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the list has no such trusted source")]
pub struct NoSuchRule;

impl Edit {
    /// The list that is wanted after it.
    ///
    /// # Errors
    /// The rule to change is not there.
    pub fn apply(&self, current: &[Rule]) -> Result<Vec<Wanted>, NoSuchRule> {
        let mut wanted: Vec<Wanted> = current.iter().map(Wanted::from).collect();
        let find = |is_it: &dyn Fn(&Rule) -> bool| current.iter().position(is_it);
        match self {
            Self::Add(added) => match find(&|rule| rule.key == added.key) {
                Some(at) => wanted[at] = added.clone(),
                None => wanted.insert(0, added.clone()),
            },
            Self::Describe { uuid, description, expires_at } => {
                let at = find(&|rule| rule.uuid == *uuid).ok_or(NoSuchRule)?;
                wanted[at].description = description.clone();
                wanted[at].expires_at = expires_at.clone();
            }
            Self::Remove(uuid) => {
                wanted.remove(find(&|rule| rule.uuid == *uuid).ok_or(NoSuchRule)?);
            }
            Self::RemoveSource(key) => {
                wanted.remove(find(&|rule| rule.key == *key).ok_or(NoSuchRule)?);
            }
            Self::Expire(now) => {
                let is_over = |rule: &Rule| rule.details.expires_at.is_some_and(|at| at <= *now);
                wanted = current.iter().filter(|rule| !is_over(rule)).map(Wanted::from).collect();
            }
        }
        Ok(wanted)
    }
}
