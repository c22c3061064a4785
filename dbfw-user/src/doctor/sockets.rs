//! Listening sockets of this network namespace, from /proc/net.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dbfw_core::Port;

use super::host::Host;

/// State of a listening TCP socket, and of an unconnected UDP one.
const TCP_LISTEN: &str = "0A";
const UDP_UNCONNECTED: &str = "07";

/// The address and port that a socket listens on.
pub(super) type Listener = (IpAddr, Port);

/// The sockets that listen, of TCP and UDP and of both families.
pub(super) fn listeners(host: &Host) -> Vec<Listener> {
    let mut found = Vec::new();
    for (file, udp) in [("tcp", false), ("tcp6", false), ("udp", true), ("udp6", true)] {
        let table = host.read(format!("/proc/net/{file}")).unwrap_or_default();
        found.extend(listening(&table, udp));
    }
    found
}

/// The sockets of a /proc/net table that listen.
fn listening(table: &str, udp: bool) -> impl Iterator<Item = Listener> {
    let state = if udp { UDP_UNCONNECTED } else { TCP_LISTEN };
    table.lines().skip(1).filter_map(move |line| {
        let mut fields = line.split_whitespace();
        let (address, port) = fields.nth(1)?.rsplit_once(':')?;
        let listens = fields.nth(1)? == state;
        let port = u16::from_str_radix(port, 16).ok()?;
        let address = address_of(address)?;
        listens.then_some((address, Port { udp, port }))
    })
}

/// An address as /proc/net has it: words of 32 bits in the byte order of the host.
fn address_of(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let digits = text.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let bytes: Vec<u8> = (0..4).filter_map(word).flatten().collect();
            let bytes: [u8; 16] = bytes.try_into().ok()?;
            Some(Ipv6Addr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_sockets() {
        let found = |table: &str, udp| -> Vec<String> {
            listening(table, udp).map(|(address, port)| format!("{address} {port}")).collect()
        };
        let tcp = "sl local rem st\n\
             0: 0100007F:1538 00000000:0000 0A\n\
             1: 010200C0:1538 00000000:0000 0A\n\
             2: 010200C0:1538 0A0200C0:D431 01\n\
             garbage\n 3: zz:zz zz 0A\n 4: ääää:1538 0 0A\n";
        assert_eq!(found(tcp, false), ["127.0.0.1 tcp/5432", "192.0.2.1 tcp/5432"]);
        let tcp6 = "sl local rem st\n\
             0: 00000000000000000000000000000000:1538 0:0 0A\n\
             1: B80D0120000000000000000001000000:1538 0:0 0A\n\
             2: 0000000000000000FFFF0000010200C0:1538 0:0 0A\n";
        assert_eq!(
            found(tcp6, false),
            [":: tcp/5432", "2001:db8::1 tcp/5432", "192.0.2.1 tcp/5432"]
        );
        assert_eq!(found("", true), [""; 0]);
    }

    #[test]
    fn the_columns_of_the_kernel() {
        let ports = |table: &str, udp| -> Vec<Port> {
            listening(table, udp).map(|(_, port)| port).collect()
        };
        let tcp = "  sl  local_address rem_address   st tx_queue rx_queue\n\
             \x20  0: 00000000:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000\n\
             \x20  1: 0100007F:1920 00000000:0000 01 00000000:00000000 00:00000000 00000000\n\
             garbage\n 2: zz:zz zz 0A\n";
        assert_eq!(ports(tcp, false), [Port { udp: false, port: 5432 }]);
        let udp6 = "  sl  local_address                         remote_address st\n\
             \x20 9: 00000000000000000000000000000000:04D2 \
             00000000000000000000000000000000:0000 07 00000000:00000000\n";
        assert_eq!(ports(udp6, true), [Port { udp: true, port: 1234 }]);
        assert_eq!(ports("", false), []);
    }
}
