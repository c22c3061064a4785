//! Providers' lists of trusted sources, and results of asking for them.

use std::{fmt, path::PathBuf, sync::Arc};

use super::{answer::Outcome, edition::Edition};
use crate::source::{PrefixSet, TrustedSource};

/// Result of asking for a list.
pub type ListOutcome = Outcome<SourceList>;

/// Trusted sources as a provider lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceList {
    /// The sources, in the provider's order.
    pub sources: Vec<Arc<TrustedSource>>,
    /// Addresses and networks of a long list that have neither a comment nor an expiry; they
    /// are not among `sources`.
    pub plain: PrefixSet,
    /// Rules that mean nothing here (an unknown type, a value that is no address), in words that
    /// name the provider, the rule and the field.
    pub problems: Vec<String>,
    /// Of a control plane's list: which one it is, and what it resolved itself.
    pub edition: Option<Arc<Edition>>,
}

impl SourceList {
    /// A list of sources, and of what else is in it that cannot be used.
    pub fn new(sources: Vec<TrustedSource>, problems: Vec<String>) -> Self {
        let sources = sources.into_iter().map(Arc::new).collect();
        Self { sources, problems, ..Self::default() }
    }

    /// Whether it names nobody.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.plain.is_empty()
    }
}

/// A provider's list of trusted sources.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListId {
    /// The list in a file, by its absolute path.
    File(PathBuf),
    /// The trusted sources of a DigitalOcean database cluster.
    DigitalOcean(ClusterId),
    /// The `ip_whitelist` of an Aptible endpoint, by its id (a vhost in the API).
    Aptible(u64),
    /// The list of a database that a control plane keeps, by its name there.
    Server(Arc<str>),
}

/// The id of a DigitalOcean database cluster: a UUID in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(Arc<str>);

impl ClusterId {
    /// The id that a text is, if it is one; one cluster has one id, however it is written.
    pub fn new(text: &str) -> Option<Self> {
        let groups = text.split('-').map(|group| {
            let hexadecimal = group.bytes().all(|byte| byte.is_ascii_hexdigit());
            if hexadecimal { group.len() } else { 0 }
        });
        groups.eq([8, 4, 4, 4, 12]).then(|| Self(text.to_ascii_lowercase().into()))
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ListId {
    /// The name in status, logs and origins: "file:/etc/dbfw/orders.list".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::DigitalOcean(cluster) => write!(f, "digitalocean:{cluster}"),
            Self::Aptible(vhost) => write!(f, "aptible:{vhost}"),
            Self::Server(database) => write!(f, "server:{database}"),
        }
    }
}
