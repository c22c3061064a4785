//! The program of classic BPF by which the kernel passes on only what is needed.

use std::{io, os::fd::RawFd};

use libc::{
    BPF_ABS, BPF_ADD, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IMM, BPF_IND, BPF_JA, BPF_JEQ, BPF_JGE,
    BPF_JGT, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_LDX, BPF_LSH, BPF_MEM, BPF_MISC, BPF_MSH,
    BPF_RET, BPF_RSH, BPF_ST, BPF_STX, BPF_TAX, BPF_X, sock_filter,
};

use super::sys::set;

/// Ranges of ports; with more of them every port is passed on, and judged here.
const MAX_RANGES: usize = 1000;
/// The memory of the program: the length of the IP header, and the end of the packet.
const HEADER: u32 = 0;
const END: u32 = 1;

const fn say(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

const fn jump(code: u32, k: u32, yes: u8, no: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | code) as u16, jt: yes, jf: no, k }
}

/// A filter of packets from their IP header on: what opens a connection of TCP to one of the ports,
/// or carries something to it, up to so many bytes.
pub(super) fn filter(ports: &[(u16, u16)], most: u32) -> Vec<sock_filter> {
    let drop = say(BPF_RET | BPF_K, 0);
    let pass = say(BPF_RET | BPF_K, most);
    let mut program = vec![
        say(BPF_LD | BPF_B | BPF_ABS, 0),
        say(BPF_ALU | BPF_RSH | BPF_K, 4),
        jump(BPF_JEQ | BPF_K, 4, 0, 10),
        // IPv4: of TCP, and the first fragment.
        say(BPF_LD | BPF_B | BPF_ABS, 9),
        jump(BPF_JEQ | BPF_K, 6, 1, 0),
        drop,
        say(BPF_LD | BPF_H | BPF_ABS, 6),
        jump(BPF_JSET | BPF_K, 0x1fff, 0, 1),
        drop,
        say(BPF_LDX | BPF_B | BPF_MSH, 0),
        say(BPF_STX, HEADER),
        say(BPF_LD | BPF_H | BPF_ABS, 2),
        say(BPF_JMP | BPF_JA, 9),
        // IPv6 without extension headers.
        jump(BPF_JEQ | BPF_K, 6, 1, 0),
        drop,
        say(BPF_LD | BPF_B | BPF_ABS, 6),
        jump(BPF_JEQ | BPF_K, 6, 1, 0),
        drop,
        say(BPF_LDX | BPF_IMM, 40),
        say(BPF_STX, HEADER),
        say(BPF_LD | BPF_H | BPF_ABS, 4),
        say(BPF_ALU | BPF_ADD | BPF_X, 0),
        // Either it is a SYN without an ACK, or something follows the header.
        say(BPF_ST, END),
        say(BPF_LDX | BPF_MEM, HEADER),
        say(BPF_LD | BPF_B | BPF_IND, 13),
        say(BPF_ALU | BPF_AND | BPF_K, 0x12),
        jump(BPF_JEQ | BPF_K, 0x02, 8, 0),
        say(BPF_LD | BPF_B | BPF_IND, 12),
        say(BPF_ALU | BPF_RSH | BPF_K, 4),
        say(BPF_ALU | BPF_LSH | BPF_K, 2),
        say(BPF_ALU | BPF_ADD | BPF_X, 0),
        say(BPF_MISC | BPF_TAX, 0),
        say(BPF_LD | BPF_MEM, END),
        jump(BPF_JGT | BPF_X, 0, 1, 0),
        drop,
    ];
    if ports.len() > MAX_RANGES {
        program.push(pass);
        return program;
    }
    program.push(say(BPF_LDX | BPF_MEM, HEADER));
    program.push(say(BPF_LD | BPF_H | BPF_IND, 2));
    for (first, last) in ports {
        program.push(jump(BPF_JGE | BPF_K, u32::from(*first), 0, 2));
        program.push(jump(BPF_JGT | BPF_K, u32::from(*last), 1, 0));
        program.push(pass);
    }
    program.push(drop);
    program
}

/// Has a socket take only what a filter passes on.
///
/// # Errors
/// The system's reason.
pub(super) fn attach(socket: RawFd, filter: &[sock_filter]) -> io::Result<()> {
    let len = u16::try_from(filter.len()).map_err(io::Error::other)?;
    // The kernel copies the program, and does not write to it.
    let program = libc::sock_fprog { len, filter: filter.as_ptr().cast_mut() };
    set(socket, libc::SO_ATTACH_FILTER, &program)
}

#[cfg(test)]
mod tests {
    use std::os::{fd::AsRawFd as _, unix::net::UnixDatagram};

    use proptest::prelude::*;

    use super::{
        super::{packet::Segment, packet::tests::packet},
        *,
    };

    /// The kernel's own judge: a pair of sockets, of which one has the filter.
    struct Judge(UnixDatagram, UnixDatagram);

    impl Judge {
        fn new(ports: &[(u16, u16)], most: u32) -> Self {
            let (from, to) = UnixDatagram::pair().unwrap();
            attach(to.as_raw_fd(), &filter(ports, most)).unwrap();
            to.set_nonblocking(true).unwrap();
            Self(from, to)
        }

        fn passed(&self, packet: &[u8]) -> Option<usize> {
            // A packet that the filter drops is a send that fails.
            let _ = self.0.send(packet);
            self.1.recv(&mut [0; 256]).ok()
        }
    }

    const ADDRESSES: [(&str, &str); 2] =
        [("10.0.0.2:40000", "10.0.0.1"), ("[fd00::2]:40000", "[fd00::1]")];

    #[test]
    fn the_kernel_passes_on_what_opens_or_carries_something_to_the_ports() {
        let judge = Judge::new(&[(5432, 5432), (6379, 6390)], 100);
        for (from, to) in ADDRESSES {
            for (port, flags, payload, passes) in [
                (5432, 0x02, "", true),
                (5432, 0x12, "", false),
                (5432, 0x10, "", false),
                (5432, 0x18, "x", true),
                (5431, 0x18, "x", false),
                (5433, 0x02, "", false),
                (6379, 0x18, "x", true),
                (6385, 0x02, "", true),
                (6390, 0x18, "x", true),
                (6391, 0x18, "x", false),
            ] {
                let bytes = packet(from, &format!("{to}:{port}"), 1, flags, payload.as_bytes());
                assert_eq!(judge.passed(&bytes).is_some(), passes, "{to} {port} {flags} {payload}");
            }
            let long = packet(from, &format!("{to}:5432"), 1, 0x18, &[b'x'; 200]);
            assert_eq!(judge.passed(&long), Some(100), "cut");
        }
        let every = Judge::new(&vec![(1, 1); MAX_RANGES + 1], 100);
        assert!(every.passed(&packet("10.0.0.2:4", "10.0.0.1:7", 1, 0x02, b"")).is_some());
    }

    proptest! {
        #![proptest_config(dbfw_core::testing::cases(2_000))]

        /// Whatever the kernel passes on, the reader takes for the same.
        #[test]
        fn the_kernel_and_the_reader_agree(
            ipv6: bool,
            port in 5430_u16..5436,
            flags: u8,
            payload in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let judge = Judge::new(&[(5432, 5433)], 256);
            let (from, to) = ADDRESSES[usize::from(ipv6)];
            let bytes = packet(from, &format!("{to}:{port}"), 1, flags, &payload);
            let segment = Segment::parse(&bytes).unwrap();
            let wanted = (5432..=5433).contains(&port)
                && (segment.opens || !segment.payload.is_empty());
            prop_assert_eq!(judge.passed(&bytes).is_some(), wanted);
        }
    }
}
