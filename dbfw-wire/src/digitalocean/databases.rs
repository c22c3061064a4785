//! Database clusters, accounts and changes of rules, as a server answers and reads them.
//!
//! Clients dereference what the description calls optional: `connection` and
//! `maintenance_window` are always there.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{FirewallRule, Links, Meta};
use crate::absent::said;

/// `PUT /v2/databases/{uuid}/firewall`. Unknown fields are ignored; without `rules` it is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirewallUpdate {
    /// All rules that are to be.
    pub rules: Vec<RuleUpdate>,
}

/// A rule that is to be. Whatever uuid and time a client sends for it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleUpdate {
    /// As in [`FirewallRule`].
    #[serde(rename = "type")]
    pub kind: String,
    /// As in [`FirewallRule`].
    pub value: String,
    /// A description; `Some(None)` is `null`, `None` is nothing at all.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub description: Option<Option<String>>,
    /// An expiry, RFC 3339, of which DigitalOcean's clients know nothing.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Option<String>>,
}

/// A database cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseCluster {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// `pg`, `mysql`, …
    pub engine: String,
    /// The engine's version.
    pub version: String,
    /// The number of its nodes.
    pub num_nodes: u32,
    /// Its region.
    pub region: String,
    /// `online`.
    pub status: String,
    /// The size of its nodes.
    pub size: String,
    /// The time at which it was made.
    pub created_at: Timestamp,
    /// Its tags.
    pub tags: Vec<String>,
    /// The way by which clients reach it.
    pub connection: DatabaseConnection,
    /// The way by which clients in its network reach it.
    pub private_connection: DatabaseConnection,
    /// Its maintenance window.
    pub maintenance_window: MaintenanceWindow,
    /// Its storage.
    pub storage_size_mib: u64,
    /// Whether its storage grows by itself.
    pub storage_autoscale: StorageAutoscale,
    /// Its trusted sources.
    pub rules: Vec<FirewallRule>,
}

/// The way by which clients reach a database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseConnection {
    /// `postgresql`, `mysql`, …
    pub protocol: String,
    /// A host name or an address.
    pub host: String,
    /// A port.
    pub port: u16,
    /// Whether TLS is needed.
    pub ssl: bool,
    /// All of it as a URL.
    pub uri: String,
    /// The database inside.
    pub database: String,
    /// The user.
    pub user: String,
}

/// The time for maintenance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenanceWindow {
    /// A day of the week, or `any`.
    pub day: String,
    /// An hour.
    pub hour: String,
    /// Whether some is to come.
    pub pending: bool,
    /// The steps to come.
    pub description: Vec<String>,
}

/// Whether storage grows by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageAutoscale {
    /// Whether it does.
    pub enabled: bool,
}

/// One [`DatabaseCluster`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneDatabaseCluster {
    /// It.
    pub database: DatabaseCluster,
}

/// The list of database clusters, which is never in pages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseClusters {
    /// They.
    pub databases: Vec<DatabaseCluster>,
    /// No links.
    pub links: Links,
    /// Their number.
    pub meta: Meta,
}

/// `GET /v2/databases/{uuid}/ca`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneCertificate {
    /// It.
    pub ca: Certificate,
}

/// The certificate authority of a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// PEM, in base64 once more.
    pub certificate: String,
}

/// `GET /v2/databases/{uuid}/autoscale`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Autoscale {
    /// Of storage.
    pub storage: StorageAutoscale,
}

/// `GET /v2/account`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneAccount {
    /// It.
    pub account: Account,
}

/// The account that a token is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The most droplets.
    pub droplet_limit: u32,
    /// The most reserved addresses.
    pub floating_ip_limit: u32,
    /// The same under its later name.
    pub reserved_ip_limit: u32,
    /// The most volumes.
    pub volume_limit: u32,
    /// Its team.
    pub email: String,
    /// The same for people.
    pub name: String,
    /// Its id.
    pub uuid: Uuid,
    /// Whether the address was verified.
    pub email_verified: bool,
    /// `active`.
    pub status: String,
    /// About the status.
    pub status_message: String,
    /// The team it belongs to.
    pub team: Team,
}

/// The team of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Team {
    /// Its id.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
}

/// `GET /v1/oauth/token/info`, by which doctl checks a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenInfo {
    /// The owner's number.
    pub resource_owner_id: u64,
    /// The token's scopes.
    pub scopes: Vec<String>,
    /// Its lifetime; `null` is for ever.
    pub expires_in_seconds: Option<i64>,
    /// The program it was made for.
    pub application: Application,
    /// The time of its making, in seconds since 1970.
    pub created_at: i64,
}

/// A program that tokens are made for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// Its id.
    pub uid: String,
}
