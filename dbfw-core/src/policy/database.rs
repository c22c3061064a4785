//! [`DatabasePolicy`]: a database with its rules.

use crate::source::Rule;

/// One database with every rule that is in force for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabasePolicy {
    /// 1 to `dbfw_common::MAX_DATABASES`, no two the same. Nobody reaches a database with
    /// any other id, nor the second of two with the same.
    pub id: u8,
    /// Its name.
    pub name: String,
    /// Its rules. Where two name the same prefix, the first counts the packets.
    pub rules: Vec<Rule>,
}
