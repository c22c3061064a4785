//! Property tests against independent models.

mod guard;
mod plan;
mod policy;
mod slots;
pub(super) mod support;
