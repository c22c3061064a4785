//! The tables of a configuration file, one file each. Those of the workers are in `dbfw-provider`.

pub(crate) mod agent;
pub(crate) mod audit;
pub(crate) mod database;
pub(crate) mod provider;
pub(crate) mod server;
