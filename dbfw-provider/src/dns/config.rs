//! Settings of the `dns:` sources.

use std::{net::SocketAddr, time::Duration};

/// Settings of [`Names`](super::Names): `[dns]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsConfig {
    /// Resolvers; empty: those of /etc/resolv.conf.
    pub servers: Vec<SocketAddr>,
    /// For an answer from one of them.
    pub timeout: Duration,
    /// Time that an address stays trusted after it vanished from the answer.
    pub grace: Duration,
    /// A record is asked for again after its TTL, but never sooner than this.
    pub min_ttl: Duration,
    /// Nor later than this.
    pub max_ttl: Duration,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout: Duration::from_secs(5),
            grace: Duration::from_secs(300),
            min_ttl: Duration::from_secs(5),
            max_ttl: Duration::from_secs(3600),
        }
    }
}
