//! The systems under test, each in its best form: how it is set up, and what its own
//! counters say.

mod dbfw;
mod ipset;
mod netlink;
mod nft;
mod xdp;
mod xdp_filter;

use crate::{line::Line, sets::Set};

pub(crate) use self::{
    dbfw::{Dbfw, Trust},
    ipset::Ipset,
    nft::Nft,
};

/// Packets to the protected port so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) dropped: u64,
    pub(crate) accepted: u64,
}

/// A system that stands and filters [`crate::line::INTERFACE`] of its line.
pub(crate) trait System {
    /// Reads its own counters.
    fn counts(&self) -> Result<Counts, String>;
}

/// Where nftables filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NftHook {
    /// The ingress hook of the interface.
    Netdev,
    /// Prerouting at raw priority.
    Raw,
}

/// A set of ipset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IpsetKind {
    HashIp,
    HashNet,
}

/// Every system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An XDP program that drops everything: two instructions, no counter of its own.
    DropAll,
    /// The agent and its programs.
    Dbfw,
    /// An XDP program with the port and one trie.
    Trie,
    /// nftables, with `flags interval` or without.
    Nft { hook: NftHook, interval: bool },
    /// iptables' raw table with a set.
    Ipset(IpsetKind),
    /// xdp-filter, deny policy, by source address.
    XdpFilter,
}

/// The order of tables and curves.
pub(crate) const ALL: [Kind; 10] = [
    Kind::DropAll,
    Kind::Dbfw,
    Kind::Trie,
    Kind::XdpFilter,
    Kind::Nft { hook: NftHook::Netdev, interval: false },
    Kind::Nft { hook: NftHook::Netdev, interval: true },
    Kind::Nft { hook: NftHook::Raw, interval: false },
    Kind::Nft { hook: NftHook::Raw, interval: true },
    Kind::Ipset(IpsetKind::HashIp),
    Kind::Ipset(IpsetKind::HashNet),
];

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::DropAll => "drop everything (XDP)",
            Self::Dbfw => "dbfw",
            Self::Trie => "plain LPM trie (XDP)",
            Self::Nft { hook: NftHook::Netdev, interval: false } => "nft netdev, hash",
            Self::Nft { hook: NftHook::Netdev, interval: true } => "nft netdev, interval",
            Self::Nft { hook: NftHook::Raw, interval: false } => "nft raw, hash",
            Self::Nft { hook: NftHook::Raw, interval: true } => "nft raw, interval",
            Self::Ipset(IpsetKind::HashIp) => "ipset hash:ip, raw",
            Self::Ipset(IpsetKind::HashNet) => "ipset hash:net, raw",
            Self::XdpFilter => "xdp-filter",
        }
    }

    /// Why it cannot hold the list at all.
    pub(crate) fn cannot(self, set: &Set) -> Option<&'static str> {
        let exact = match self {
            Self::Nft { interval, .. } => !interval,
            Self::Ipset(kind) => kind == IpsetKind::HashIp,
            Self::XdpFilter if set.prefixes.len() > xdp_filter::CAPACITY => {
                return Some("its maps hold 10,000 addresses");
            }
            Self::XdpFilter => true,
            Self::DropAll | Self::Dbfw | Self::Trie => false,
        };
        (exact && !set.is_hosts()).then_some("holds single addresses only")
    }

    /// Sets it up on a line, with the list in force.
    pub(crate) fn start<'a>(
        self,
        line: &'a Line,
        set: &Set,
    ) -> Result<Box<dyn System + 'a>, String> {
        Ok(match self {
            Self::DropAll => Box::new(xdp::DropAll::start(line)?),
            Self::Trie => Box::new(xdp::Trie::start(line, set)?),
            Self::Dbfw => {
                let mut agent = Dbfw::configured(line, set, Trust::default())?;
                agent.spawn()?;
                Box::new(agent)
            }
            Self::Nft { hook, interval } => {
                let tables = Nft::empty(line, set, hook, interval)?;
                tables.fill(set)?;
                Box::new(tables)
            }
            Self::Ipset(kind) => {
                let ipset = Ipset::empty(line, set, kind)?;
                ipset.fill(set)?;
                Box::new(ipset)
            }
            Self::XdpFilter => Box::new(xdp_filter::XdpFilter::start(line, set)?),
        })
    }
}
