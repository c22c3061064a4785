//! What can be seen of dbfw: metrics, drop events, health, what `dbfw doctor` finds, and what
//! `dbfw suggest` proposes.

pub mod doctor;
pub mod drops;
pub mod http;
pub mod metrics;
pub mod offline;
pub mod refused;
pub mod status;
pub mod suggest;
