//! The validated form of the configuration.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use dbfw_core::toml::Problem;

use crate::{list::MAX_RULES, resolve::ResolveConfig, store::EtcdSettings};

/// The usual port of the metrics.
pub(super) const METRICS_PORT: u16 = 9788;

/// The configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The server's name, which clients show.
    pub name: String,
    /// The addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// The certificate.
    pub tls: Tls,
    /// The names and addresses that the own certificate is for.
    pub tls_names: Vec<String>,
    /// The address by which agents reach the server; `None`: the first of the names, or the host's.
    pub url: Option<String>,
    /// The directory for the store, the authority and the certificate.
    pub state_dir: PathBuf,
    /// The directory of the admin socket.
    pub run_dir: PathBuf,
    /// The store.
    pub store: StoreConfig,
    /// The address of the metrics; `None`: nowhere.
    pub metrics_listen: Option<SocketAddr>,
    /// Whether a change without If-Match is merged with others'.
    pub merge: bool,
    /// Time that the answer to a change waits for the hosts that enforce it.
    pub wait: Duration,
    /// The most trusted sources of a database.
    pub max_sources: usize,
    /// The most connections at a time.
    pub max_connections: usize,
    /// The most agents with a stream at a time.
    pub max_agents: usize,
    /// The most requests of a token in a minute.
    pub requests_per_minute: u32,
    /// URLs that those of feeds may begin with.
    pub allowed_feeds: Vec<String>,
    /// Settings of the resolver.
    pub resolve: ResolveConfig,
    /// Settings that are hardly meant.
    pub warnings: Vec<Problem>,
}

/// The certificate that is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// One of the server's own authority.
    Own,
    /// From files, read again when they change.
    Files {
        /// The certificate and those between it and its authority, PEM.
        cert: PathBuf,
        /// The private key, PEM.
        key: PathBuf,
    },
    /// None: plain HTTP, on loopback alone.
    Off,
}

/// The store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreConfig {
    /// In a file.
    File(PathBuf),
    /// In etcd, which several servers may share.
    Etcd(EtcdSettings),
}

impl StoreConfig {
    /// The files that the server reads or writes for it.
    pub fn files(&self) -> Vec<&Path> {
        match self {
            Self::File(path) => vec![path],
            Self::Etcd(etcd) => {
                let identity = etcd.identity.iter().flat_map(|it| [&it.cert_file, &it.key_file]);
                let password = etcd.login.iter().map(|login| &login.password_file);
                etcd.ca_file.iter().chain(identity).chain(password).map(PathBuf::as_path).collect()
            }
        }
    }

    /// The file, if it is in one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Etcd(_) => None,
        }
    }
}

impl fmt::Display for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Etcd(etcd) => {
                write!(f, "etcd {} below {}", etcd.endpoints.join(", "), etcd.prefix)
            }
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        let state_dir = PathBuf::from("/var/lib/dbfw-server");
        Self {
            name: "dbfw".to_owned(),
            listen: vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, 7443))],
            tls: Tls::Own,
            tls_names: Vec::new(),
            url: None,
            store: StoreConfig::File(state_dir.join("store.redb")),
            state_dir,
            run_dir: PathBuf::from("/run/dbfw-server"),
            metrics_listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, METRICS_PORT))),
            merge: true,
            wait: Duration::from_secs(1),
            max_sources: MAX_RULES,
            max_connections: 4096,
            max_agents: 20_000,
            requests_per_minute: 6000,
            allowed_feeds: Vec::new(),
            resolve: ResolveConfig::default(),
            warnings: Vec::new(),
        }
    }
}
