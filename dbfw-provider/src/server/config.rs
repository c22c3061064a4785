//! The settings of a host that a control plane has joined.

use dbfw_core::source::PrefixSet;
use url::Url;

use crate::{
    http::{HttpConfig, is_loopback},
    token::TokenSource,
};

/// The systemd credential with the host's token.
pub const CREDENTIAL: &str = "host-token";

/// Settings of a host that a control plane has joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// The servers; any of them will do. https, or http to this machine.
    pub urls: Vec<Url>,
    /// The place of the host's token.
    pub token: TokenSource,
    /// Settings of the requests.
    pub http: HttpConfig,
    /// The networks that no list of the server may leave; `None`: there is no such limit.
    pub within: Option<PrefixSet>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            token: TokenSource::Credential(CREDENTIAL.to_owned()),
            http: HttpConfig { only_ca_file: true, ..HttpConfig::default() },
            within: None,
        }
    }
}

/// The reason why a server cannot be asked at this address; `None`: it can.
pub fn url_problem(url: &Url) -> Option<&'static str> {
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(url) => {}
        "http" => return Some("would send the host's token without TLS: begin it with https://"),
        _ => return Some("does not begin with https://"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some("has a user name or a password in it");
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Some("has text behind the host");
    }
    None
}
