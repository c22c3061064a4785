//! The decision on one packet.

use core::mem::MaybeUninit;

use dbfw_common::{
    DATABASE_SLOTS, FLAG_ALL_BOUND, FLAG_DROP_FRAGMENTS, HOST, Mode, Reason, Verdict, port_slot,
};

use crate::{
    bound, count,
    hook::Packet,
    maps::{DATABASES, PORTS},
    own,
    packet::{Headers, InPlace, Step, UDP, destination, in_place, v4_in_place, v6_in_place, walk},
};

/// Judges a packet and counts what it decided.
#[inline(always)]
pub(crate) fn judge<P: Packet, const LINK: usize>(packet: &P) -> Verdict {
    match in_place::<P, LINK>(packet) {
        // A copy of the code for each family: neither asks which one it is, and the fields of
        // the headers stay in registers.
        InPlace::V4 => {
            if let Some(headers) = v4_in_place::<P, LINK>(packet) {
                return judge_port::<P, LINK>(packet, headers);
            }
        }
        InPlace::V6 => {
            if let Some(headers) = v6_in_place::<P, LINK>(packet) {
                return judge_port::<P, LINK>(packet, headers);
            }
        }
        InPlace::Other => return count::passed(packet, Reason::NotJudged),
        InPlace::Nothing => {}
    }
    judge_walked::<P, LINK>(packet)
}

/// Judges a packet of any shape. What it calls is apart, because the frames of nested calls must fit
/// into 512 bytes, each rounded up to 32 (kernel/bpf/verifier.c: `check_max_stack_depth`).
#[inline(never)]
fn judge_walked<P: Packet, const LINK: usize>(packet: &P) -> Verdict {
    let mut storage = MaybeUninit::uninit();
    let headers = Headers::clear(&mut storage);
    match walk::<P, LINK>(packet, headers) {
        Step::Port => match walked_database::<P, LINK>(packet, headers) {
            HOST => count::passed(packet, Reason::OtherPort),
            database => judge_walked_for::<P, LINK>(packet, headers, database),
        },
        Step::NotJudged => count::passed(packet, Reason::NotJudged),
        step => judge_without_port::<P, LINK>(packet, headers, step),
    }
}

/// The database that judges a packet that was walked; [`HOST`] if none does.
#[inline(never)]
fn walked_database<P: Packet, const LINK: usize>(packet: &P, headers: &Headers) -> u32 {
    let named = protected(headers.protocol, headers.port);
    if named < DATABASE_SLOTS {
        return named;
    }
    bound_database::<P, LINK, false>(packet, headers, named)
}

/// Judges a packet that was walked, to a port of `database`.
#[inline(never)]
fn judge_walked_for<P: Packet, const LINK: usize>(
    packet: &P,
    headers: &Headers,
    database: u32,
) -> Verdict {
    judge_for::<P, LINK, false>(packet, *headers, database, mode(database))
}

/// Judges a packet whose headers were read in place.
#[inline(always)]
fn judge_port<P: Packet, const LINK: usize>(packet: &P, headers: Headers) -> Verdict {
    let named = protected(headers.protocol, headers.port);
    if named == HOST {
        return count::passed(packet, Reason::OtherPort);
    }
    let (database, mode) = match DATABASES.get(named) {
        Some(known) => (named, known.mode),
        // No database has such an id: the destination decides as well.
        None => {
            let database = bound_database::<P, LINK, true>(packet, &{ headers }, named);
            if database == HOST {
                return count::passed(packet, Reason::OtherPort);
            }
            (database, mode(database))
        }
    };
    judge_for::<P, LINK, true>(packet, headers, database, mode)
}

/// The database that judges a packet to a port for which PORTS says `named`, more than an id.
#[inline(always)]
fn bound_database<P: Packet, const LINK: usize, const IN_PLACE: bool>(
    packet: &P,
    headers: &Headers,
    named: u32,
) -> u32 {
    match destination::<P, LINK, IN_PLACE>(packet, headers.source.family) {
        Some(destination) => bound::database(headers, named, &destination),
        None => bound::any_database(headers, named),
    }
}

/// Judges a packet to a port of `database`, which is in `mode`.
#[inline(always)]
fn judge_for<P: Packet, const LINK: usize, const IN_PLACE: bool>(
    packet: &P,
    headers: Headers,
    database: u32,
    mode: u32,
) -> Verdict {
    if mode == Mode::Off as u32 {
        return count::passed(packet, Reason::OtherPort);
    }
    let bytes = packet.frame_len_around(headers.end);
    if headers.end > bytes {
        return count::refused(packet, &headers, database, mode, Reason::Malformed, bytes);
    }
    if own::is_claimed::<P, LINK, IN_PLACE>(packet, &headers) {
        return count::refused(packet, &headers, database, mode, Reason::Martian, bytes);
    }
    match headers.source.entry() {
        Some(entry) if reaches(entry.mask(), database) => {
            let rule = count::rule_slot(entry, database);
            count::allowed(packet, &headers, database, rule, bytes)
        }
        _ => count::refused(packet, &headers, database, mode, Reason::Untrusted, bytes),
    }
}

/// No port to go by: any database's trust will do, and the host's slot counts.
#[inline(never)]
fn judge_without_port<P: Packet, const LINK: usize>(
    packet: &P,
    headers: &Headers,
    step: Step,
) -> Verdict {
    let Some(host) = DATABASES.get(HOST) else { return Verdict::Pass };
    let reason = match step {
        Step::Refused => headers.reason,
        Step::Fragment => Reason::Fragment,
        _ => Reason::PortHidden,
    };
    // A fragment that is not the first cannot supply a port, and every first one is judged.
    if host.mode == Mode::Off as u32
        || (reason == Reason::Fragment && host.flags & FLAG_DROP_FRAGMENTS == 0)
    {
        return count::passed(packet, Reason::NotJudged);
    }
    // Where the destination cannot be read, or says nothing, it is judged.
    let is_addressed = step != Step::Refused || reason == Reason::Malformed;
    if host.flags & FLAG_ALL_BOUND != 0
        && is_addressed
        && let Some(destination) = destination::<P, LINK, false>(packet, headers.source.family)
        && !bound::is_for_one(&destination, host.flags)
    {
        return count::passed(packet, Reason::NotJudged);
    }
    let bytes = packet.frame_len();
    if step != Step::Refused && own::is_claimed::<P, LINK, false>(packet, headers) {
        return count::refused(packet, headers, HOST, host.mode, Reason::Martian, bytes);
    }
    if step != Step::Refused && headers.source.entry().is_some() {
        return count::allowed(packet, headers, HOST, 0, bytes);
    }
    count::refused(packet, headers, HOST, host.mode, reason, bytes)
}

/// The database a port belongs to, or more than an id where the destination decides as well;
/// [`HOST`] if none.
#[inline(always)]
pub(crate) fn protected(protocol: u32, port: u32) -> u32 {
    let (word, byte) = port_slot(protocol == UDP, port as u16);
    match PORTS.get(word) {
        Some(ids) => (ids >> (byte * 8) & 0xff) as u32,
        None => HOST,
    }
}

#[inline(always)]
pub(crate) fn mode(database: u32) -> u32 {
    match DATABASES.get(database) {
        Some(database) => database.mode,
        None => Mode::Off as u32,
    }
}

/// Whether the bit of `database` is set.
#[inline(always)]
pub(crate) fn reaches(mask: u64, database: u32) -> bool {
    mask >> ((database - 1) & 63) & 1 != 0
}
