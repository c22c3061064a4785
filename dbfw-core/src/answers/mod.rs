//! Answers of providers about each trusted source, and their ages.
//!
//! Workers report an [`Outcome`] for every source they were asked for. The [`Cache`] alone
//! decides what of it stays trusted.

mod answer;
mod cache;
mod edition;
mod entry;
mod error;
mod list;

pub use answer::{Answer, Outcome, Part, Unanswered};
pub use cache::{Cache, Resolution, Stored};
pub use edition::{Edition, Resolved};
pub use entry::{Limits, SourceReport, SourceState};
pub use error::{Cause, FetchError, reason_first};
pub use list::{ClusterId, ListId, ListOutcome, SourceList};
