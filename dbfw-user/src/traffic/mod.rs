//! Traffic as the agent remembers it: refused packets, their rates, refused sources, and the use of
//! trusted ones.

pub mod drops;
pub mod refused;
pub mod uses;
