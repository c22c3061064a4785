//! What the kernel should hold, and the way there. Pure: no IO, no clock.

mod build;
mod guard;
mod plan;
mod slots;

pub use build::{Covering, DatabasePolicy, Policy, PolicyEntry, RuleRef};
pub use guard::{Guard, Refusal, USUAL_MIN_LEN, check_shrink, check_width, lost, narrowest};
pub use plan::{Entries, Holding, Plan, Step, diff, either};
pub use slots::{Assigned, RuleKey, SlotError, SlotTable};

#[cfg(test)]
mod tests;
