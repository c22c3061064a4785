//! Documents about maps, policy and traffic, the same from the agent and from the pins.

pub mod drops;
pub mod explain;
pub(crate) mod forwarding;
pub mod offline;
pub mod scrape;
pub mod sources;
pub mod status;
pub mod suggest;
mod trial;
