//! The tables of a configuration file, one file each.

pub(crate) mod agent;
pub(crate) mod aptible;
pub(crate) mod audit;
pub(crate) mod database;
pub(crate) mod digitalocean;
pub(crate) mod dns;
pub(crate) mod feeds;
pub(crate) mod http;
pub(crate) mod provider;
pub(crate) mod server;
