//! The verdict of the lines over clients.

use std::{
    collections::BTreeSet,
    mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use strum::{Display, EnumIter};

use super::{
    address::{Address, Net, Overlap},
    line::{Connection, DatabaseItem, Line, RoleItem, Rules},
};
use crate::source::Prefix;

/// Parts into which the lines may cut a prefix. Beyond it the verdict is unknown.
const MAX_PARTS: usize = 65_536;
/// Parts that all lines together may look at, which bounds the time.
const MAX_WORK: usize = 20_000_000;

/// The encryption of a connection by TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Display, EnumIter)]
#[strum(serialize_all = "lowercase")]
pub enum Encryption {
    /// TLS.
    Tls,
    /// None.
    Plain,
    /// GSSAPI.
    Gss,
}

/// The database that a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database<'a> {
    /// The database of this name.
    Named(&'a [u8]),
    /// Any whose name is neither in the lines nor that of the role asked for.
    Other,
    /// None, by physical replication.
    Replication,
}

/// The role that a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role<'a> {
    /// The role of this name.
    Named(&'a [u8]),
    /// Any whose name is neither in the lines nor that of the database asked for.
    Other,
    /// Such a one that is a member of no role, as one that does not exist is.
    Unrelated,
}

/// A client, but for its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client<'a> {
    /// The database it asks for.
    pub database: Database<'a>,
    /// The role it asks for.
    pub role: Role<'a>,
    /// The encryption of its connection.
    pub encryption: Encryption,
}

/// Facts that only the server or its host has. Without one the verdict is unknown where a line
/// needs it.
pub trait Facts {
    /// Whether the role `member` is a member of `group`, directly or not, or is it. A superuser is
    /// a member of those alone that it was put in.
    fn is_member(&self, _member: &[u8], _group: &[u8]) -> Option<bool> {
        None
    }

    /// The names of all roles that may log in.
    fn login_roles(&self) -> Option<&[Vec<u8>]> {
        None
    }

    /// Whether a regular expression finds a name.
    fn finds(&self, _regex: &[u8], _name: &[u8]) -> Option<bool> {
        None
    }

    /// Whether the clients at every address of a prefix have a host name, or one in the domain
    /// that begins with a dot.
    fn has_name(&self, _prefix: &Prefix, _name: &[u8]) -> Option<bool> {
        None
    }

    /// The addresses of the server's host, each with the length of its network.
    fn own_addresses(&self) -> Option<&[(IpAddr, u8)]> {
        None
    }
}

/// No facts.
#[derive(Clone, Copy, Debug)]
pub struct NoFacts;

impl Facts for NoFacts {}

/// The line that decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'r> {
    /// The first line that matches.
    Line(&'r Line),
    /// No line matches, so the server refuses.
    NoLine,
    /// Whether this line matches is not known, and none before it does.
    Unknown(&'r Line),
}

impl<'r> Verdict<'r> {
    /// The line that matches.
    pub fn line(&self) -> Option<&'r Line> {
        match self {
            Self::Line(line) => Some(line),
            Self::NoLine | Self::Unknown(_) => None,
        }
    }
}

/// A part of a prefix with its verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged<'r> {
    /// The part. Parts do not overlap, and are the prefix together.
    pub part: Prefix,
    /// The verdict for each of its addresses.
    pub verdict: Verdict<'r>,
}

impl Rules {
    /// The verdicts for a client at the addresses of a prefix, in the order of the addresses.
    pub fn judge(&self, prefix: Prefix, client: &Client<'_>, facts: &dyn Facts) -> Vec<Judged<'_>> {
        let mut parts = Parts { open: BTreeSet::from([prefix]), judged: Vec::new(), work: 0 };
        for line in self.lines() {
            let Some(address) = line.address() else { continue };
            if parts.open.is_empty() {
                break;
            }
            if line.takes_encryption(client.encryption)
                && let Some(found) = Match::of(line.takes_database(client, facts))
                && let Some(found) = found.and(line.takes_role(client.role, facts))
            {
                parts.judge(line, address, found, facts);
            }
            if parts.is_too_much() {
                parts.close(Verdict::Unknown(line));
            }
        }
        parts.close(Verdict::NoLine);
        parts.judged.sort_unstable_by_key(|judged| judged.part);
        parts.judged
    }
}

/// A match of a line, as far as it is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Match {
    Sure,
    Unknown,
}

impl Match {
    /// `None`: it does not match.
    fn of(known: Option<bool>) -> Option<Self> {
        match known {
            Some(true) => Some(Self::Sure),
            Some(false) => None,
            None => Some(Self::Unknown),
        }
    }

    fn and(self, known: Option<bool>) -> Option<Self> {
        Self::of(known).map(|other| if other == Self::Sure { self } else { other })
    }

    fn verdict(self, line: &Line) -> Verdict<'_> {
        match self {
            Self::Sure => Verdict::Line(line),
            Self::Unknown => Verdict::Unknown(line),
        }
    }
}

/// Whether one of several is true, as far as it is known of each.
fn any(known: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut any = Some(false);
    for one in known {
        match one {
            Some(true) => return one,
            Some(false) => {}
            None => any = None,
        }
    }
    any
}

impl Line {
    fn takes_encryption(&self, encryption: Encryption) -> bool {
        match self.connection() {
            Connection::Local => false,
            Connection::Host => true,
            Connection::HostSsl => encryption == Encryption::Tls,
            Connection::HostNoSsl => encryption != Encryption::Tls,
            Connection::HostGss => encryption == Encryption::Gss,
            Connection::HostNoGss => encryption != Encryption::Gss,
        }
    }

    fn takes_database(&self, client: &Client<'_>, facts: &dyn Facts) -> Option<bool> {
        any(self.databases().iter().map(|item| match (client.database, item) {
            (Database::Replication, item) => Some(*item == DatabaseItem::Replication),
            (_, DatabaseItem::Replication) => Some(false),
            (_, DatabaseItem::All) => Some(true),
            (database, DatabaseItem::SameUser) => match (database, client.role) {
                (Database::Named(name), Role::Named(role)) => Some(name == role),
                (Database::Other, Role::Other | Role::Unrelated) => None,
                _ => Some(false),
            },
            (Database::Named(name), DatabaseItem::SameRole) => match client.role {
                Role::Named(role) => facts.is_member(role, name),
                Role::Other => None,
                Role::Unrelated => Some(false),
            },
            (Database::Other, DatabaseItem::SameRole) => None,
            (Database::Named(name), DatabaseItem::Name(own)) => Some(name == own),
            (Database::Other, DatabaseItem::Name(_)) => Some(false),
            (Database::Named(name), DatabaseItem::Regex(regex)) => facts.finds(regex, name),
            (Database::Other, DatabaseItem::Regex(_)) => None,
        }))
    }

    fn takes_role(&self, role: Role<'_>, facts: &dyn Facts) -> Option<bool> {
        any(self.roles().iter().map(|item| match (role, item) {
            (_, RoleItem::All) => Some(true),
            (Role::Named(role), RoleItem::MemberOf(group)) => facts.is_member(role, group),
            (Role::Named(role), RoleItem::Name(own)) => Some(role == own),
            (Role::Named(role), RoleItem::Regex(regex)) => facts.finds(regex, role),
            (Role::Other | Role::Unrelated, RoleItem::Name(_)) => Some(false),
            (Role::Unrelated, RoleItem::MemberOf(_)) => Some(false),
            (Role::Other, RoleItem::MemberOf(_)) => None,
            (Role::Other | Role::Unrelated, RoleItem::Regex(_)) => None,
        }))
    }
}

/// A prefix while its parts are judged.
struct Parts<'r> {
    /// Parts that no line matched yet. They do not overlap.
    open: BTreeSet<Prefix>,
    judged: Vec<Judged<'r>>,
    /// Open parts that were looked at.
    work: usize,
}

impl<'r> Parts<'r> {
    fn is_too_much(&self) -> bool {
        self.open.len() + self.judged.len() > MAX_PARTS || self.work > MAX_WORK
    }

    fn settle(&mut self, part: Prefix, verdict: Verdict<'r>) {
        self.open.remove(&part);
        self.judged.push(Judged { part, verdict });
    }

    /// Judges every open part.
    fn close(&mut self, verdict: Verdict<'r>) {
        let open = mem::take(&mut self.open);
        self.judged.extend(open.into_iter().map(|part| Judged { part, verdict }));
    }

    /// Judges the open parts that a line's addresses are in.
    fn judge(&mut self, line: &'r Line, address: &Address, found: Match, facts: &dyn Facts) {
        match address {
            Address::All => self.close(found.verdict(line)),
            Address::Net(net) => self.take(net, line, found),
            Address::SameHost | Address::SameNet => {
                let Some(own) = facts.own_addresses() else {
                    return self.close(Verdict::Unknown(line));
                };
                for (own, length) in own {
                    let length = if *address == Address::SameNet { *length } else { u8::MAX };
                    self.take(&Net::with_length(*own, length), line, found);
                }
            }
            Address::Name(name) => {
                self.work += self.open.len();
                for part in Vec::from_iter(self.open.iter().copied()) {
                    match Match::of(facts.has_name(&part, name)) {
                        Some(Match::Sure) => self.settle(part, found.verdict(line)),
                        Some(Match::Unknown) => self.settle(part, Verdict::Unknown(line)),
                        None => {}
                    }
                }
            }
            Address::Zoned(_) => {
                let v6 = self.open.iter().copied().filter(|part| !part.is_v4());
                for part in Vec::from_iter(v6) {
                    self.settle(part, Verdict::Unknown(line));
                }
            }
        }
    }

    /// Judges the open parts that a network has, and cuts the one that it is inside of.
    fn take(&mut self, net: &Net, line: &'r Line, found: Match) {
        for part in self.near(net) {
            match net.overlap(&part) {
                Overlap::None => {}
                Overlap::All => self.settle(part, found.verdict(line)),
                Overlap::Inner(length) => {
                    self.open.remove(&part);
                    let (inner, others) = cut(&part, net.address(), length);
                    self.open.extend(others);
                    self.judged.push(Judged { part: inner, verdict: found.verdict(line) });
                }
                Overlap::Scattered => self.settle(part, Verdict::Unknown(line)),
            }
        }
    }

    /// The open parts that a network may have something of.
    fn near(&mut self, net: &Net) -> Vec<Prefix> {
        let near = match net.length() {
            Some(length) => {
                let whole = block(net.address(), length);
                let end = block(whole.last_addr(), u8::MAX);
                let around = self.open.range(..whole).next_back();
                let inside = self.open.range(whole..=end);
                Vec::from_iter(around.into_iter().chain(inside).copied())
            }
            None => Vec::from_iter(self.open.iter().copied()),
        };
        self.work += near.len();
        near
    }
}

/// The block of an address, also of an IPv4-mapped one, which `Prefix::new` takes for IPv4.
fn block(address: IpAddr, length: u8) -> Prefix {
    match address {
        IpAddr::V4(_) => Prefix::new(address, length),
        IpAddr::V6(address) => {
            let length = length.min(128);
            let host = u128::MAX.checked_shr(length.into()).unwrap_or(0);
            Prefix::v6(Ipv6Addr::from_bits(address.to_bits() & !host), length)
        }
    }
}

/// The block of an address inside a prefix, and the blocks that are the rest of it.
fn cut(whole: &Prefix, address: IpAddr, length: u8) -> (Prefix, impl Iterator<Item = Prefix>) {
    let others = (whole.len()..length).map(move |length| {
        let bit = u32::from(length) + 1;
        let beside: IpAddr = match address {
            IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() ^ 1 << (32 - bit)).into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() ^ 1 << (128 - bit)).into(),
        };
        block(beside, length + 1)
    });
    (block(address, length), others)
}
