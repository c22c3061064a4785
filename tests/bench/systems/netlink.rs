//! Reading a named counter of nftables, in the thread's namespace
//! (linux/netfilter/nf_tables.h).

use std::{io, os::fd::AsRawFd as _};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NFT_MSG_GETOBJ: u16 = 10 << 8 | 19;
const NFTA_OBJ_TABLE: u16 = 1;
const NFTA_OBJ_NAME: u16 = 2;
const NFTA_OBJ_TYPE: u16 = 3;
const NFTA_OBJ_DATA: u16 = 4;
const NFT_OBJECT_COUNTER: u32 = 1;
const NFTA_COUNTER_PACKETS: u16 = 2;
/// Of a netlink header and of nfgenmsg behind it.
const HEADER: usize = 16;
const NFGEN: usize = 4;
const TYPE_MASK: u16 = 0x3fff;

/// Packets a counter has counted.
pub(super) fn counter(family: u8, table: &str, name: &str) -> io::Result<u64> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkNetFilter,
    )?;
    send(socket.as_raw_fd(), &request(family, table, name), MsgFlags::empty())?;
    let mut buffer = [0; 4096];
    let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
    answer(&buffer[..length])
}

fn request(family: u8, table: &str, name: &str) -> Vec<u8> {
    let mut body = vec![family, 0, 0, 0];
    for (kind, text) in [(NFTA_OBJ_TABLE, table), (NFTA_OBJ_NAME, name)] {
        attribute(&mut body, kind, &[text.as_bytes(), &[0]].concat());
    }
    attribute(&mut body, NFTA_OBJ_TYPE, &NFT_OBJECT_COUNTER.to_be_bytes());
    let mut message = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
    message.extend(NFT_MSG_GETOBJ.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend((4 + value.len() as u16).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

fn answer(message: &[u8]) -> io::Result<u64> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "an answer without a counter");
    let kind = message.get(4..6).ok_or_else(malformed)?;
    if u16::from_ne_bytes([kind[0], kind[1]]) == NLMSG_ERROR {
        let code = message.get(HEADER..HEADER + 4).ok_or_else(malformed)?;
        let code = i32::from_ne_bytes([code[0], code[1], code[2], code[3]]);
        return Err(io::Error::from_raw_os_error(-code));
    }
    let attributes = message.get(HEADER + NFGEN..).ok_or_else(malformed)?;
    let data = find(attributes, NFTA_OBJ_DATA).ok_or_else(malformed)?;
    let packets = find(data, NFTA_COUNTER_PACKETS).ok_or_else(malformed)?;
    let packets: [u8; 8] = packets.try_into().map_err(|_| malformed())?;
    Ok(u64::from_be_bytes(packets))
}

/// The value of an attribute among others.
fn find(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    while let [a, b, c, d, ..] = *attributes {
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let value = attributes.get(4..length)?;
        if u16::from_ne_bytes([c, d]) & TYPE_MASK == wanted {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
    None
}
