//! The control plane of dbfw: lists of trusted sources, kept in one place and edited through
//! DigitalOcean's API.

pub mod list;
pub mod model;
pub mod service;
pub mod store;
