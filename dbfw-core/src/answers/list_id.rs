//! Names of providers' lists.

use std::{fmt, path::PathBuf, sync::Arc};

/// A provider's list of trusted sources.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListId {
    /// The list in a file, by its absolute path.
    File(PathBuf),
    /// The trusted sources of a DigitalOcean database cluster.
    DigitalOcean(ClusterId),
    /// The `ip_whitelist` of an Aptible endpoint, by its id (a vhost in the API).
    Aptible(u64),
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
        }
    }
}
