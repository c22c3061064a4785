//! The settings of the DigitalOcean worker.

use std::time::Duration;

use url::Url;

use crate::{budget::RequestLimits, http::HttpConfig, secret::TokenSource};

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
