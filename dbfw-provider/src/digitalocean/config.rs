//! The settings of the DigitalOcean worker.

use std::time::Duration;

use url::Url;

use crate::{budget::RequestLimits, http::HttpConfig, token::TokenSource};

/// DigitalOcean's own address of the API.
pub const API_URL: &str = "https://api.digitalocean.com";

/// Settings of [`super::DigitalOcean`]: `[digitalocean]` of the configuration.
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

impl Default for DigitalOceanConfig {
    fn default() -> Self {
        Self {
            api_url: Url::parse(API_URL).expect("a constant that is a URL"),
            token: TokenSource::Credential("do-token".to_owned()),
            http: HttpConfig::default(),
            poll: Duration::from_secs(15),
            addresses: AddressKinds { private: true, public: true, v6: true },
            pod_subnets: false,
            // What DigitalOcean allows a token.
            limits: RequestLimits { per_hour: 5000, per_minute: 250 },
        }
    }
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
