//! What a test protects and trusts, before anything is derived from it.

use std::net::IpAddr;

use dbfw_common::Mode;
use ipnet::IpNet;

/// A protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// Its IP protocol number.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

/// One protected database.
#[derive(Clone, Debug)]
pub struct Protected {
    /// 1..=64.
    pub id: u32,
    /// Its mode.
    pub mode: Mode,
    /// Its ports.
    pub ports: Vec<(Transport, u16)>,
}

/// A prefix and the databases it is trusted by, bit `id - 1` for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trusted {
    /// The prefix.
    pub net: IpNet,
    /// The databases.
    pub databases: u64,
}

/// Everything that decides on a packet.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The databases, each id and each port once.
    pub databases: Vec<Protected>,
    /// Prefixes in any order; they may repeat, nest and overlap.
    pub trusted: Vec<Trusted>,
    /// `fragments = "drop"`.
    pub drop_fragments: bool,
}

impl Policy {
    /// The same policy with every database in `mode`.
    pub fn in_mode(&self, mode: Mode) -> Self {
        let mut policy = self.clone();
        policy.databases.iter_mut().for_each(|database| database.mode = mode);
        policy
    }

    /// The database a port belongs to.
    pub fn database(&self, transport: Transport, port: u16) -> Option<&Protected> {
        self.databases.iter().find(|database| database.ports.contains(&(transport, port)))
    }

    /// Databases that trust an address: the union over every prefix that covers it.
    pub fn reach(&self, address: IpAddr) -> u64 {
        let covering = self.trusted.iter().filter(|trusted| trusted.net.contains(&address));
        covering.fold(0, |reach, trusted| reach | trusted.databases)
    }

    /// The most specific prefix that covers an address.
    pub fn longest(&self, address: IpAddr) -> Option<IpNet> {
        let covering = self.trusted.iter().map(|trusted| trusted.net);
        covering.filter(|net| net.contains(&address)).max_by_key(IpNet::prefix_len)
    }
}

/// Bits of databases, as [`Trusted::databases`] has them.
pub fn mask(ids: &[u32]) -> u64 {
    ids.iter().fold(0, |mask, id| mask | 1 << (id - 1))
}
