//! This host's own addresses: a packet between two of them never came from a wire.

use aya_ebpf::maps::lpm_trie::Key;
use dbfw_common::{Family, OWN_DOMAINS, OWN_NETS4, OWN_NETS6, own4, own6};

use crate::{
    hook::Packet,
    maps::{OWN, OWN4, OWN6},
    packet::{Headers, destination},
    source::Source,
};

/// Whether a packet from a wire claims to come from this host.
#[inline(always)]
pub(crate) fn is_claimed<P: Packet, const LINK: usize, const IN_PLACE: bool>(
    packet: &P,
    headers: &Headers,
) -> bool {
    may_be(&headers.source)
        && match destination::<P, LINK, IN_PLACE>(packet, headers.source.family) {
            Some(destination) => is_between_own(&{ headers.source }, &destination),
            None => false,
        }
}

/// Whether both addresses are this host's, and local in the same routing domain.
#[inline(always)]
pub(crate) fn both(source: &Source, destination: &Source) -> bool {
    domains(source) & domains(destination) != 0
}

/// Whether a packet may come from this host, by one load; right where it says no.
#[inline(always)]
fn may_be(source: &Source) -> bool {
    let ((word, bit), nets) = match source.family {
        Family::V4 => (own4(source.words[0]), OWN_NETS4),
        Family::V6 => (own6(source.words), OWN_NETS6),
    };
    match OWN.get(word) {
        Some(bits) => (bits >> bit | bits >> nets) & 1 != 0,
        None => false,
    }
}

#[inline(never)]
fn is_between_own(source: &Source, destination: &Source) -> bool {
    both(source, destination)
}

/// The routing domains in which an address is local, a bit for each.
#[inline(always)]
fn domains(address: &Source) -> u32 {
    local(address) & OWN_DOMAINS
}

/// The routing domains in which an address is local, and what kind of destination it is; 0 if it
/// is not local.
#[inline(always)]
pub(crate) fn local(address: &Source) -> u32 {
    let found = match address.family {
        Family::V4 => OWN4.get(&Key::new(32, address.words[0])),
        Family::V6 => OWN6.get(&Key::new(128, address.words)),
    };
    match found {
        Some(value) => *value,
        None => 0,
    }
}
