//! The desired state of the kernel, the guards that check it, and the plan to reach it.

mod build;
mod changed;
mod database;
mod guard;
mod plan;
mod slots;

pub use build::{Covering, Policy, PolicyEntry, RuleKey, RuleRef};
pub use changed::{Changed, differing};
pub use database::DatabasePolicy;
pub use guard::{Guard, Refusal, USUAL_MIN_LEN, check_shrink, check_width, is_narrow, narrowest};
pub use plan::{CurrentEntries, Entries, Plan, diff, union};
pub use slots::{Assigned, SlotError, SlotTable};

#[cfg(test)]
mod tests;
