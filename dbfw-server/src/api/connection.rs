//! [`Connection`]: what is known of the connection that a request came by.
//!
//! doctl, pydo and the libraries behind them read a list and replace it on one connection, and say
//! nothing of what they read. So the connection remembers it.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, header};
use uuid::Uuid;

use crate::service::Base;

/// A list that was read longer ago is not what a change is based on.
const FRESH: Duration = Duration::from_secs(60);

/// Lists that a connection remembers.
const REMEMBERED: usize = 8;

/// Headers of proxies: they may give one client's connection to another.
const FORWARDING: [&str; 4] = ["via", "forwarded", "x-forwarded-for", "x-real-ip"];

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Somebody in the network, who needs a token.
    Network(IpAddr),
    /// A user of this machine whom the admin socket lets in.
    Local {
        /// The user.
        uid: u32,
    },
}

/// The mark of an answer whose body goes on for as long as the client reads it.
#[derive(Clone, Copy, Debug)]
pub struct Streaming;

/// A connection.
#[derive(Debug)]
pub struct Connection {
    peer: Peer,
    /// Whether it remembers lists. Without TLS it may be a proxy's.
    remembers: bool,
    read: Mutex<VecDeque<Read>>,
}

/// A list that a client read.
#[derive(Debug)]
struct Read {
    database: Uuid,
    client: Client,
    at: Instant,
    base: Base,
}

/// The client that reads and changes on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Client {
    token: Uuid,
    agent: Option<Vec<u8>>,
}

impl Client {
    /// The client of a request; `None` if a proxy may be in between.
    pub(super) fn of(token: Uuid, headers: &HeaderMap) -> Option<Self> {
        if FORWARDING.iter().any(|name| headers.contains_key(*name)) {
            return None;
        }
        let agent = headers.get(header::USER_AGENT).map(|agent| agent.as_bytes().to_vec());
        Some(Self { token, agent })
    }
}

impl Connection {
    /// A connection of `peer`; whether lists that were read on it are what a change is based on.
    pub fn new(peer: Peer, remembers: bool) -> Self {
        Self { peer, remembers, read: Mutex::default() }
    }

    /// The other end of a connection.
    pub(crate) fn peer(&self) -> Peer {
        self.peer
    }

    /// Remembers what a client knows of a database's list.
    pub(super) fn remember(&self, database: Uuid, client: Client, base: Base) {
        if !self.remembers {
            return;
        }
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.retain(|known| known.database != database);
        read.push_back(Read { database, client, at: Instant::now(), base });
        if read.len() > REMEMBERED {
            read.pop_front();
        }
    }

    /// Forgets what was read of a database's list.
    pub(super) fn forget(&self, database: Uuid) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.retain(|known| known.database != database);
    }

    /// The list of a database that a client read, if that was just now and by the same client.
    pub(super) fn base(&self, database: Uuid, client: &Client) -> Option<Base> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let known = read.iter().find(|known| known.database == database)?;
        (known.client == *client && known.at.elapsed() <= FRESH).then(|| known.base.clone())
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn client(token: u128, agent: &'static str) -> Client {
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
        Client::of(Uuid::from_u128(token), &headers).unwrap()
    }

    fn connection(remembers: bool) -> Connection {
        Connection::new(Peer::Network("192.0.2.1".parse().unwrap()), remembers)
    }

    #[test]
    fn a_base_is_for_the_same_client_and_database() {
        let (connection, database) = (connection(true), Uuid::from_u128(7));
        let doctl = client(1, "doctl/1");
        assert!(connection.base(database, &doctl).is_none());
        connection.remember(database, doctl.clone(), Base::from([]));
        assert!(connection.base(database, &doctl).is_some());
        assert!(connection.base(Uuid::from_u128(8), &doctl).is_none());
        assert!(connection.base(database, &client(2, "doctl/1")).is_none());
        assert!(connection.base(database, &client(1, "pydo")).is_none());
        connection.read.lock().unwrap()[0].at -= FRESH + Duration::from_secs(1);
        assert!(connection.base(database, &doctl).is_none());
    }

    #[test]
    fn lists_that_are_remembered_are_few() {
        let (connection, doctl) = (connection(true), client(1, "doctl/1"));
        for n in 0..100 {
            connection.remember(Uuid::from_u128(n), doctl.clone(), Base::from([]));
        }
        assert!(connection.base(Uuid::from_u128(99), &doctl).is_some());
        assert!(connection.base(Uuid::from_u128(90), &doctl).is_none());
    }

    #[test]
    fn behind_a_proxy_and_without_tls_nothing_is_remembered() {
        for name in FORWARDING {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static("x"));
            assert_eq!(Client::of(Uuid::nil(), &headers), None);
        }
        let (connection, doctl) = (connection(false), client(1, "doctl/1"));
        connection.remember(Uuid::nil(), doctl.clone(), Base::from([]));
        assert!(connection.base(Uuid::nil(), &doctl).is_none());
    }
}
