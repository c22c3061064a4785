//! [`SeenConnection`]: a connection of a client as an audit saw it.

use std::net::IpAddr;

/// A connection that a client has, or opened while it was watched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeenConnection {
    /// The address that it comes from.
    pub from: IpAddr,
    /// The database's user; `None`: nobody knows.
    pub user: Option<String>,
    /// The database; `None`: nobody knows, or the engine has none.
    pub database: Option<String>,
    /// Whether it has TLS; `None`: nobody knows.
    pub tls: Option<bool>,
}
