//! Documents about the maps and the policy, the same from the agent and from the pins.

pub mod explain;
pub mod offline;
pub mod scrape;
pub mod sources;
pub mod status;
pub mod suggest;
