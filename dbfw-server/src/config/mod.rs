//! The configuration: one TOML file, read strictly.

mod read;
mod store;
#[cfg(test)]
mod tests;
mod types;

pub use self::{
    read::{load, run_dir},
    types::{Config, StoreConfig, Tls},
};
