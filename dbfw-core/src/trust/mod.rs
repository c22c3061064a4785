//! A provider's list, the guards before it, and a database's rules in force.

mod enforced;
mod guards;
mod list;

pub use enforced::{Candidate, Decision, Enforced, ListPart, Refused, is_listed};
pub use guards::{Guards, Limited, OnEmpty};
pub use list::List;
