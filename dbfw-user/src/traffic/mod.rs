//! Traffic as the agent remembers it: refused packets, their rates, and refused sources.

pub mod drops;
pub mod refused;
