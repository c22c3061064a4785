//! The decision on a socket lookup: a packet that got here by a way no hook judged.

use aya_ebpf::programs::SkLookupContext;
use dbfw_common::{
    DATABASE_SLOTS, Family, HOST, LOOPBACK_IFINDEX, MAX_EXEMPT, Mode, Reason, Verdict,
};

use crate::{
    bound,
    count::{self, Refusal},
    maps::EXEMPT,
    own,
    source::Source,
    verdict::{mode, protected, reaches},
};

const AF_INET: u32 = 2;

/// Judges a lookup of a listening or unconnected socket.
#[inline(always)]
pub(crate) fn judge(ctx: &SkLookupContext) -> Verdict {
    // SAFETY: the context is the hook's own, and the verifier allows these loads.
    let lookup = unsafe { &*ctx.lookup };
    let ifindex = lookup.ingress_ifindex;
    if ifindex == LOOPBACK_IFINDEX {
        return Verdict::Pass;
    }
    let port = lookup.local_port;
    let protocol = lookup.protocol;
    let named = protected(protocol, port);
    if named == HOST {
        return Verdict::Pass;
    }
    let family = if lookup.family == AF_INET { Family::V4 } else { Family::V6 };
    // What is of the other family reads as zero. A branch here, or comparing arrays, compiles to
    // what the verifier refuses.
    let address =
        |ip4, ip6: [u32; 4]| Source { family, words: [ip4 | ip6[0], ip6[1], ip6[2], ip6[3]] };
    let source = address(lookup.remote_ip4, lookup.remote_ip6);
    let destination = address(lookup.local_ip4, lookup.local_ip6);
    let (from, to) = (source.words, destination.words);
    if (from[0] ^ to[0]) | (from[1] ^ to[1]) | (from[2] ^ to[2]) | (from[3] ^ to[3]) == 0 {
        // The host to one of its own outer addresses: over loopback, but the stack names the
        // interface that has the address. From a wire its answer would go to loopback. Known
        // without the maps, so it holds for an address that came while no agent ran.
        return Verdict::Pass;
    }
    let database = match named {
        named if named < DATABASE_SLOTS => named,
        named => bound::of_socket(protocol, port, &destination, named),
    };
    if database == HOST {
        return Verdict::Pass;
    }
    let mode = mode(database);
    if mode == Mode::Off as u32 {
        return Verdict::Pass;
    }
    if let Some(entry) = source.entry()
        && reaches(entry.mask(), database)
    {
        // The hook at the interface has counted it, or there is none: never twice.
        return Verdict::Pass;
    }
    if is_exempt(ifindex) {
        return Verdict::Pass;
    }
    if own::both(&source, &destination) {
        // The same from one of its addresses to another.
        return Verdict::Pass;
    }
    let verdict = count::verdict(mode);
    count::refusal(&Refusal {
        source,
        database,
        ifindex,
        bytes: 0,
        port,
        protocol,
        reason: Reason::Backstop,
        verdict,
    });
    verdict
}

#[inline(always)]
fn is_exempt(ifindex: u32) -> bool {
    // Also marks a slot that is not used.
    if ifindex == 0 {
        return false;
    }
    let Some(exempt) = EXEMPT.get(0) else { return false };
    let mut i = 0;
    while i < MAX_EXEMPT {
        if exempt.ifindex[i] == ifindex {
            return true;
        }
        i += 1;
    }
    false
}
