//! `[digitalocean]`, `[aptible]`, `[feeds]`, `[dns]`: how the outside world is asked.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use url::Url;

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
