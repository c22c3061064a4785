//! What a provider's account holds, as far as an address can be matched to it. Pure.

use crate::source::{Prefix, SourceKey};

/// Machines and networks of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Droplets, nodes and app egress addresses, by what would trust exactly them.
    pub machines: Vec<Machine>,
    /// Networks, by what would trust them.
    pub networks: Vec<Network>,
}

/// Something with addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// For people: "web-1".
    pub name: String,
    /// What would trust it and nothing else: `droplet:123`.
    pub key: SourceKey,
    /// What would trust it with others: its tags, its cluster.
    pub groups: Vec<SourceKey>,
    /// Its addresses.
    pub prefixes: Vec<Prefix>,
}

/// A range of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// For people: "default-fra1".
    pub name: String,
    /// What would trust it: `vpc:…`.
    pub key: SourceKey,
    /// Its range.
    pub range: Prefix,
}
