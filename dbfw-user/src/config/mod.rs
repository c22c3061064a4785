//! The configuration: from TOML files to the validated form that the agent works with.

mod changes;
mod exposed;
mod files;
mod listed;
mod load;
pub(crate) mod tables;
#[cfg(test)]
mod tests;
mod types;
mod validate;

pub(crate) use self::files::{Purpose, files};
pub use self::{
    changes::{ConfigChange, Effect, UnjudgedWays, attached_again, changes, source_changes},
    exposed::{exposed_files, exposed_list},
    listed::{Listed, check_list},
    load::{agent_section, load, parse},
    types::{AgentConfig, AuditLogin, Config, ConfigFile, DatabaseConfig, Fragments},
};
