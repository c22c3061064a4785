//! HTTP clients of reqwest, with the certificate authorities and limits of the configuration.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    sync::{Arc, Once, OnceLock},
    time::Duration,
};

use dbfw_core::answers::{Cause, FetchError};
use reqwest::{Certificate, Client, ClientBuilder, redirect::Policy, tls::Version};

use super::{HttpConfig, reason};
use crate::fs::read_file;

/// For the connection, out of the time for the whole request.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes a file of certificate authorities may have.
const MAX_CA_BYTES: u64 = 4 << 20;

/// Connections kept to a host: as many as requests run at once.
const IDLE_CONNECTIONS: usize = 16;

/// A client for this machine, and one for all others.
#[derive(Clone)]
pub(super) struct Clients {
    proxied: Client,
    /// Made when it is needed, which it hardly ever is: reading the system's authorities takes
    /// milliseconds.
    direct: Arc<OnceLock<Client>>,
    authorities: Arc<[Certificate]>,
    connect: Duration,
}

impl Clients {
    pub(super) fn new(config: &HttpConfig) -> Result<Self, FetchError> {
        install_crypto();
        let authorities: Arc<[Certificate]> = match &config.ca_file {
            Some(path) => read_authorities(path)?.into(),
            None => Arc::new([]),
        };
        let connect = config.timeout.min(CONNECT_TIMEOUT);
        let proxied = build(builder(&authorities, connect))?;
        Ok(Self { proxied, direct: Arc::default(), authorities, connect })
    }

    /// For other hosts: through the proxy, if the environment names one.
    pub(super) const fn proxied(&self) -> &Client {
        &self.proxied
    }

    /// For loopback.
    pub(super) fn direct(&self) -> Result<&Client, FetchError> {
        if let Some(client) = self.direct.get() {
            return Ok(client);
        }
        // The name is not asked of DNS, which could say anything.
        let localhost = [
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
        ];
        let builder = builder(&self.authorities, self.connect);
        let client = build(builder.no_proxy().resolve_to_addrs("localhost", &localhost))?;
        Ok(self.direct.get_or_init(|| client))
    }
}

fn builder(authorities: &[Certificate], connect: Duration) -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("dbfw/", env!("CARGO_PKG_VERSION")))
        .http1_only()
        .tls_version_min(Version::TLS_1_2)
        .tls_certs_merge(authorities.iter().cloned())
        .connect_timeout(connect)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .redirect(Policy::none())
        .referer(false)
}

fn build(builder: ClientBuilder) -> Result<Client, FetchError> {
    builder.build().map_err(|error| {
        let reason = reason::innermost(&error);
        FetchError::new(
            Cause::Tls,
            format!(
                "HTTP cannot be set up: {reason}: install the system's certificate authorities \
                 (package ca-certificates), or set `ca_file`"
            ),
        )
    })
}

/// rustls is built with ring only, and reqwest takes the process's provider.
pub(super) fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that one is installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

fn read_authorities(path: &Path) -> Result<Vec<Certificate>, FetchError> {
    let wrong = |reason: String| {
        let path = path.display();
        FetchError::new(
            Cause::Tls,
            format!("`ca_file` {path}: {reason}: it must hold certificates in PEM"),
        )
    };
    let pem = read_file(path, MAX_CA_BYTES).map_err(|error| wrong(error.to_string()))?;
    let found =
        Certificate::from_pem_bundle(&pem).map_err(|error| wrong(reason::innermost(&error)))?;
    if found.is_empty() {
        return Err(wrong("has no certificate".to_owned()));
    }
    Ok(found)
}
