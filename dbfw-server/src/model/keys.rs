//! The keys of the store.
//!
//! `approvals/` and `groups/` are kept for what is to come. `leases/` is the store's own, for what is
//! held: the leader, and the servers that run.

use dbfw_core::source::SourceKey;
use dbfw_wire::agent::Digest;
use jiff::Timestamp;
use uuid::Uuid;

use super::{database::Name, session::SessionHash, token::TokenHash};

/// The store itself.
pub const META: &str = "meta";
/// Above every database.
pub const DATABASES: &str = "databases/";
/// Above every list.
pub const LISTS: &str = "lists/";
/// Above the changes of every list.
pub const CHANGES: &str = "changes/";
/// Above every token.
pub const TOKENS: &str = "tokens/";
/// Above every session.
pub const SESSIONS: &str = "sessions/";

/// Above every entry of the fleet's history.
pub const AUDIT: &str = "audit/";
/// Above every host.
pub const HOSTS: &str = "hosts/";
/// Above every join token.
pub const JOINS: &str = "join/";

/// Above what every source was found to stand for.
pub const RESOLVED: &str = "resolved/";
/// Above the pieces of every set of prefixes.
pub const SETS: &str = "sets/";
/// The times at which answers were last confirmed.
pub const CONFIRMED: &str = "confirmed";

/// Digits of a digest that tell sources apart.
const SOURCE_DIGITS: usize = 32;

/// The prefixes that a source was found to stand for. Values have bytes that keys do not.
pub fn resolved(source: &SourceKey) -> String {
    let digits = Digest::of(source.to_string().as_bytes()).digits();
    format!("{RESOLVED}{}", digits.get(..SOURCE_DIGITS).unwrap_or(&digits))
}

/// Above the pieces of a set of prefixes.
pub fn set(digest: Digest) -> String {
    format!("{SETS}{}/", digest.digits())
}

/// A piece of a set of prefixes, from 0.
pub fn piece(digest: Digest, at: usize) -> String {
    format!("{}{at:06}", set(digest))
}

/// The settings of a database.
pub fn database(id: Uuid) -> String {
    format!("{DATABASES}{id}")
}

/// The database that has a name.
pub fn name(name: &Name) -> String {
    format!("names/{name}")
}

/// The list of a database.
pub fn list(database: Uuid) -> String {
    format!("{LISTS}{database}")
}

/// The database of a list's key.
pub fn database_of_list(key: &str) -> Option<Uuid> {
    key.strip_prefix(LISTS)?.parse().ok()
}

/// Above every change of a database's list.
pub fn changes(database: Uuid) -> String {
    format!("{CHANGES}{database}/")
}

/// The change that made a version of a database's list.
pub fn change(database: Uuid, version: u64) -> String {
    // Digits of the largest number: keys sort as numbers do.
    format!("{}{version:020}", changes(database))
}

/// A token.
pub fn token(hash: &TokenHash) -> String {
    format!("{TOKENS}{hash}")
}

/// A session.
pub fn session(hash: &SessionHash) -> String {
    format!("{SESSIONS}{hash}")
}

/// An entry of the fleet's history.
pub fn audit(at: Timestamp, id: Uuid) -> String {
    // Keys sort as times do.
    format!("{AUDIT}{:020}-{id}", at.as_millisecond().max(0))
}

/// A host.
pub fn host(id: Uuid) -> String {
    format!("{HOSTS}{id}")
}

/// A join token.
pub fn join(id: Uuid) -> String {
    format!("{JOINS}{id}")
}
