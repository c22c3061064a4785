//! Property tests against independent models.

mod changed;
mod guard;
mod plan;
mod policy;
mod slots;
pub(super) mod support;
