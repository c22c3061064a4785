//! The header walk: from the first byte of a frame to its source and destination port.
//!
//! The common shapes (no VLAN tag, IPv4 without options or IPv6 without extension headers)
//! are read in place at constant offsets. Everything else goes through `load`, a helper
//! call per header: variable packet offsets would need CAP_PERFMON to load, and the helper
//! also reads past the linear part of a multi-buffer frame.

use core::mem::MaybeUninit;

use dbfw_common::{Family, MAX_EXT_HEADERS, MAX_VLAN_TAGS, Reason};

use crate::{hook::Packet, source::Source};

/// Link header of Ethernet devices, in bytes.
pub(crate) const ETHERNET: usize = 14;
/// Link header of devices that have none.
pub(crate) const NO_LINK_HEADER: usize = 0;

const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;
const ETH_P_8021Q: u16 = 0x8100;
const ETH_P_8021AD: u16 = 0x88a8;
const ETH_P_QINQ1: u16 = 0x9100;

const HOP_BY_HOP: u32 = 0;
const TCP: u32 = 6;
pub(crate) const UDP: u32 = 17;
const ROUTING: u32 = 43;
const FRAGMENT: u32 = 44;
const AUTHENTICATION: u32 = 51;
const DESTINATION_OPTIONS: u32 = 60;
const MOBILITY: u32 = 135;
const HOST_IDENTITY: u32 = 139;
const SHIM6: u32 = 140;

/// Writes a step out as often as it may be taken. Not a loop: kernels before 6.7 refuse one
/// whose last instruction is no jump, and which is the last the compiler decides.
macro_rules! written_out {
    ($most:ident: $($number:literal)+ => $step:block) => {
        const { assert!([$($number),+].len() == $most as usize) };
        $({
            let _ = $number;
            $step
        })+
    };
}

/// The header that the walk ended at.
#[derive(Clone, Copy, PartialEq)]
#[repr(u32)]
pub(crate) enum Step {
    /// Neither IP nor a protocol that carries ports.
    NotJudged = 0,
    /// To be dropped for `Headers::reason`, whatever its port.
    Refused = 1,
    /// A fragment that is not the first: it supplies no port.
    Fragment = 2,
    /// The port cannot be read.
    Hidden = 3,
    /// TCP or UDP with a port.
    Port = 4,
}

/// The fields of the headers; the [`Step`] says which of them mean something.
#[derive(Clone, Copy)]
pub(crate) struct Headers {
    pub(crate) source: Source,
    /// The end of the packet by its IP header, counted from the first byte of the frame;
    /// 0 where it says nothing (jumbograms).
    pub(crate) end: u32,
    pub(crate) port: u32,
    /// TCP or UDP; 0 if unknown.
    pub(crate) protocol: u32,
    pub(crate) reason: Reason,
}

impl Headers {
    /// Clears `headers`: all zero and [`Reason::NotJudged`]. In place, for the reason that
    /// [`Source::clear`] has.
    #[inline(always)]
    pub(crate) fn clear(headers: &mut MaybeUninit<Self>) -> &mut Self {
        let at = headers.as_mut_ptr();
        // SAFETY: every field is written; volatile, so that the stores stay stores.
        unsafe {
            Source::clear(&raw mut (*at).source, Family::V4);
            (&raw mut (*at).end).write_volatile(0);
            (&raw mut (*at).port).write_volatile(0);
            (&raw mut (*at).protocol).write_volatile(0);
            (&raw mut (*at).reason).write_volatile(Reason::NotJudged);
            headers.assume_init_mut()
        }
    }

    #[inline(always)]
    fn refuse(&mut self, reason: Reason) -> Step {
        self.reason = reason;
        Step::Refused
    }
}

/// The shape of a frame, by the reader that its headers need.
pub(crate) enum InPlace {
    /// IPv4; [`v4_in_place`] reads the common form.
    V4,
    /// IPv6; [`v6_in_place`] reads the common form.
    V6,
    /// Not IP.
    Other,
    /// Tagged, or short: [`walk`] reads it.
    Nothing,
}

/// The shape of a frame whose link header has `LINK` bytes.
#[inline(always)]
pub(crate) fn in_place<P: Packet, const LINK: usize>(packet: &P) -> InPlace {
    let start = packet.start();
    // An IPv4 header and the ports; the rest of an IPv6 header is checked where it is read.
    if start + LINK + 24 > packet.linear_end() {
        return InPlace::Nothing;
    }
    // SAFETY: both reads lie in the LINK + 24 bytes checked above.
    unsafe {
        if LINK == ETHERNET {
            return match read_u16(start + 12) {
                ETH_P_IP => InPlace::V4,
                ETH_P_IPV6 => InPlace::V6,
                ETH_P_8021Q | ETH_P_8021AD | ETH_P_QINQ1 => InPlace::Nothing,
                _ => InPlace::Other,
            };
        }
        if read_u8(start) >> 4 == 6 { InPlace::V6 } else { InPlace::V4 }
    }
}

/// The headers of an IPv4 packet without options that is no fragment; `None` if it is another.
#[inline(always)]
pub(crate) fn v4_in_place<P: Packet, const LINK: usize>(packet: &P) -> Option<Headers> {
    let start = packet.start();
    if start + LINK + 24 > packet.linear_end() {
        return None;
    }
    // SAFETY: every read lies in the LINK + 24 bytes just checked.
    unsafe {
        let ip = start + LINK;
        let protocol = u32::from(read_u8(ip + 9));
        let total = read_u16(ip + 2);
        // Not IHL 5, a fragment of any kind, too short for ports, or from or to loopback: the
        // full walk decides.
        if read_u8(ip) != 0x45
            || read_u16(ip + 6) & 0x3fff != 0
            || (protocol != TCP && protocol != UDP)
            || (total != 0 && total < 24)
            || read_u8(ip + 12) == 127
            || read_u8(ip + 16) == 127
        {
            return None;
        }
        Some(Headers {
            source: Source { family: Family::V4, words: [read_u32(ip + 12), 0, 0, 0] },
            end: if total == 0 { 0 } else { LINK as u32 + u32::from(total) },
            port: u32::from(read_u16(ip + 22)),
            protocol,
            reason: Reason::NotJudged,
        })
    }
}

/// The headers of an IPv6 packet without extension headers; `None` if it is another.
#[inline(always)]
pub(crate) fn v6_in_place<P: Packet, const LINK: usize>(packet: &P) -> Option<Headers> {
    let start = packet.start();
    if start + LINK + 44 > packet.linear_end() {
        return None;
    }
    // SAFETY: every read lies in the LINK + 44 bytes just checked.
    unsafe {
        let ip = start + LINK;
        let protocol = u32::from(read_u8(ip + 6));
        let payload = read_u16(ip + 4);
        let words = read_words(ip + 8);
        if read_u8(ip) >> 4 != 6
            || (protocol != TCP && protocol != UDP)
            || (payload != 0 && payload < 4)
            || is_loopback6(words)
            || is_loopback6(read_words(ip + 24))
        {
            return None;
        }
        Some(Headers {
            source: Source { family: Family::V6, words },
            end: if payload == 0 { 0 } else { LINK as u32 + 40 + u32::from(payload) },
            port: u32::from(read_u16(ip + 42)),
            protocol,
            reason: Reason::NotJudged,
        })
    }
}

/// Walks the headers of a frame of any shape whose link header has `LINK` bytes, through `load`.
#[inline(never)]
pub(crate) fn walk<P: Packet, const LINK: usize>(packet: &P, headers: &mut Headers) -> Step {
    let mut offset = LINK as u32;
    let version = if LINK == ETHERNET {
        let Some(mut ethertype) = packet.load_u16(12) else { return Step::NotJudged };
        written_out!(MAX_VLAN_TAGS: 1 2 3 4 => {
            if is_tag(ethertype) {
                // A tag is two bytes of identifier, then the type of what follows.
                let Some(next) = packet.load_u16(offset + 2) else { return Step::NotJudged };
                ethertype = next;
                offset += 4;
            }
        });
        if is_tag(ethertype) {
            return headers.refuse(Reason::VlanDepth);
        }
        match ethertype {
            ETH_P_IP => 4,
            ETH_P_IPV6 => 6,
            _ => return Step::NotJudged,
        }
    } else {
        let Some(word) = packet.load_u16(0) else { return Step::NotJudged };
        word >> 12
    };
    match version {
        4 => walk_v4(packet, headers, offset),
        6 => walk_v6(packet, headers, offset),
        _ => Step::NotJudged,
    }
}

/// The destination of a packet, read anew: few packets are asked for it. `IN_PLACE`: the rest of
/// its headers was read so.
#[inline(always)]
pub(crate) fn destination<P: Packet, const LINK: usize, const IN_PLACE: bool>(
    packet: &P,
    family: Family,
) -> Option<Source> {
    if !IN_PLACE {
        let mut storage = MaybeUninit::uninit();
        // SAFETY: the storage has room for the value, and all of it is written.
        let destination = unsafe {
            Source::clear(storage.as_mut_ptr(), family);
            storage.assume_init_mut()
        };
        return load_destination::<P, LINK>(packet, destination).then_some(*destination);
    }
    let ip = packet.start() + LINK;
    let words = match family {
        Family::V4 if ip + 20 > packet.linear_end() => return None,
        // SAFETY: the word lies in the bytes just checked.
        Family::V4 => [unsafe { read_u32(ip + 16) }, 0, 0, 0],
        Family::V6 if ip + 40 > packet.linear_end() => return None,
        // SAFETY: as above.
        Family::V6 => unsafe { read_words(ip + 24) },
    };
    Some(Source { family, words })
}

/// Loads the words of a destination of a known family; whether the packet has them.
#[inline(never)]
fn load_destination<P: Packet, const LINK: usize>(packet: &P, destination: &mut Source) -> bool {
    let mut ip = LINK as u32;
    if LINK == ETHERNET {
        written_out!(MAX_VLAN_TAGS: 1 2 3 4 => {
            match packet.load_u16(ip - 2) {
                Some(ethertype) if is_tag(ethertype) => ip += 4,
                Some(_) => {}
                None => return false,
            }
        });
    }
    match destination.family {
        Family::V4 => match packet.load::<1>(ip + 16) {
            Some([address]) => destination.words[0] = address,
            None => return false,
        },
        Family::V6 => match packet.load::<4>(ip + 24) {
            Some(words) => destination.words = words,
            None => return false,
        },
    }
    true
}

#[inline(always)]
fn walk_v4<P: Packet>(packet: &P, headers: &mut Headers, ip: u32) -> Step {
    let Some(header) = packet.load::<5>(ip) else { return headers.refuse(Reason::Malformed) };
    let first = u32::from_be(header[0]);
    let header_len = (first >> 24 & 0x0f) * 4;
    let total = first & 0xffff;
    let frame = packet.frame_len();
    if first >> 28 != 4
        || header_len < 20
        || (total != 0 && total < header_len)
        || ip + header_len > frame
    {
        return headers.refuse(Reason::Malformed);
    }
    headers.source.words[0] = header[3];
    if u32::from_be(header[3]) >> 24 == 127 || u32::from_be(header[4]) >> 24 == 127 {
        return headers.refuse(Reason::Martian);
    }
    let fragment = u32::from_be(header[1]);
    if fragment & 0x1fff != 0 {
        return Step::Fragment;
    }
    headers.protocol = u32::from_be(header[2]) >> 16 & 0xff;
    headers.end = if total == 0 { 0 } else { ip + total };
    let more_fragments = fragment & 0x2000 != 0;
    ports(packet, headers, ip + header_len, frame, more_fragments)
}

#[inline(always)]
fn walk_v6<P: Packet>(packet: &P, headers: &mut Headers, ip: u32) -> Step {
    headers.source.family = Family::V6;
    let Some(header) = packet.load::<10>(ip) else { return headers.refuse(Reason::Malformed) };
    if u32::from_be(header[0]) >> 28 != 6 {
        return headers.refuse(Reason::Malformed);
    }
    headers.source.words = [header[2], header[3], header[4], header[5]];
    if is_loopback6(headers.source.words)
        || is_loopback6([header[6], header[7], header[8], header[9]])
    {
        return headers.refuse(Reason::Martian);
    }
    let lengths = u32::from_be(header[1]);
    let payload = lengths >> 16;
    headers.end = if payload == 0 { 0 } else { ip + 40 + payload };
    let frame = packet.frame_len();
    let limit = limit(headers.end, frame);

    let mut chain = Chain { next: lengths >> 8 & 0xff, at: ip + 40, fragment: false };
    written_out!(MAX_EXT_HEADERS: 1 2 3 4 5 6 7 8 => {
        if is_extension(chain.next)
            && let Some(step) = chain.step(packet, headers, limit)
        {
            return step;
        }
    });
    if is_extension(chain.next) {
        return Step::Hidden;
    }
    let Chain { next, at: cursor, fragment } = chain;
    headers.protocol = next;
    ports(packet, headers, cursor, frame, fragment)
}

/// The place in a chain of IPv6 extension headers.
struct Chain {
    /// The kind of the header at `at`.
    next: u32,
    at: u32,
    /// Whether a header said that this is the first of several fragments.
    fragment: bool,
}

impl Chain {
    /// Goes behind one extension header; where that ends the walk, says as what.
    #[inline(always)]
    fn step<P: Packet>(&mut self, packet: &P, headers: &mut Headers, limit: u32) -> Option<Step> {
        let word = match packet.load::<1>(self.at) {
            Some([word]) if self.at + 8 <= limit => u32::from_be(word),
            _ if self.fragment => return Some(Step::Hidden),
            _ => return Some(headers.refuse(Reason::Malformed)),
        };
        let length = word >> 16 & 0xff;
        self.at += if self.next == FRAGMENT {
            if word & 0xfff8 != 0 {
                return Some(Step::Fragment);
            }
            self.fragment |= word & 1 != 0;
            8
        } else if self.next == AUTHENTICATION {
            (length + 2) * 4
        } else {
            (length + 1) * 8
        };
        self.next = word >> 24;
        None
    }
}

/// The destination port behind `l4`, if the first four bytes there belong to the packet.
#[inline(always)]
fn ports<P: Packet>(
    packet: &P,
    headers: &mut Headers,
    l4: u32,
    frame: u32,
    fragment: bool,
) -> Step {
    if headers.protocol != TCP && headers.protocol != UDP {
        return Step::NotJudged;
    }
    if l4 + 4 <= limit(headers.end, frame)
        && let Some(port) = packet.load_u16(l4 + 2)
    {
        headers.port = u32::from(port);
        return Step::Port;
    }
    if fragment { Step::Hidden } else { headers.refuse(Reason::Malformed) }
}

/// The end of the packet: padding behind its IP length does not belong to it.
#[inline(always)]
fn limit(end: u32, frame: u32) -> u32 {
    if end != 0 && end < frame { end } else { frame }
}

#[inline(always)]
fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, ETH_P_8021Q | ETH_P_8021AD | ETH_P_QINQ1)
}

#[inline(always)]
fn is_extension(header: u32) -> bool {
    matches!(
        header,
        HOP_BY_HOP
            | ROUTING
            | FRAGMENT
            | AUTHENTICATION
            | DESTINATION_OPTIONS
            | MOBILITY
            | HOST_IDENTITY
            | SHIM6
    )
}

#[inline(always)]
fn is_loopback6(address: [u32; 4]) -> bool {
    address[0] | address[1] | address[2] == 0 && address[3] == 1u32.to_be()
}

/// # Safety
/// The four words at `at` must lie between the checked start and end of the packet.
#[inline(always)]
unsafe fn read_words(at: usize) -> [u32; 4] {
    // SAFETY: the caller's.
    unsafe { [read_u32(at), read_u32(at + 4), read_u32(at + 8), read_u32(at + 12)] }
}

/// # Safety
/// As for [`read_words`].
#[inline(always)]
unsafe fn read_u32(at: usize) -> u32 {
    // SAFETY: the caller's. The address may be odd for a u32: the verifier accepts such
    // loads where the architecture does, and a byte-wise read would cost four of them.
    unsafe { core::ptr::read(at as *const u32) }
}

/// # Safety
/// As for [`read_words`]. In host order.
#[inline(always)]
unsafe fn read_u16(at: usize) -> u16 {
    // SAFETY: as in `read_u32`.
    u16::from_be(unsafe { core::ptr::read(at as *const u16) })
}

/// # Safety
/// As for [`read_words`].
#[inline(always)]
unsafe fn read_u8(at: usize) -> u8 {
    // SAFETY: the caller's.
    unsafe { core::ptr::read(at as *const u8) }
}
