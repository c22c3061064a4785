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
    /// Doubts about what is legal but probably not meant, for the log and `dbfw check`.
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
    pub ports: Vec<Port>,
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
    /// The shortest prefix they may stand for.
    pub min_prefix: MinPrefix,
}

/// The shortest prefix that a list may hold without confirmation, by family.
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

/// Meaning of an empty list from a provider.
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

/// Settings of requests over HTTP.
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

/// Place of a token. Its content is never part of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// In a file.
    File(PathBuf),
    /// In a systemd credential (`LoadCredential=`), by name: a file in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

/// Limits of the number of requests.
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
    /// Settings of the requests.
    pub http: HttpConfig,
    /// Interval of the requests for everything, if the limits allow.
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
    /// Settings of the requests.
    pub http: HttpConfig,
    /// Interval of the requests for lists.
    pub poll: Duration,
}

/// `[feeds]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedsConfig {
    /// Settings of the requests.
    pub http: HttpConfig,
    /// Interval of the requests for each feed.
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
    /// Time that an address stays trusted after it vanished from the answer.
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
