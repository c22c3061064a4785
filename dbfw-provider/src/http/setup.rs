//! HTTP clients of reqwest, with the certificate authorities and limits of the configuration.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    sync::Once,
    time::Duration,
};

use dbfw_core::answers::{Cause, FetchError};
use reqwest::{Certificate, Client, redirect::Policy, tls::Version};

use super::{config::HttpConfig, reason};
use crate::fs::read_file;

/// For the connection, out of the time for the whole request.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes a file of certificate authorities may have.
const MAX_CA_BYTES: u64 = 4 << 20;

/// Connections kept to a host: as many as requests run at once.
const IDLE_CONNECTIONS: usize = 16;

/// A client for this machine, past every proxy, or one for all others.
///
/// # Errors
/// There are no certificate authorities, or `ca_file` holds none.
pub(super) fn build(
    config: &HttpConfig,
    tls: Option<&rustls::ClientConfig>,
    also: &[String],
    is_local: bool,
) -> Result<Client, FetchError> {
    install_crypto();
    let mut authorities = config.ca_file.as_deref().map(read_authorities).transpose()?;
    if let Some(authorities) = &mut authorities {
        authorities.extend(parse_all(also)?);
    }
    let mut builder = Client::builder()
        .user_agent(concat!("dbfw/", env!("CARGO_PKG_VERSION")))
        .http1_only()
        .tls_version_min(Version::TLS_1_2)
        .connect_timeout(config.timeout.min(CONNECT_TIMEOUT))
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .redirect(Policy::none())
        .referer(false);
    builder = match (tls, authorities) {
        (Some(tls), _) => builder.tls_backend_preconfigured(tls.clone()),
        (None, Some(authorities)) if config.only_ca_file => builder.tls_certs_only(authorities),
        (None, authorities) => builder.tls_certs_merge(authorities.unwrap_or_default()),
    };
    if is_local {
        // The name is not asked of DNS, which could say anything.
        let localhost = [
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
        ];
        builder = builder.no_proxy().resolve_to_addrs("localhost", &localhost);
    }
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

/// The certificates in texts of PEM.
///
/// # Errors
/// One of the texts has none.
pub(super) fn parse_all(authorities: &[String]) -> Result<Vec<Certificate>, FetchError> {
    let mut found = Vec::new();
    for pem in authorities {
        let parsed = Certificate::from_pem_bundle(pem.as_bytes()).unwrap_or_default();
        if parsed.is_empty() {
            return Err(FetchError::new(Cause::Tls, "an authority is no certificate in PEM"));
        }
        found.extend(parsed);
    }
    Ok(found)
}

fn read_authorities(path: &Path) -> Result<Vec<Certificate>, FetchError> {
    let wrong = |reason: String| {
        let path = path.display();
        FetchError::new(Cause::Tls, format!("`ca_file` {reason}: it must hold certificates in PEM"))
            .about(path.to_string())
    };
    let pem = read_file(path, MAX_CA_BYTES).map_err(|error| wrong(error.to_string()))?;
    let found =
        Certificate::from_pem_bundle(&pem).map_err(|error| wrong(reason::innermost(&error)))?;
    if found.is_empty() {
        return Err(wrong("has no certificate".to_owned()));
    }
    Ok(found)
}
