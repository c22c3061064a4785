//! Machines and networks of a provider's account, to match addresses with.

use dbfw_core::source::{Prefix, SourceKey};

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
    /// The source that trusts it and nothing else: `droplet:123`.
    pub key: SourceKey,
    /// The sources that trust it with others: its tags, its cluster.
    pub groups: Vec<SourceKey>,
    /// Its addresses.
    pub prefixes: Vec<Prefix>,
}

/// A range of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// For people: "default-fra1".
    pub name: String,
    /// The source that trusts it: `vpc:…`.
    pub key: SourceKey,
    /// Its range.
    pub range: Prefix,
}
