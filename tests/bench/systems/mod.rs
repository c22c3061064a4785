//! The systems under test, each in its best form: how it is set up, and what its own
//! counters say.

mod dbfw;
mod ipset;
mod netlink;
mod nft;
mod xdp;
mod xdp_filter;

use crate::{
    line::Line,
    sets::{Pattern, Set},
};

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
    /// An XDP program that passes as many packets as are of the list, and drops the others
    /// without a look: what the IP stack takes of the time in which others drop.
    PassShare,
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

/// Share of the packets that a list has to let in for [`Kind::PassShare`] to differ.
const MIN_SHARE: f64 = 0.001;

/// The order of tables and curves.
pub(crate) const ALL: [Kind; 11] = [
    Kind::DropAll,
    Kind::PassShare,
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
            Self::PassShare => "pass as many (XDP)",
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
            Self::PassShare if set.share(&Pattern::Uniform) < MIN_SHARE => {
                return Some("as good as none are let in");
            }
            Self::DropAll | Self::PassShare | Self::Dbfw | Self::Trie => false,
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
            Self::DropAll => Box::new(xdp::Blind::start(line, 0.0)?),
            Self::PassShare => Box::new(xdp::Blind::start(line, set.share(&Pattern::Uniform))?),
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
