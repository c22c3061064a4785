//! The configuration: from TOML files to the validated form that the agent works with.

mod load;
pub(crate) mod tables;
#[cfg(test)]
mod tests;
pub(crate) mod toml;
mod types;
mod validate;

pub(crate) use self::{load::utf8, types::is_loopback};
pub use self::{
    load::{agent_section, load, parse},
    toml::problem::{Problem, Problems},
    types::{
        AddressKinds, AgentConfig, AptibleConfig, Config, ConfigFile, DatabaseConfig,
        DigitalOceanConfig, DnsConfig, FeedsConfig, Fragments, HttpConfig, MinPrefix, OnEmpty,
        RequestLimits, TokenSource,
    },
};
