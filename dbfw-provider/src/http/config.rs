//! The settings of requests over HTTP.

use std::{path::PathBuf, time::Duration};

use url::{Host, Url};

/// Settings of requests over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// For a whole request, from connecting to the last byte.
    pub timeout: Duration,
    /// PEM file with certificate authorities to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether those in `ca_file` alone are trusted, where there is one.
    pub only_ca_file: bool,
    /// Hosts that may be asked without TLS, as [`Url::host_str`] writes them; loopback always
    /// may. [`HttpConfig::may_ask`] decides.
    pub allow_http: Vec<String>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            ca_file: None,
            only_ca_file: false,
            allow_http: Vec::new(),
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
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
