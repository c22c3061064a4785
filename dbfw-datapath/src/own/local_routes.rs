//! The addresses that are local to this host, from its routing tables.

use std::{collections::BTreeMap, net::IpAddr};

use dbfw_common::{OWN_DOMAINS, OWN_LINK, OWN_SHARED};
use dbfw_core::source::Prefix;
use futures_util::TryStreamExt as _;
use netlink_packet_route::{
    AddressFamily,
    link::{InfoData, InfoKind, InfoVrf, LinkAttribute, LinkInfo, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteType},
};
use rtnetlink::Handle;

/// Routing domains that are told apart: bits of a map's value, the first is that of no VRF.
const DOMAINS: usize = OWN_DOMAINS.count_ones() as usize;

/// The addresses and networks that are local, each as a value of OWN4 and OWN6: the routing domains
/// in which it is (bit 0 for the host's own table, another for every VRF), and what it is besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalAddresses {
    prefixes: BTreeMap<Prefix, u32>,
    domains_left_out: usize,
}

impl LocalAddresses {
    /// Each prefix with its value.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Prefix, u32)> {
        self.prefixes.iter().map(|(prefix, value)| (*prefix, *value))
    }

    /// Whether a prefix is local, in whatever routing domain.
    pub fn contains(&self, prefix: &Prefix) -> bool {
        self.prefixes.contains_key(prefix)
    }

    /// Whether an address is local, in whatever routing domain.
    pub fn holds(&self, address: IpAddr) -> bool {
        self.prefixes.keys().any(|prefix| prefix.contains(address))
    }

    /// VRFs beyond those that can be told apart: nothing of theirs is in.
    pub fn domains_left_out(&self) -> usize {
        self.domains_left_out
    }
}

/// A reader of the local routes, with a netlink socket of its own: on that one the kernel lists
/// only the routes that were asked for, however many others there are.
#[derive(Debug)]
pub struct LocalRoutes {
    handle: Handle,
}

impl LocalRoutes {
    /// Opens the socket; within a runtime.
    ///
    /// # Errors
    /// The system call fails.
    pub fn open() -> std::io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection_with_strict_check()?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// As [`Self::read`], for callers without a runtime. Blocks.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn read_now() -> std::io::Result<LocalAddresses> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async { Self::open()?.read().await.map_err(std::io::Error::other) })
    }

    /// The addresses and networks that are local now.
    ///
    /// # Errors
    /// The kernel's, where it does not tell.
    pub async fn read(&self) -> Result<LocalAddresses, rtnetlink::Error> {
        let mut tables = self.vrf_tables().await?;
        tables.sort_unstable();
        tables.dedup();
        tables.insert(0, u32::from(libc::RT_TABLE_LOCAL));
        let mut local = LocalAddresses {
            domains_left_out: tables.len().saturating_sub(DOMAINS),
            ..LocalAddresses::default()
        };
        for (domain, table) in tables.into_iter().take(DOMAINS).enumerate() {
            for family in [AddressFamily::Inet, AddressFamily::Inet6] {
                for (kind, value) in [
                    (RouteType::Local, 1 << domain),
                    (RouteType::Broadcast, OWN_SHARED),
                    (RouteType::Anycast, OWN_SHARED),
                ] {
                    for prefix in self.table(family, table, kind).await? {
                        let value = if is_of_a_link(&prefix) { OWN_LINK } else { value };
                        *local.prefixes.entry(prefix).or_default() |= value;
                    }
                }
            }
        }
        Ok(local)
    }

    /// The routes of a kind in one table; none where there is no such table.
    async fn table(
        &self,
        family: AddressFamily,
        table: u32,
        kind: RouteType,
    ) -> Result<Vec<Prefix>, rtnetlink::Error> {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        message.header.kind = kind;
        match u8::try_from(table) {
            Ok(table) => message.header.table = table,
            Err(_) => message.attributes.push(RouteAttribute::Table(table)),
        }
        let routes: Result<Vec<RouteMessage>, _> =
            self.handle.route().get(message).execute().try_collect().await;
        match routes {
            Ok(routes) => {
                Ok(routes.iter().filter_map(|route| prefix(route, table, kind)).collect())
            }
            Err(rtnetlink::Error::NetlinkError(error))
                if error.raw_code() == -libc::ENOENT || error.raw_code() == -libc::EOPNOTSUPP =>
            {
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        }
    }

    /// The routing tables of the VRFs.
    async fn vrf_tables(&self) -> Result<Vec<u32>, rtnetlink::Error> {
        let mut request = self.handle.link().get();
        let kind = LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vrf)]);
        request.message_mut().attributes.push(kind);
        let links: Result<Vec<LinkMessage>, _> = request.execute().try_collect().await;
        match links {
            Ok(links) => Ok(links.iter().filter_map(vrf_table).collect()),
            // A kernel without VRFs knows no such kind of link.
            Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -libc::EOPNOTSUPP => {
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether an address is of one link: on another it may be a stranger's.
fn is_of_a_link(prefix: &Prefix) -> bool {
    matches!(prefix.addr(), IpAddr::V6(address) if address.is_unicast_link_local())
}

/// The prefix of a route, if it is one of this table and kind.
fn prefix(route: &RouteMessage, table: u32, kind: RouteType) -> Option<Prefix> {
    let of_table = route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Table(table) => Some(*table),
            _ => None,
        })
        .unwrap_or(u32::from(route.header.table));
    if route.header.kind != kind || of_table != table {
        return None;
    }
    let destination = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(IpAddr::from(*address)),
        RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some(IpAddr::from(*address)),
        _ => None,
    })?;
    Some(Prefix::new(destination, route.header.destination_prefix_length))
}

fn vrf_table(link: &LinkMessage) -> Option<u32> {
    link.attributes.iter().find_map(|attribute| {
        let LinkAttribute::LinkInfo(infos) = attribute else { return None };
        infos.iter().find_map(|info| match info {
            LinkInfo::Data(InfoData::Vrf(data)) => data.iter().find_map(|info| match info {
                InfoVrf::TableId(table) => Some(*table),
                _ => None,
            }),
            _ => None,
        })
    })
}
