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
    let source = if lookup.family == AF_INET {
        Source { family: Family::V4, words: [lookup.remote_ip4, 0, 0, 0] }
    } else {
        Source { family: Family::V6, words: lookup.remote_ip6 }
    };
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
