//! The configuration: from TOML files to the validated form that the agent works with.

mod changes;
mod load;
pub(crate) mod tables;
#[cfg(test)]
mod tests;
mod types;
mod validate;

pub use self::{
    changes::{ConfigChange, Effect, changes},
    load::{agent_section, load, parse},
    types::{AgentConfig, Config, ConfigFile, DatabaseConfig, Fragments},
};
