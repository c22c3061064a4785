//! DigitalOcean: the trusted sources of database clusters, and the addresses of droplets,
//! tags, Kubernetes clusters, apps and VPC networks.
//!
//! [`DigitalOcean`] is the worker. It begins a `round` when one is due; that asks through
//! `fetch`, which decides between a list (`paging`) and single requests. `sources` and
//! `firewall` read the answers; [`dbfw_wire::digitalocean`] has the JSON.

mod config;
mod fetch;
mod firewall;
mod inventory;
mod paging;
mod round;
mod sources;
#[cfg(test)]
mod tests;
mod worker;

pub use self::{
    config::{API_URL, AddressKinds, DigitalOceanConfig},
    worker::DigitalOcean,
};
