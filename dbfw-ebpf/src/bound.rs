//! Databases that are bound to addresses: whether a packet is for one of them.

use dbfw_common::{
    BOUND_TO_ADDRESSES, BOUND_TO_LOCAL, FLAG_ANY_LOCAL, Family, HOST, OWN_SHARED, port_index,
};

use aya_ebpf::maps::lpm_trie::Key;

use crate::{
    maps::{BOUND_PORTS, BOUND4, BOUND6},
    own,
    packet::{Headers, UDP},
    source::Source,
};

/// The database that judges a packet to a port for which PORTS says `named`, more than an id;
/// [`HOST`] if the packet is surely somebody else's.
#[inline(never)]
pub(crate) fn database(headers: &Headers, named: u32, destination: &Source) -> u32 {
    if named != BOUND_TO_ADDRESSES {
        let database = named - BOUND_TO_LOCAL;
        let is_ours = is_group(destination)
            || own::local(destination) != 0
            || bound(destination) >> ((database - 1) & 63) & 1 != 0;
        return if is_ours { database } else { HOST };
    }
    let databases = of_port(headers.protocol, headers.port);
    let here = databases & bound(destination);
    if here != 0 {
        return dbfw_lowest_id(here);
    }
    if is_group(destination) || own::local(destination) & OWN_SHARED != 0 {
        // Any of them may take it: one that trusts the source, if there is one.
        let trusting = match headers.source.entry() {
            Some(entry) => entry.mask() & databases,
            None => 0,
        };
        return dbfw_lowest_id(if trusting != 0 { trusting } else { databases });
    }
    HOST
}

/// The same for a packet whose destination cannot be read: one of those that have the port.
#[inline(never)]
pub(crate) fn any_database(headers: &Headers, named: u32) -> u32 {
    if named != BOUND_TO_ADDRESSES {
        return named - BOUND_TO_LOCAL;
    }
    dbfw_lowest_id(of_port(headers.protocol, headers.port))
}

/// The database whose socket has a port of which PORTS says `named`, more than an id; [`HOST`] if
/// none is bound to the socket's address.
#[inline(always)]
pub(crate) fn of_socket(protocol: u32, port: u32, socket: &Source, named: u32) -> u32 {
    if named != BOUND_TO_ADDRESSES {
        // Whatever is looked up here is local, also an address that came up a moment ago.
        return named - BOUND_TO_LOCAL;
    }
    dbfw_lowest_id(of_port(protocol, port) & bound(socket))
}

/// Whether a packet without a port may be for one of the databases, which are all bound.
#[inline(never)]
pub(crate) fn is_for_one(destination: &Source, flags: u32) -> bool {
    if is_group(destination) || bound(destination) != 0 {
        return true;
    }
    let local = own::local(destination);
    local & OWN_SHARED != 0 || (flags & FLAG_ANY_LOCAL != 0 && local != 0)
}

/// The databases that have a port at written-out addresses, as a mask.
#[inline(always)]
fn of_port(protocol: u32, port: u32) -> u64 {
    match BOUND_PORTS.get(port_index(protocol == UDP, port as u16)) {
        Some(databases) => *databases,
        None => 0,
    }
}

/// The databases that are bound to an address, as a mask.
#[inline(always)]
fn bound(address: &Source) -> u64 {
    let found = match address.family {
        Family::V4 => BOUND4.get(&Key::new(32, address.words[0])),
        Family::V6 => BOUND6.get(&Key::new(128, address.words)),
    };
    match found {
        Some(bound) => bound.mask(),
        None => 0,
    }
}

/// Whether no single host has the address: multicast, limited broadcast, reserved.
#[inline(always)]
fn is_group(address: &Source) -> bool {
    let octet = u32::from_be(address.words[0]) >> 24;
    match address.family {
        Family::V4 => octet == 0 || octet >= 224,
        Family::V6 => octet == 0xff,
    }
}

/// The lowest id of a mask; [`HOST`] if it is empty. Under its own name, because the verifier checks
/// such a function once and takes what it returns for any number: it would follow what comes after
/// this one once for each id.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn dbfw_lowest_id(databases: u64) -> u32 {
    // The processor has no instruction for this, and the compiler's table would be a map.
    let mut id = 1;
    let mut rest = databases;
    if rest == 0 {
        return HOST;
    }
    if rest & 0xffff_ffff == 0 {
        id += 32;
        rest >>= 32;
    }
    if rest & 0xffff == 0 {
        id += 16;
        rest >>= 16;
    }
    if rest & 0xff == 0 {
        id += 8;
        rest >>= 8;
    }
    if rest & 0xf == 0 {
        id += 4;
        rest >>= 4;
    }
    if rest & 3 == 0 {
        id += 2;
        rest >>= 2;
    }
    if rest & 1 == 0 { id + 1 } else { id }
}
