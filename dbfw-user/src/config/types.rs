//! The validated configuration: what the agent and its workers take.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use dbfw_common::Mode;
use dbfw_core::Port;
use glob::Pattern;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::toml::problem::Problem;
use crate::{
    answers::ListId,
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
    pub provider: Option<ListId>,
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

/// How something is asked over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// For a whole request, from connecting to the last byte.
    pub timeout: Duration,
    /// PEM file with certificate authorities to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Hosts that may be asked without TLS, as [`Url::host_str`] writes them; loopback always
    /// may. [`HttpConfig::may_ask`] decides.
    pub allow_http: Vec<String>,
}

/// Where a token is. Its content is never part of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// In a file.
    File(PathBuf),
    /// In a systemd credential (`LoadCredential=`), by name: a file in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

/// How many requests may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// In any hour.
    pub per_hour: u32,
    /// In any minute.
    pub per_minute: u32,
}

/// Which addresses of a droplet or node count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressKinds {
    /// IPv4 in the VPC.
    pub private: bool,
    /// Public IPv4.
    pub public: bool,
    /// IPv6.
    pub v6: bool,
}

/// `[digitalocean]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigitalOceanConfig {
    /// `https://api.digitalocean.com`, without a path.
    pub api_url: Url,
    /// The API token.
    pub token: TokenSource,
    /// How the API is reached.
    pub http: HttpConfig,
    /// How often everything is asked for, if the limits allow.
    pub poll: Duration,
    /// Which addresses of droplets and nodes count.
    pub addresses: AddressKinds,
    /// Whether a cluster's pod subnet (`cluster_subnet`) belongs to its `k8s` source: on a
    /// VPC-native cluster the database sees the pods' addresses.
    pub pod_subnets: bool,
    /// The request budget.
    pub limits: RequestLimits,
}

/// `[aptible]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AptibleConfig {
    /// `https://api.aptible.com`, without a path.
    pub api_url: Url,
    /// The API token.
    pub token: TokenSource,
    /// How the API is reached.
    pub http: HttpConfig,
    /// How often lists are asked for.
    pub poll: Duration,
}

/// `[feeds]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedsConfig {
    /// How feeds are fetched.
    pub http: HttpConfig,
    /// How often.
    pub poll: Duration,
    /// Bytes a feed may have.
    pub max_bytes: u64,
}

/// `[dns]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsConfig {
    /// Resolvers; empty: those of /etc/resolv.conf.
    pub servers: Vec<SocketAddr>,
    /// For an answer from one of them.
    pub timeout: Duration,
    /// How long an address stays trusted after it vanished from the answer.
    pub grace: Duration,
    /// A record is asked for again after its TTL, but never sooner than this.
    pub min_ttl: Duration,
    /// Nor later than this.
    pub max_ttl: Duration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(10), ca_file: None, allow_http: Vec::new() }
    }
}

impl Default for FeedsConfig {
    fn default() -> Self {
        let http = HttpConfig { timeout: Duration::from_secs(30), ..HttpConfig::default() };
        Self { http, poll: Duration::from_secs(300), max_bytes: 16 << 20 }
    }
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

impl HttpConfig {
    /// Whether `url` may be asked: by TLS, or without it on loopback and where `allow_http`
    /// says so.
    pub fn may_ask(&self, url: &Url) -> bool {
        match url.scheme() {
            "https" => true,
            "http" => {
                let named = |host: &str| self.allow_http.iter().any(|allowed| allowed == host);
                is_loopback(url) || url.host_str().is_some_and(named)
            }
            _ => false,
        }
    }
}

/// Whether what is asked for stays on this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
