//! Lists of trusted sources: identity, merging, differences and checks. Pure.
//!
//! A source *is* its type and value. A uuid belongs to one of them for ever; only the
//! description and the expiry behind it change.

mod difference;
mod edit;
mod identity;
mod merge;
#[cfg(test)]
mod properties;
mod rule;
mod validate;

pub use self::{
    difference::{Difference, Edited, Misfit, Order, Placed},
    edit::{Edit, NoSuchRule},
    identity::{Maker, identify},
    merge::{Merged, merge},
    rule::{Details, List, Rule, Setting, Wanted},
    validate::{
        Field, Limits, MAX_DESCRIPTION, MAX_RULES, MAX_VALUE, Violation, read, read_description,
        read_expiry, validate,
    },
};
