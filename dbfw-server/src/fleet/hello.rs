//! [`Wanted`]: the lists that a hello asks for, checked.

use std::collections::BTreeMap;

use dbfw_wire::agent::{Have, Hello, PROTOCOL};
use uuid::Uuid;

use super::text;
use crate::model::Host;

/// Databases of one host.
pub const MAX_DATABASES: usize = 256;

/// Characters of a version.
const MAX_VERSION: usize = 32;
/// Characters of a name in a host's configuration, of a list's, and of a mode.
const MAX_NAME: usize = 64;
/// Ports of a database at a host that are shown.
const MAX_PORTS: usize = 32;

/// Reason why a hello is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// The agent speaks another protocol.
    #[error(
        "protocol: {0} is not spoken here; this server speaks {PROTOCOL}: bring the agent and the \
         server to the same version"
    )]
    Protocol(u32),
    /// The host is another than the token's.
    #[error("host: is another than the token's; use the id that joining gave")]
    OtherHost,
    /// It names too many databases.
    #[error("databases: there are {0}; name at most {MAX_DATABASES}")]
    Databases(usize),
}

/// The lists that a hello asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The agent's start.
    pub(super) boot: Uuid,
    /// The agent's version.
    pub(super) version: String,
    /// The host's name for itself.
    pub(super) hostname: String,
    /// The lists, by the names that the host has for them, each once.
    pub(super) lists: BTreeMap<String, WantedList>,
}

/// A list that a hello asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WantedList {
    /// The list that the host has.
    pub(super) have: Option<Have>,
    /// Ports of its databases.
    pub(super) ports: Vec<String>,
    /// `enforce`, `observe` or `off`.
    pub(super) mode: String,
}

/// Checks a hello of a host.
pub(super) fn check(host: &Host, hello: &Hello) -> Result<Wanted, HelloError> {
    if hello.protocol != PROTOCOL {
        return Err(HelloError::Protocol(hello.protocol));
    }
    if hello.host != host.id {
        return Err(HelloError::OtherHost);
    }
    if hello.databases.len() > MAX_DATABASES {
        return Err(HelloError::Databases(hello.databases.len()));
    }
    let mut lists: BTreeMap<String, WantedList> = BTreeMap::new();
    for database in &hello.databases {
        let ports = database.ports.iter().filter(|port| text::is_port(port));
        let ports = ports.take(MAX_PORTS).cloned();
        match lists.get_mut(&database.database) {
            Some(known) => {
                // What one of them lacks is sent.
                known.have = known.have.filter(|have| Some(*have) == database.have);
                let left = MAX_PORTS.saturating_sub(known.ports.len());
                known.ports.extend(ports.take(left));
            }
            None => {
                let wanted = WantedList {
                    have: database.have,
                    ports: ports.collect(),
                    mode: text::clean(&database.mode, MAX_NAME),
                };
                lists.insert(database.database.chars().take(MAX_NAME).collect(), wanted);
            }
        }
    }
    Ok(Wanted {
        boot: hello.boot,
        version: text::clean(&hello.version, MAX_VERSION),
        hostname: text::clean(&hello.hostname, 253),
        lists,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use dbfw_wire::agent::{Digest, HostDatabase, HostGuards};
    use jiff::Timestamp;

    use super::*;

    fn host() -> Host {
        Host {
            id: Uuid::from_u128(1),
            name: "db-1".to_owned(),
            secret_sha256: String::new(),
            databases: BTreeSet::new(),
            joined_at: Timestamp::UNIX_EPOCH,
            joined_by: "root".to_owned(),
            joined_from: None,
            last_seen: None,
        }
    }

    fn hello(databases: Vec<HostDatabase>) -> Hello {
        Hello {
            protocol: PROTOCOL,
            version: "0.1.0".to_owned(),
            host: host().id,
            boot: Uuid::from_u128(2),
            hostname: "db-1\n".to_owned(),
            databases,
        }
    }

    fn database(name: &str, list: &str, have: Option<u64>) -> HostDatabase {
        let have = have.map(|revision| Have { epoch: 1, revision, digest: Digest::of(b"") });
        HostDatabase {
            name: name.to_owned(),
            database: list.to_owned(),
            ports: vec!["tcp/5432".to_owned(), "<b>".to_owned()],
            mode: "enforce".to_owned(),
            guards: HostGuards::default(),
            have,
        }
    }

    #[test]
    fn a_list_is_asked_for_once() {
        let wanted = check(
            &host(),
            &hello(vec![
                database("a", "orders", Some(1)),
                database("b", "orders", Some(1)),
                database("c", "users", Some(1)),
                database("d", "users", None),
                database("e", "more", None),
                database("f", "more", Some(1)),
            ]),
        )
        .unwrap();
        let have = |name: &str| wanted.lists[name].have.map(|have| have.revision);
        assert_eq!([have("orders"), have("users"), have("more")], [Some(1), None, None]);
        assert_eq!(wanted.lists["orders"].ports, ["tcp/5432", "tcp/5432"]);
        assert_eq!(wanted.hostname, "db-1\u{fffd}");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |hello: Hello| check(&host(), &hello).unwrap_err();
        assert_eq!(refused(Hello { protocol: 2, ..hello(vec![]) }), HelloError::Protocol(2));
        assert_eq!(refused(Hello { host: Uuid::nil(), ..hello(vec![]) }), HelloError::OtherHost);
        let many = (0..257).map(|n| database("a", &n.to_string(), None)).collect();
        assert_eq!(refused(hello(many)), HelloError::Databases(257));
    }
}
