//! The interfaces by which connections reach this host, as far as its routes tell.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
};

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAddress, RouteAttribute, RouteMessage},
};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use nix::sys::{
    socket::{setsockopt, sockopt},
    time::{TimeVal, TimeValLike as _},
};

use crate::connections::Connection;

/// Timeout of an answer: the kernel gives it at once or not at all.
const TIMEOUT_SECONDS: i64 = 2;

/// Room for an answer, which is one route.
const BUFFER: usize = 4 << 10;

/// Length of the header of a netlink message.
const HEADER: usize = 16;

/// The ends of a connection and the interface that it is bound to, of which the route depends.
type Ends = (IpAddr, IpAddr, Option<u32>);

/// Look-ups of the interface by which this host answers a connection's peer. Packets of the peer
/// come in there too, unless the way back differs. Blocks; asks the kernel once for each pair of
/// addresses.
#[derive(Debug)]
pub struct Routes {
    socket: Socket,
    /// Number of the last request.
    asked: u32,
    known: BTreeMap<Ends, Option<u32>>,
}

impl Routes {
    /// Opens a socket in the network namespace of this thread.
    ///
    /// # Errors
    /// The system call fails.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(TIMEOUT_SECONDS))?;
        Ok(Self { socket, asked: 0, known: BTreeMap::new() })
    }

    /// Whether a connection's peer is reached by one of these interfaces. `false` where there is no
    /// route to it.
    pub fn lead_by(&mut self, connection: &Connection, interfaces: &BTreeSet<u32>) -> bool {
        !interfaces.is_empty()
            && self.interface(connection).is_some_and(|index| interfaces.contains(&index))
    }

    /// The index of the interface by which a connection's peer is reached; `None`: there is no route
    /// to it.
    pub fn interface(&mut self, connection: &Connection) -> Option<u32> {
        let Connection { local, peer, interface } = connection;
        let ends = (local.ip(), peer.ip(), *interface);
        if let Some(known) = self.known.get(&ends) {
            return *known;
        }
        // An address that went, or a peer that no route leads to, is an error of the kernel's.
        let found = self.ask(&ends).ok().flatten();
        self.known.insert(ends, found);
        found
    }

    fn ask(&mut self, ends: &Ends) -> io::Result<Option<u32>> {
        self.asked = self.asked.wrapping_add(1);
        self.socket.send(&request(ends, self.asked), 0)?;
        let mut buffer = Vec::with_capacity(BUFFER);
        loop {
            buffer.clear();
            self.socket.recv(&mut buffer, 0)?;
            // One that came too late for an earlier request is not the answer to this one.
            if let Some(found) = answer(&buffer, self.asked)? {
                return found;
            }
        }
    }
}

fn request((local, peer, interface): &Ends, number: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    header.sequence_number = number;
    let mut message = RouteMessage::default();
    let (family, bits) = match peer {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    message.header.address_family = family;
    message.header.destination_prefix_length = bits;
    message.header.source_prefix_length = bits;
    message.attributes = vec![
        RouteAttribute::Destination(RouteAddress::from(*peer)),
        RouteAttribute::Source(RouteAddress::from(*local)),
    ];
    message.attributes.extend(interface.map(RouteAttribute::Oif));
    let mut message =
        NetlinkMessage::new(header, NetlinkPayload::from(RouteNetlinkMessage::GetRoute(message)));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// The interface of the route in an answer, or the kernel's error; `None`: it is the answer to
/// another request.
///
/// # Errors
/// It is no answer.
fn answer(bytes: &[u8], number: u32) -> io::Result<Option<io::Result<Option<u32>>>> {
    if bytes.len() < HEADER {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let message =
        NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes).map_err(io::Error::other)?;
    if message.header.sequence_number != number {
        return Ok(None);
    }
    Ok(Some(match message.payload {
        NetlinkPayload::Error(error) => Err(error.to_io()),
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => {
            let interface = route.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Oif(index) => Some(*index),
                _ => None,
            });
            Ok(interface)
        }
        _ => Ok(None),
    }))
}

#[cfg(test)]
mod tests {
    use nix::net::if_::if_nametoindex;

    use super::*;

    fn connection(local: &str, peer: &str) -> Connection {
        let end = |address: &str| (address.parse::<IpAddr>().unwrap(), 1).into();
        Connection { local: end(local), peer: end(peer), interface: None }
    }

    #[test]
    fn loopback_is_reached_by_lo() {
        let lo = if_nametoindex("lo").unwrap();
        let mut routes = Routes::open().unwrap();
        for connection in [connection("127.0.0.1", "127.0.0.9"), connection("::1", "::1")] {
            assert_eq!(routes.interface(&connection), Some(lo), "{connection:?}");
            assert!(routes.lead_by(&connection, &[lo].into()));
            assert!(!routes.lead_by(&connection, &[lo + 1000].into()));
        }
    }

    #[test]
    fn each_pair_of_addresses_has_its_own_answer() {
        let lo = if_nametoindex("lo").unwrap();
        let mut routes = Routes::open().unwrap();
        // An answer that nobody takes, as after a timeout.
        let late = ("127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap(), None);
        routes.socket.send(&request(&late, 77), 0).unwrap();
        assert_eq!(routes.interface(&connection("203.0.113.7", "198.51.100.1")), None);
        assert_eq!(routes.interface(&connection("127.0.0.1", "127.0.0.3")), Some(lo));
    }

    #[test]
    fn addresses_that_are_not_here_or_do_not_fit_have_no_route() {
        let mut routes = Routes::open().unwrap();
        for connection in [connection("203.0.113.7", "127.0.0.1"), connection("0.0.0.0", "0.0.0.0")]
        {
            let _ = routes.interface(&connection);
        }
        assert_eq!(routes.interface(&connection("203.0.113.7", "198.51.100.1")), None);
        assert!(routes.interface(&connection("127.0.0.1", "127.0.0.2")).is_some(), "still asks");
    }

    #[test]
    fn an_answer_cut_short_or_damaged_is_an_error_and_never_a_panic() {
        let whole = request(&("::1".parse().unwrap(), "::1".parse().unwrap(), Some(1)), 7);
        assert!(answer(&whole, 8).unwrap().is_none(), "of another request");
        for length in 0..whole.len() {
            let _ = answer(&whole[..length], 7);
        }
        for at in 0..whole.len() {
            for flip in [0xff, 0x01, 0x80] {
                let mut bad = whole.clone();
                bad[at] ^= flip;
                let _ = answer(&bad, 7);
            }
        }
    }
}
