//! What can be seen of dbfw: metrics, drop events, health, and what `dbfw doctor` finds.

pub mod doctor;
pub mod drops;
pub mod http;
pub mod metrics;
pub mod offline;
pub mod status;
