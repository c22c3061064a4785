//! Whom to ask: the configured resolvers, or those of resolv.conf as it is now.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    path::{Path, PathBuf},
    time::Duration,
};

use dbfw_core::answers::{Cause, FetchError};
use nix::net::if_::if_nametoindex;

use super::{client::Client, config::DnsConfig};
use crate::fs::{OpenError, read_file};

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Bytes resolv.conf may have.
const MAX_BYTES: u64 = 64 << 10;

/// Servers of resolv.conf that count (resolv.conf(5), MAXNS).
const MAX_SERVERS: usize = 3;

const PORT: u16 = 53;

/// Knows whom to ask.
#[derive(Debug)]
pub(super) struct Resolvers {
    timeout: Duration,
    from: ServerSource,
    /// Of the servers that were asked last.
    client: Option<Client>,
}

#[derive(Debug)]
enum ServerSource {
    Servers(Vec<SocketAddr>),
    File(PathBuf),
}

impl Resolvers {
    /// Those of the configuration, or of the system.
    pub(super) fn new(config: &DnsConfig) -> Self {
        let from = match config.servers.is_empty() {
            true => ServerSource::File(RESOLV_CONF.into()),
            false => ServerSource::Servers(config.servers.clone()),
        };
        Self { timeout: config.timeout, from, client: None }
    }

    /// Those of another file.
    #[cfg(test)]
    pub(super) fn of_file(path: &Path, timeout: Duration) -> Self {
        Self { timeout, from: ServerSource::File(path.into()), client: None }
    }

    /// A client of those that are to be asked now.
    ///
    /// # Errors
    /// resolv.conf cannot be read, or there is no client.
    pub(super) fn client(&mut self) -> Result<Client, FetchError> {
        let servers = match &self.from {
            ServerSource::Servers(servers) => servers.clone(),
            // Anew each time: the interface of a name may be another one by now.
            ServerSource::File(path) => servers_of(path)?.into_iter().map(reachable).collect(),
        };
        match &self.client {
            Some(client) if client.addresses() == servers => Ok(client.clone()),
            _ => Ok(self.client.insert(Client::new(&servers, self.timeout)?).clone()),
        }
    }
}

/// The servers of a file like resolv.conf; if it does not exist or names none, this machine
/// (resolv.conf(5)).
fn servers_of(path: &Path) -> Result<Vec<SocketAddr>, FetchError> {
    match read_file(path, MAX_BYTES) {
        Ok(text) => Ok(nameservers(&text)),
        Err(OpenError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            Ok(nameservers(b""))
        }
        Err(error) => {
            let text = format!("{error}: fix it, or set servers in [dns]");
            Err(FetchError::new(Cause::Io, text).about(path.display().to_string()))
        }
    }
}

/// The servers that a text like resolv.conf names, as libc reads it (glibc's `res_init`): the
/// first three, or this machine. What it cannot read it leaves out, and so does this.
pub fn nameservers(text: &[u8]) -> Vec<SocketAddr> {
    let lines = text.split(|byte| *byte == b'\n');
    let mut servers: Vec<SocketAddr> = lines.filter_map(nameserver).take(MAX_SERVERS).collect();
    if servers.is_empty() {
        servers.push((Ipv4Addr::LOCALHOST, PORT).into());
    }
    servers
}

fn nameserver(line: &[u8]) -> Option<SocketAddr> {
    // For libc a line ends at a NUL character.
    let line = line.split(|byte| *byte == 0).next()?;
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    // White space before the word makes it none.
    let rest = line.strip_prefix(b"nameserver")?;
    let start = rest.iter().position(|byte| !is_blank(byte)).filter(|at| *at > 0)?;
    let value = rest[start..].split(is_blank).next()?;
    if let Some(ip) = inet_aton(value) {
        return Some((ip, PORT).into());
    }
    let mut parts = value.splitn(2, |byte| *byte == b'%');
    let ip = str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    let scope = parts.next().and_then(|zone| scope(ip, &String::from_utf8_lossy(zone)));
    Some(SocketAddrV6::new(ip, PORT, 0, scope.unwrap_or(0)).into())
}

/// The interface that stands behind `%`, by name or index, as it is now. What means none counts
/// as none, as it does for libc.
fn scope(ip: Ipv6Addr, zone: &str) -> Option<u32> {
    let of_link =
        ip.is_unicast_link_local() || matches!(ip.segments()[0] & 0xff0f, 0xff01 | 0xff02);
    let named = || if_nametoindex(zone).ok();
    of_link.then(named).flatten().or_else(|| index(zone))
}

/// An IPv4 address as `inet_aton(3)` reads it: one to four numbers, decimal, octal or
/// hexadecimal, the last of which fills the bytes that are left. Here nothing stands behind it.
fn inet_aton(text: &[u8]) -> Option<Ipv4Addr> {
    let mut address = 0_u32;
    let mut text = text;
    for place in (0..4).rev() {
        let (number, rest) = c_number(text)?;
        match rest.first() {
            Some(b'.') if place > 0 && number <= 0xff => {
                address |= number << (place * 8);
                text = &rest[1..];
            }
            None => {
                let most = u32::MAX >> ((3 - place) * 8);
                return (number <= most).then(|| Ipv4Addr::from_bits(address | number));
            }
            Some(_) => return None,
        }
    }
    None
}

/// A number at the beginning of the text as C writes it, and what stands behind it.
fn c_number(text: &[u8]) -> Option<(u32, &[u8])> {
    let (radix, digits) = match text {
        [b'0', b'x' | b'X', digit, ..] if digit.is_ascii_hexdigit() => (16, &text[2..]),
        [b'0', ..] => (8, text),
        _ => (10, text),
    };
    let is_digit = |byte: &u8| char::from(*byte).is_digit(radix);
    let length = digits.iter().position(|byte| !is_digit(byte)).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(length);
    let number = u32::from_str_radix(str::from_utf8(digits).ok()?, radix).ok()?;
    Some((number, rest))
}

/// The index of an interface as a number.
fn index(zone: &str) -> Option<u32> {
    zone.bytes().all(|byte| byte.is_ascii_digit()).then(|| zone.parse().ok()).flatten()
}

/// An address that means this machine as one that it answers from.
fn reachable(server: SocketAddr) -> SocketAddr {
    match server {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
            SocketAddr::from((Ipv4Addr::LOCALHOST, v4.port()))
        }
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            SocketAddr::from((Ipv6Addr::LOCALHOST, v6.port()))
        }
        server => server,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(text: impl AsRef<[u8]>) -> Vec<String> {
        nameservers(text.as_ref()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn reads_resolv_conf() {
        let text = "# made by hand\n; nameserver 192.0.2.9\nsearch example.com\noptions ndots:5\n\
                    nameserver 192.0.2.1\nnameserver\t2001:db8::1 # second\nnameserver\n\
                    nameserver x\n#nameserver 192.0.2.8\n\
                    \tnameserver 192.0.2.7\nnameservers 192.0.2.6\n\
                    nameserver 192.0.2.3\nnameserver 192.0.2.4\n";
        assert_eq!(read(text), ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.3:53"]);
    }

    /// The reading of each is compared with libc itself in the tests that run as root.
    #[test]
    fn every_form_of_an_address() {
        for (value, server) in [
            ("192.0.2.1", "192.0.2.1:53"),
            ("192.0.2.1 192.0.2.2", "192.0.2.1:53"),
            ("127.1", "127.0.0.1:53"),
            ("127.0.1", "127.0.0.1:53"),
            ("2130706433", "127.0.0.1:53"),
            ("0x7f000001", "127.0.0.1:53"),
            ("0177.0.0.01", "127.0.0.1:53"),
            ("0", "0.0.0.0:53"),
            ("2001:db8::1", "[2001:db8::1]:53"),
            ("::ffff:192.0.2.1", "[::ffff:192.0.2.1]:53"),
            ("fe80::1%1", "[fe80::1%1]:53"),
            ("fe80::1%no-such-interface", "[fe80::1]:53"),
            ("fe80::1%lo", "[fe80::1%1]:53"),
            ("2001:db8::1%lo", "[2001:db8::1]:53"),
            ("fe80::1%", "[fe80::1]:53"),
        ] {
            assert_eq!(read(format!("nameserver {value}\n")), [server], "{value:?}");
        }
        for value in [
            "",
            "x",
            "192.0.2.1x",
            "192.0.2.1\r",
            "192.0.2.1#",
            "192.0.2.256",
            "1.2.3.4.5",
            "1.2.3.",
            ".1",
            "08",
            "4294967296",
            "1.16777216",
            "0x",
            "2001:db8::1\r",
            "2001:db8::1#",
            "[2001:db8::1]",
            "192.0.2.1:53",
            "-1",
            "+1",
            "%lo",
            "\u{fc}",
        ] {
            assert_eq!(read(format!("nameserver {value}\n")), ["127.0.0.1:53"], "{value:?}");
        }
        assert_eq!(
            read(b"nameserver 192.0.2.1\0x\nnameserver 192.0.2.2"),
            ["192.0.2.1:53", "192.0.2.2:53"]
        );
    }

    #[test]
    fn nothing_makes_it_panic() {
        let line = b"nameserver fe80::1%eth0 # x\nnameserver 0x7f.1\n";
        for at in 0..line.len() {
            for byte in 0..=255 {
                let mut line = line.to_vec();
                line[at] = byte;
                assert!(!nameservers(&line).is_empty());
            }
        }
    }

    #[test]
    fn an_unspecified_server_is_this_machine() {
        for (server, asked) in [
            ("0.0.0.0:53", "127.0.0.1:53"),
            ("[::]:53", "[::1]:53"),
            ("192.0.2.1:53", "192.0.2.1:53"),
        ] {
            assert_eq!(reachable(server.parse().unwrap()), asked.parse().unwrap());
        }
    }

    #[test]
    fn without_servers_this_machine_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        let local = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))];
        assert_eq!(servers_of(&path).unwrap(), local);
        fs::write(&path, "search example.com\n").unwrap();
        assert_eq!(servers_of(&path).unwrap(), local);
        fs::write(&path, "nameserver 192.0.2.1\n").unwrap();
        assert_ne!(servers_of(&path).unwrap(), local);
        fs::write(&path, vec![b' '; 1 << 17]).unwrap();
        let error = servers_of(&path).unwrap_err();
        assert!(error.to_string().contains("is larger than 65536 bytes"), "{error}");
    }
}
