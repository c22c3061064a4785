//! The validated configuration: what the agent and its workers take.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use dbfw_common::Mode;
use dbfw_core::{
    Destinations, Ports,
    answers::ListId,
    source::{PrefixSet, TrustedSource},
    toml::Problem,
    trust::{Guards, OnEmpty},
};
use dbfw_datapath::{Attach, Interfaces};
use dbfw_provider::{
    aptible::AptibleConfig, digitalocean::DigitalOceanConfig, dns::DnsConfig, feed::FeedsConfig,
    server::ServerConfig,
};
use glob::Pattern;
use serde::{Deserialize, Serialize};

/// A configuration in which nothing is left to check.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// The agent itself.
    pub agent: AgentConfig,
    /// The databases, in the order of the files; names are unique, and so is each port at an
    /// address.
    pub databases: Vec<DatabaseConfig>,
    /// `[digitalocean]`, if it is there; it is if anything in the configuration needs it.
    pub digitalocean: Option<DigitalOceanConfig>,
    /// `[aptible]`, if it is there; it is if anything in the configuration needs it.
    pub aptible: Option<AptibleConfig>,
    /// `[server]`, if it is there; it is if anything in the configuration needs it.
    pub server: Option<ServerConfig>,
    /// `[feeds]`.
    pub feeds: FeedsConfig,
    /// `[dns]`.
    pub dns: DnsConfig,
    /// The files it was read from, the main file first.
    pub files: Vec<ConfigFile>,
    /// Doubts about what is legal but probably not meant, for the log and `dbfw check`.
    pub warnings: Vec<Problem>,
}

/// A file of a configuration, as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigFile {
    /// Its path.
    pub path: PathBuf,
    /// All of it.
    pub text: String,
}

/// `[agent]`.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentConfig {
    /// Interfaces to attach to.
    pub interfaces: Interfaces,
    /// The hook to use.
    pub attach: Attach,
    /// The sk_lookup program behind the hooks.
    pub backstop: bool,
    /// Interfaces whose packets the backstop lets through.
    pub exempt_interfaces: Vec<Pattern>,
    /// Treatment of fragments that are not the first of their datagram.
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
    /// Age until which something that cannot be refreshed stays trusted; `None`: any age.
    pub max_stale: Option<Duration>,
}

impl AgentConfig {
    /// The keys that have another value in `other` and take effect only when an agent starts.
    pub fn changed_at_start(&self, other: &Self) -> Vec<&'static str> {
        // By name: whoever adds a key decides what it is.
        let Self {
            metrics_listen,
            state_dir,
            run_dir,
            pin_dir,
            interfaces: _,
            attach: _,
            backstop: _,
            exempt_interfaces: _,
            fragments: _,
            events_per_second: _,
            gone_after: _,
            max_stale: _,
        } = self;
        [
            ("agent.metrics_listen", *metrics_listen != other.metrics_listen),
            ("agent.state_dir", *state_dir != other.state_dir),
            ("agent.run_dir", *run_dir != other.run_dir),
            ("agent.pin_dir", *pin_dir != other.pin_dir),
        ]
        .into_iter()
        .filter_map(|(key, is_other)| is_other.then_some(key))
        .collect()
    }
}

/// Treatment of fragments that are not the first.
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
    pub ports: Ports,
    /// The destinations whose packets it judges.
    pub destinations: Destinations,
    /// Treatment of packets from untrusted sources.
    pub mode: Mode,
    /// The list in the configuration itself.
    pub trusted_sources: Vec<TrustedSource>,
    /// Provider of the rest of the list.
    pub provider: Option<ListId>,
    /// Meaning of an empty list from the provider.
    pub on_empty: OnEmpty,
    /// Percent of its prefixes a change of the provider's list may lose without
    /// confirmation, and three prefixes whatever their share; 100: no limit.
    pub max_shrink: u8,
    /// Whether providers, feeds and names may stand for a prefix wider than `min_prefix`.
    pub allow_any: bool,
    /// The lengths of the shortest prefixes they may stand for, IPv4 and IPv6.
    pub min_prefix: [u8; 2],
    /// `[database.audit]`.
    pub audit: AuditLogin,
}

/// `[database.audit]`: the way in for `dbfw audit --login`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditLogin {
    /// The server's Unix socket; `None`: the one that its process has.
    pub socket: Option<PathBuf>,
    /// The database's user; `None`: the server's system user.
    pub user: Option<String>,
    /// The file with that user's password; `None`: the system says who it is.
    pub password_file: Option<PathBuf>,
}

impl DatabaseConfig {
    /// The settings of the guards before the database's rules; `server` is `[server]`.
    pub fn guards(&self, server: Option<&ServerConfig>) -> Guards {
        let within = || server.and_then(|server| server.within.clone());
        let is_server = matches!(self.provider, Some(ListId::Server(_)));
        let within: Option<PrefixSet> = if is_server { within() } else { None };
        Guards {
            database: self.name.clone(),
            provider: self.provider.clone(),
            on_empty: self.on_empty,
            max_shrink: self.max_shrink,
            allow_any: self.allow_any,
            min_prefix: self.min_prefix,
            within,
        }
    }
}
