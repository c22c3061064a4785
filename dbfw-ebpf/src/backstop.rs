//! The decision on a socket lookup: a packet that got here by a way no hook judged.

use aya_ebpf::programs::SkLookupContext;
use dbfw_common::{Family, HOST, LOOPBACK_IFINDEX, MAX_EXEMPT, Mode, Reason, Verdict};

use crate::{
    count::{self, Refusal},
    maps::EXEMPT,
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
    let database = protected(protocol, port);
    if database == HOST {
        return Verdict::Pass;
    }
    let mode = mode(database);
    if mode == Mode::Off as u32 {
        return Verdict::Pass;
    }
    let (source, differs) = if lookup.family == AF_INET {
        let source = Source { family: Family::V4, words: [lookup.remote_ip4, 0, 0, 0] };
        (source, lookup.remote_ip4 ^ lookup.local_ip4)
    } else {
        // Word by word: the verifier refuses what comparing the arrays compiles to.
        let (words, local) = (lookup.remote_ip6, lookup.local_ip6);
        let differs = (words[0] ^ local[0])
            | (words[1] ^ local[1])
            | (words[2] ^ local[2])
            | (words[3] ^ local[3]);
        (Source { family: Family::V6, words }, differs)
    };
    if differs == 0 {
        // The host to one of its own outer addresses: over loopback, but the stack names the
        // interface that has the address. From a wire its answer would go to loopback.
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
