//! The configuration: file shapes, and the validated form the agent works with.

mod agent;
mod aptible;
mod database;
mod digitalocean;
mod dns;
pub(crate) mod duration;
mod feeds;
pub(crate) mod http;
mod load;
mod problem;
mod provider;
mod providers;
pub(crate) mod read;
pub(crate) mod report;
pub(crate) mod sources;
#[cfg(test)]
mod tests;
mod text;
mod validate;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use dbfw_common::Mode;
use dbfw_core::Port;
use glob::Pattern;
use serde::{Deserialize, Serialize};

pub(crate) use load::utf8;
pub use load::{agent_section, load, parse};
pub use problem::{Problem, Problems};
pub use providers::{
    AddressKinds, AptibleConfig, DigitalOceanConfig, DnsConfig, FeedsConfig, HttpConfig,
    RequestLimits, TokenSource,
};

use crate::{
    datapath::{Attach, Interfaces},
    policy::USUAL_MIN_LEN,
    source::TrustedSource,
};

/// A configuration in which nothing is left to check.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The agent itself.
    pub agent: AgentConfig,
    /// The databases, in the order of the files; names and ports are unique.
    pub databases: Vec<DatabaseConfig>,
    /// `[digitalocean]`, if it is there; it is if anything in the configuration needs it.
    pub digitalocean: Option<DigitalOceanConfig>,
    /// `[aptible]`, if it is there; it is if anything in the configuration needs it.
    pub aptible: Option<AptibleConfig>,
    /// `[feeds]`.
    pub feeds: FeedsConfig,
    /// `[dns]`.
    pub dns: DnsConfig,
    /// The files it was read from, the main file first.
    pub files: Vec<ConfigFile>,
    /// What is legal but probably not meant, for the log and `dbfw check`.
    pub warnings: Vec<Problem>,
}

/// A file of a configuration, as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    /// Its path.
    pub path: PathBuf,
    /// All of it.
    pub text: String,
}

/// `[agent]`.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentConfig {
    /// Where to attach.
    pub interfaces: Interfaces,
    /// By which hook.
    pub attach: Attach,
    /// The sk_lookup program behind the hooks.
    pub backstop: bool,
    /// Interfaces whose packets the backstop lets through.
    pub exempt_interfaces: Vec<Pattern>,
    /// What happens to fragments that are not the first of their datagram.
    pub fragments: Fragments,
    /// Address of /metrics, /healthz and /readyz; `None`: off.
    pub metrics_listen: Option<SocketAddr>,
    /// Snapshot and local sources.
    pub state_dir: PathBuf,
    /// Holds the control socket `dbfw.sock`.
    pub run_dir: PathBuf,
    /// Directory on a bpffs; the ABI's own directory is below it.
    pub pin_dir: PathBuf,
    /// Drop events a second over all CPUs.
    pub events_per_second: u32,
    /// For how long a provider has to say, poll after poll, that something is gone before its
    /// prefixes go.
    pub gone_after: Duration,
    /// How old what cannot be refreshed may become and stay trusted; `None`: any age.
    pub max_stale: Option<Duration>,
}

/// What happens to fragments that are not the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fragments {
    /// They pass: without the first, which is judged, nothing is reassembled.
    Pass,
    /// They are dropped unless some database trusts their source.
    Drop,
}

/// `[[database]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct DatabaseConfig {
    /// Letters, digits, `-`, `_` and `.`; at most `dbfw_common::MAX_NAME` bytes.
    pub name: String,
    /// At least one.
    pub ports: Vec<Port>,
    /// What happens to packets from untrusted sources.
    pub mode: Mode,
    /// The list in the configuration itself.
    pub trusted_sources: Vec<TrustedSource>,
    /// Where more of the list comes from.
    pub provider: Option<ProviderConfig>,
    /// What an empty list from the provider means.
    pub on_empty: OnEmpty,
    /// Percent of its prefixes a change of the provider's list may lose without a human
    /// word, and three prefixes whatever their share; 100: no limit.
    pub max_shrink: u8,
    /// Whether providers, feeds and names may stand for a prefix wider than `min_prefix`.
    pub allow_any: bool,
    /// The shortest prefix they may stand for.
    pub min_prefix: MinPrefix,
}

/// The shortest prefix that a list may hold without a human word, by family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinPrefix {
    /// 1 to 32.
    pub ipv4: u8,
    /// 1 to 128.
    pub ipv6: u8,
}

impl Default for MinPrefix {
    fn default() -> Self {
        let [ipv4, ipv6] = USUAL_MIN_LEN;
        Self { ipv4, ipv6 }
    }
}

/// What an empty list from a provider means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnEmpty {
    /// A mistake: keep the last good list.
    Keep,
    /// Nobody.
    Close,
    /// Everybody.
    Open,
}

/// `provider = { … }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProviderConfig {
    /// A list in a file, read again when it changes.
    File {
        /// Absolute.
        path: PathBuf,
    },
    /// The trusted sources of a DigitalOcean database cluster.
    DigitalOcean {
        /// The cluster's UUID, in lower case.
        cluster: String,
    },
    /// The `ip_whitelist` of an Aptible endpoint.
    Aptible {
        /// The endpoint's id (a vhost in the API).
        vhost: u64,
    },
}
