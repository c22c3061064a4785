//! Whom to ask: the configured resolvers, or those of resolv.conf as it is now.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use super::client::Client;
use crate::{
    config::{DnsConfig, open::read_file},
    provider::{Cause, FetchError},
};

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Bytes resolv.conf may have.
const MAX_BYTES: u64 = 64 << 10;

/// Servers of resolv.conf that count (resolv.conf(5), MAXNS).
const MAX_SERVERS: usize = 3;

const PORT: u16 = 53;

/// Knows whom to ask.
#[derive(Debug)]
pub(super) struct Resolvers {
    timeout: Duration,
    from: From,
    client: Option<Client>,
}

#[derive(Debug)]
enum From {
    Servers(Vec<SocketAddr>),
    File { path: PathBuf, seen: Option<Stamp> },
}

/// By what a changed file is told from one that is the same.
type Stamp = (u64, u64, u64, i64, i64);

impl Resolvers {
    /// Those of the configuration, or of the system.
    pub(super) fn new(config: &DnsConfig) -> Self {
        let from = match config.servers.is_empty() {
            true => From::File { path: RESOLV_CONF.into(), seen: None },
            false => From::Servers(config.servers.clone()),
        };
        Self { timeout: config.timeout, from, client: None }
    }

    /// Those of another file.
    #[cfg(test)]
    pub(super) fn of_file(path: &Path, timeout: Duration) -> Self {
        Self { timeout, from: From::File { path: path.into(), seen: None }, client: None }
    }

    /// A client of those that are to be asked now.
    pub(super) fn client(&mut self) -> Result<Client, FetchError> {
        if let From::File { path, seen } = &mut self.from {
            let now = stamp(path);
            if now != *seen {
                (*seen, self.client) = (now, None);
            }
        }
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let client = match &self.from {
            From::Servers(servers) => Client::new(servers, self.timeout)?,
            From::File { path, .. } => Client::new(&servers_of(path)?, self.timeout)?,
        };
        Ok(self.client.insert(client).clone())
    }
}

/// The servers of a file like resolv.conf; if it does not exist or names none, this machine
/// (resolv.conf(5)).
fn servers_of(path: &Path) -> Result<Vec<SocketAddr>, FetchError> {
    let text = match stamp(path) {
        None => Vec::new(),
        Some(_) => read_file(path, MAX_BYTES).map_err(|error| {
            let path = path.display();
            FetchError::new(Cause::Io, format!("{path} {error}: mend it, or set servers in [dns]"))
        })?,
    };
    let mut servers = nameservers(&String::from_utf8_lossy(&text));
    if servers.is_empty() {
        servers.push(SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)));
    }
    Ok(servers)
}

/// The first servers of a text like resolv.conf. A server with a zone ("fe80::1%eth0") is left
/// out.
fn nameservers(text: &str) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| {
            // White space before the word makes it none.
            let rest = line.strip_prefix("nameserver").filter(|rest| rest.starts_with([' ', '\t']));
            let address: IpAddr = rest?.split_ascii_whitespace().next()?.parse().ok()?;
            Some(SocketAddr::from((address, PORT)))
        })
        .take(MAX_SERVERS)
        .collect()
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    let file = (metadata.dev(), metadata.ino());
    Some((file.0, file.1, metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_resolv_conf() {
        let text = "# made by hand\n; nameserver 192.0.2.9\nsearch example.com\noptions ndots:5\n\
                    nameserver 192.0.2.1\nnameserver\t2001:db8::1 # second\nnameserver\n\
                    nameserver fe80::1%eth0\nnameserver x\n#nameserver 192.0.2.8\n\
                    \tnameserver 192.0.2.7\nnameservers 192.0.2.6\n\
                    nameserver 192.0.2.3\nnameserver 192.0.2.4\n";
        let servers: Vec<String> = nameservers(text).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.3:53"]);
    }

    #[test]
    fn without_servers_this_machine_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        let local = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 53))];
        assert_eq!(servers_of(&path).unwrap(), local);
        fs::write(&path, "search example.com\n").unwrap();
        assert_eq!(servers_of(&path).unwrap(), local);
        fs::write(&path, "nameserver 192.0.2.1\n").unwrap();
        assert_ne!(servers_of(&path).unwrap(), local);
        fs::write(&path, vec![b' '; 1 << 17]).unwrap();
        let error = servers_of(&path).unwrap_err();
        assert!(error.message.contains("is larger than 65536 bytes"), "{error}");
    }
}
