//! The bench's XDP programs: generators, and what dbfw is compared with.

use std::{io, os::fd::AsFd as _};

use dbfw_common::Family;

use super::{
    Map, MapKind, Xdp,
    asm::{Alu, Asm, Jump, Label, Reg::*, Width, helper},
};

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;

/// Offsets in a frame without tags and IP options.
const ETHERTYPE: i16 = 12;
const IP: i16 = 14;
const CHECKSUM4: i16 = IP + 10;
const SOURCE4: i16 = IP + 12;
const SOURCE6: i16 = IP + 8;

/// First of the IPv4 addresses that [`random`] sends from, and how many there are:
/// 1.0.0.0 to 223.255.255.255. 127.0.0.0/8 is replaced by 126.0.0.0/8.
pub(crate) const FIRST4: u32 = 0x0100_0000;
pub(crate) const COUNT4: u32 = 223 << 24;

/// Odd constants that spread the bits of one random word over another.
const SPREAD: [u32; 2] = [0x9e37_79b1, 0x85eb_ca6b];

/// Passes or drops everything.
pub(crate) fn constant(drop: bool) -> io::Result<Xdp> {
    let mut asm = Asm::default();
    asm.finish(if drop { XDP_DROP } else { XDP_PASS });
    Xdp::load(&asm.code())
}

/// Passes this share of the packets, whoever sent them, and drops the others.
pub(crate) fn share(passed: f64) -> io::Result<Xdp> {
    let mut asm = Asm::default();
    let pass = asm.label();
    asm.call(helper::PRANDOM)
        .mov32(R1, (passed * 32f64.exp2()) as u32)
        .jump_reg(Jump::Greater, R1, R0, pass)
        .finish(XDP_DROP)
        .here(pass)
        .finish(XDP_PASS);
    Xdp::load(&asm.code())
}

/// Sends the frame as it is.
pub(crate) fn fixed() -> io::Result<Xdp> {
    let mut asm = Asm::default();
    asm.finish(XDP_TX);
    Xdp::load(&asm.code())
}

/// Sends from uniformly random addresses: of the public range of IPv4, of 2000::/3.
pub(crate) fn random(family: Family, frame: &[u8]) -> io::Result<Xdp> {
    let mut asm = Asm::default();
    let out = open(&mut asm, frame.len());
    asm.call(helper::PRANDOM);
    match family {
        Family::V4 => {
            let public = asm.label();
            asm.mov32(R2, COUNT4)
                .alu_reg(Alu::Mov, R1, R0)
                .alu_reg(Alu::Mul, R1, R2)
                .alu(Alu::Shr, R1, 32)
                .alu(Alu::Add, R1, FIRST4 as i32)
                .alu_reg(Alu::Mov, R2, R1)
                .alu(Alu::Shr, R2, 24)
                .jump(Jump::Unequal, R2, 127, public)
                .alu(Alu::Add, R1, -(1 << 24))
                .here(public);
            write_source4(&mut asm, frame);
        }
        Family::V6 => {
            asm.alu_reg(Alu::Mov, R9, R0)
                .alu_reg(Alu::Mov, R1, R0)
                .alu(Alu::Shr, R1, 3)
                .alu(Alu::Or, R1, 0x2000_0000)
                .network_order(R1, 32)
                .store(Width::Word, R7, SOURCE6, R1);
            write_lower6(&mut asm);
        }
    }
    close(&mut asm, out);
    Xdp::load(&asm.code())
}

/// Sends from random addresses inside networks: /16 of IPv4 or /32 of IPv6, by their first
/// address's first 32 bits. Their number is a power of two, at most 65,536. The map must
/// live as long as the program.
pub(crate) fn inside(family: Family, frame: &[u8], networks: &[u32]) -> io::Result<(Xdp, Map)> {
    assert!(networks.len().is_power_of_two() && networks.len() <= 1 << 16, "a mask selects one");
    let bytes: Vec<u8> = networks.iter().flat_map(|network| network.to_ne_bytes()).collect();
    let map = Map::create(MapKind::Value, 4, bytes.len(), 1)?;
    map.set(&0u32.to_ne_bytes(), &bytes)?;
    let mut asm = Asm::default();
    let out = open(&mut asm, frame.len());
    asm.call(helper::PRANDOM)
        .alu_reg(Alu::Mov, R9, R0)
        .alu_reg(Alu::Mov, R2, R0)
        .alu(Alu::Shr, R2, 16)
        .alu(Alu::And, R2, networks.len() as i32 - 1)
        .alu(Alu::Shl, R2, 2)
        .map_value(R3, map.as_fd())
        .alu_reg(Alu::Add, R3, R2)
        .load(Width::Word, R1, R3, 0);
    match family {
        Family::V4 => {
            asm.alu(Alu::And, R0, 0xffff).alu_reg(Alu::Or, R1, R0);
            write_source4(&mut asm, frame);
        }
        Family::V6 => {
            asm.network_order(R1, 32).store(Width::Word, R7, SOURCE6, R1);
            write_lower6(&mut asm);
        }
    }
    close(&mut asm, out);
    Ok((Xdp::load(&asm.code())?, map))
}

/// Bounds the frame: R7 is where it begins. The label is for what has no such length.
fn open(asm: &mut Asm, len: usize) -> Label {
    let out = asm.label();
    asm.alu_reg(Alu::Mov, R6, R1)
        .load(Width::Word, R7, R6, 0)
        .load(Width::Word, R8, R6, 4)
        .alu_reg(Alu::Mov, R1, R7)
        .alu(Alu::Add, R1, len as i32)
        .jump_reg(Jump::Greater, R1, R8, out);
    out
}

fn close(asm: &mut Asm, out: Label) {
    asm.finish(XDP_TX).here(out).finish(XDP_DROP);
}

/// Writes R1 as source, and the header's checksum: the IP stack looks at that before any
/// filter of its own does.
fn write_source4(asm: &mut Asm, frame: &[u8]) {
    let header = &frame[IP as usize..IP as usize + 20];
    let words = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let fixed: u32 =
        words.enumerate().filter(|(at, _)| ![5, 6, 7].contains(at)).map(|(_, word)| word).sum();
    asm.alu_reg(Alu::Mov, R2, R1)
        .alu(Alu::Shr, R2, 16)
        .alu_reg(Alu::Mov, R3, R1)
        .alu(Alu::And, R3, 0xffff)
        .alu_reg(Alu::Add, R2, R3)
        .alu(Alu::Add, R2, fixed as i32);
    for _ in 0..2 {
        asm.alu_reg(Alu::Mov, R3, R2).alu(Alu::Shr, R3, 16).alu(Alu::And, R2, 0xffff).alu_reg(
            Alu::Add,
            R2,
            R3,
        );
    }
    asm.alu(Alu::Xor, R2, 0xffff)
        .network_order(R2, 16)
        .store(Width::Half, R7, CHECKSUM4, R2)
        .network_order(R1, 32)
        .store(Width::Word, R7, SOURCE4, R1);
}

/// Writes the lower 96 bits of the source, from R9 and one more random word.
fn write_lower6(asm: &mut Asm) {
    asm.call(helper::PRANDOM).store(Width::Word, R7, SOURCE6 + 4, R0);
    for (at, (from, factor)) in [R9, R0].into_iter().zip(SPREAD).enumerate() {
        asm.mov32(R2, factor).alu_reg(Alu::Mul, R2, from).store(
            Width::Word,
            R7,
            SOURCE6 + 8 + 4 * at as i16,
            R2,
        );
    }
}

/// The reference: a port comparison and one longest-prefix-match trie, counting. Counters:
/// 16 bytes a CPU under key 0, packets dropped and accepted.
pub(crate) fn trie(family: Family, port: u16, trie: &Map, counters: &Map) -> io::Result<Xdp> {
    // Ethertype, first bytes of the IP header, place and value of the protocol, place and
    // length of the source, place of the destination port.
    let (ethertype, protocol, source, words, destination_port) = match family {
        Family::V4 => (0x0800u16, IP + 9, SOURCE4, 1i16, IP + 22),
        Family::V6 => (0x86dd, IP + 6, SOURCE6, 4, IP + 42),
    };
    let mut asm = Asm::default();
    let pass = open(&mut asm, destination_port as usize + 2);
    let (decided, uncounted) = (asm.label(), asm.label());
    asm.load(Width::Half, R1, R7, ETHERTYPE).jump(
        Jump::Unequal,
        R1,
        i32::from(ethertype.to_be()),
        pass,
    );
    if family == Family::V4 {
        asm.load(Width::Byte, R1, R7, IP).jump(Jump::Unequal, R1, 0x45, pass);
    }
    asm.load(Width::Byte, R1, R7, protocol)
        .jump(Jump::Unequal, R1, libc::IPPROTO_TCP, pass)
        .load(Width::Half, R1, R7, destination_port)
        .jump(Jump::Unequal, R1, i32::from(port.to_be()), pass);
    // The key on the stack: a length in bits, the address.
    let key = -4 - 4 * words;
    asm.mov32(R1, 32 * words as u32).store(Width::Word, R10, key, R1);
    for word in 0..words {
        asm.load(Width::Word, R1, R7, source + 4 * word).store(
            Width::Word,
            R10,
            key + 4 + 4 * word,
            R1,
        );
    }
    asm.map(R1, trie.as_fd())
        .alu_reg(Alu::Mov, R2, R10)
        .alu(Alu::Add, R2, i32::from(key))
        .call(helper::MAP_LOOKUP)
        .mov32(R9, XDP_DROP)
        .jump(Jump::Equal, R0, 0, decided)
        .mov32(R9, XDP_PASS)
        .here(decided)
        .mov32(R1, 0)
        .store(Width::Word, R10, key, R1)
        .map(R1, counters.as_fd())
        .alu_reg(Alu::Mov, R2, R10)
        .alu(Alu::Add, R2, i32::from(key))
        .call(helper::MAP_LOOKUP)
        .jump(Jump::Equal, R0, 0, uncounted);
    let accepted = asm.label();
    asm.jump(Jump::Equal, R9, XDP_PASS as i32, accepted);
    count(&mut asm, 0);
    asm.finish(XDP_DROP).here(accepted);
    count(&mut asm, 8);
    asm.here(uncounted).alu_reg(Alu::Mov, R0, R9).exit().here(pass).finish(XDP_PASS);
    Xdp::load(&asm.code())
}

fn count(asm: &mut Asm, offset: i16) {
    asm.load(Width::Double, R1, R0, offset).alu(Alu::Add, R1, 1).store(
        Width::Double,
        R0,
        offset,
        R1,
    );
}
