//! Documents of `dbfw export json`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::drops::Mode;

/// The lists in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Export {
    /// The version of these fields: 1.
    pub schema: u32,
    /// Databases in the order of the configuration.
    pub databases: Vec<ExportedDatabase>,
}

/// A database and who may reach it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExportedDatabase {
    /// Name.
    pub name: String,
    /// "tcp/5432", "tcp/6432-6440".
    pub ports: Vec<String>,
    /// The addresses it is bound to, as configured; none: every one.
    pub addresses: Vec<String>,
    /// Treatment of packets from untrusted sources.
    pub mode: Mode,
    /// Its trusted sources.
    pub sources: Vec<ExportedSource>,
}

/// A trusted source in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExportedSource {
    /// "ip_addr:10.0.0.0/8".
    pub source: String,
    /// config, local, or the provider's name.
    pub origin: String,
    /// For people.
    pub description: Option<String>,
    /// The end of its trust.
    pub expires_at: Option<Timestamp>,
    /// The database's users that are meant to come from it; none: nobody said.
    pub users: Vec<String>,
    /// The addresses it resolved to.
    pub prefixes: Vec<String>,
}
