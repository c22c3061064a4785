//! Sockets that wait for clients, as the tables of /proc/net list them.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

use dbfw_core::Port;

/// State of a listening TCP socket, and of an unconnected UDP one.
const TCP_LISTEN: &str = "0A";
const UDP_UNCONNECTED: &str = "07";

/// A socket that waits for clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaitingSocket {
    /// Address that it is bound to.
    pub(crate) address: IpAddr,
    /// Port that it is bound to.
    pub(crate) port: Port,
    /// Number by which its process can be found; `None`: the table does not have it.
    pub(crate) inode: Option<u64>,
}

/// Tables of /proc/net, and whether they are of UDP.
const TABLES: [(&str, bool); 4] = [("tcp", false), ("tcp6", false), ("udp", true), ("udp6", true)];

/// The sockets of this network namespace that wait for clients, by the /proc below `root`. A table
/// that cannot be read has none.
pub(crate) fn waiting_below(root: &Path) -> impl Iterator<Item = WaitingSocket> {
    TABLES.into_iter().flat_map(|(file, udp)| {
        let table = fs::read_to_string(root.join("proc/net").join(file)).unwrap_or_default();
        waiting(&table, udp).collect::<Vec<_>>()
    })
}

/// The sockets of a /proc/net table that wait for clients.
pub(crate) fn waiting(table: &str, udp: bool) -> impl Iterator<Item = WaitingSocket> {
    let state = if udp { UDP_UNCONNECTED } else { TCP_LISTEN };
    table.lines().skip(1).filter_map(move |line| {
        let fields: Vec<&str> = line.split_whitespace().take(10).collect();
        let (address, port) = fields.get(1)?.rsplit_once(':')?;
        let waits = *fields.get(3)? == state;
        let port = u16::from_str_radix(port, 16).ok()?;
        let inode = fields.get(9).and_then(|inode| inode.parse().ok());
        let address = address_of(address)?;
        waits.then_some(WaitingSocket { address, port: Port { udp, port }, inode })
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
            waiting(table, udp).map(|found| format!("{} {}", found.address, found.port)).collect()
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
    fn inodes_are_read_where_the_table_has_them() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             \x20  0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000   105        0 4242 1\n\
             \x20  1: 0100007F:1538 0100007F:8000 01 00000000:00000000 00:00000000 00000000   105        0 4243 1\n\
             \x20  2: 00000000000000000000000000000000:18EB 0:0 0A 0 0 0 0 0 77 1\n\
             garbage\n 3: ääää:1538 0 0A 0 0 0 0 0 7\n 4: zz:zz zz 0A\n 5: 0100007F:1538 0 0A\n";
        let found: Vec<String> = waiting(table, false)
            .map(|found| format!("{} {} {:?}", found.address, found.port, found.inode))
            .collect();
        let expected =
            ["127.0.0.1 tcp/5432 Some(4242)", ":: tcp/6379 Some(77)", "127.0.0.1 tcp/5432 None"];
        assert_eq!(found, expected);
    }

    #[test]
    fn the_columns_of_the_kernel() {
        let ports = |table: &str, udp| -> Vec<Port> {
            waiting(table, udp).map(|found| found.port).collect()
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
