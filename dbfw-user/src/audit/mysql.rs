//! The handshake of MySQL and MariaDB.
//!
//! A host whose handshakes are interrupted too often is blocked, so each is finished: with a user
//! that does not exist.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::user::USER;

/// Bytes that a packet of a handshake may have.
pub(super) const MAX_PACKET: usize = 4096;
/// Packets of the server after the user's name.
const MAX_ROUNDS: usize = 4;

pub(super) const CLIENT_CONNECT_ATTRS: u32 = 0x10_0000;
const CLIENT_LONG_PASSWORD: u32 = 0x1;
const CLIENT_PROTOCOL_41: u32 = 0x200;
const CLIENT_SSL: u32 = 0x800;
const CLIENT_SECURE_CONNECTION: u32 = 0x8000;
const CLIENT_PLUGIN_AUTH: u32 = 0x8_0000;

pub(super) const FLAGS: u32 =
    CLIENT_LONG_PASSWORD | CLIENT_PROTOCOL_41 | CLIENT_SECURE_CONNECTION | CLIENT_PLUGIN_AUTH;

/// The first packet of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Greeting {
    /// It waits for a login.
    Ready {
        /// "10.11.19-MariaDB".
        version: String,
        /// Whether it has TLS.
        tls: bool,
        /// The bytes that a password is mixed with; empty: it sends too few.
        nonce: Vec<u8>,
    },
    /// It refuses this host, and says why.
    Refused(String),
}

impl Greeting {
    /// Reads the payload of a packet; `None`: it is of no server that is known.
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        match payload {
            [10, rest @ ..] => {
                let end = rest.iter().position(|byte| *byte == 0)?;
                let version = String::from_utf8_lossy(&rest[..end]).into_owned();
                // The id of the thread, 8 bytes of a nonce and a filler come before the flags.
                let flags = rest.get(end + 1 + 13..end + 1 + 15)?;
                let flags = u32::from(u16::from_le_bytes([flags[0], flags[1]]));
                // 8 bytes before the flags, 12 after 16 others, and a zero.
                let (begin, more) = (rest.get(end + 5..end + 13), rest.get(end + 32..end + 44));
                let nonce = begin.zip(more).map(|(begin, more)| [begin, more].concat());
                let tls = flags & CLIENT_SSL != 0;
                Some(Self::Ready { version, tls, nonce: nonce.unwrap_or_default() })
            }
            [0xff, _, _, message @ ..] => {
                Some(Self::Refused(String::from_utf8_lossy(message).into_owned()))
            }
            _ => None,
        }
    }
}

/// Reads a packet of a handshake: its payload.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    read_up_to(stream, MAX_PACKET).await
}

/// Reads a packet of so many bytes at most: its payload.
pub(super) async fn read_up_to(
    stream: &mut (impl AsyncRead + Unpin),
    most: usize,
) -> io::Result<Vec<u8>> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let length = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
    if length > most {
        return Err(io::Error::other(format!("it sends a packet of {length} bytes")));
    }
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    Ok(payload)
}

pub(super) async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    number: u8,
    payload: &[u8],
) -> io::Result<()> {
    let length = (payload.len() as u32).to_le_bytes();
    stream.write_all(&[length[0], length[1], length[2], number]).await?;
    stream.write_all(payload).await?;
    stream.flush().await
}

/// The beginning that the request for TLS and the login share.
pub(super) fn head(flags: u32) -> Vec<u8> {
    let mut payload = flags.to_le_bytes().to_vec();
    payload.extend_from_slice(&(1u32 << 24).to_le_bytes());
    // utf8mb4, and 23 bytes that are reserved.
    payload.push(45);
    payload.extend_from_slice(&[0; 23]);
    payload
}

/// Asks for TLS, which begins after it.
pub(super) async fn ask(stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    write(stream, 1, &head(FLAGS | CLIENT_SSL)).await
}

/// The end of a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Login {
    /// The server let a user in that it does not know.
    In,
    /// It did not.
    Refused {
        /// The number of the error.
        code: u16,
        /// The reason.
        message: String,
    },
    /// It says something else.
    Other,
}

impl Login {
    /// Reads the payload of the packet that ends the handshake.
    fn parse(payload: &[u8]) -> Self {
        match payload {
            [0, ..] => Self::In,
            [0xff, low, high, message @ ..] => Self::Refused {
                code: u16::from_le_bytes([*low, *high]),
                message: String::from_utf8_lossy(message).into_owned(),
            },
            _ => Self::Other,
        }
    }
}

/// Finishes the handshake as a user that does not exist, up to the server's refusal.
pub(super) async fn log_in(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    has_tls: bool,
) -> io::Result<Login> {
    let (flags, mut number) = if has_tls { (FLAGS | CLIENT_SSL, 2) } else { (FLAGS, 1) };
    let mut login = head(flags);
    login.extend_from_slice(USER.as_bytes());
    // An empty password.
    login.extend_from_slice(&[0, 0]);
    login.extend_from_slice(b"mysql_native_password\0");
    for _ in 0..MAX_ROUNDS {
        write(stream, number, &login).await?;
        number += 2;
        let payload = read(stream).await?;
        match payload.first() {
            // It asks for another method: still an empty password.
            Some(0xfe | 0x01) => login.clear(),
            _ => {
                let end = Login::parse(&payload);
                if end == Login::In {
                    // COM_QUIT: who leaves without it is an aborted client.
                    write(stream, 0, &[1]).await?;
                }
                return Ok(end);
            }
        }
    }
    Ok(Login::Other)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn greetings() {
        let mut greeting = b"\x0a5.5.5-10.11.19-MariaDB\0".to_vec();
        greeting.extend_from_slice(&[7; 13]);
        greeting.extend_from_slice(&[0xfe, 0xff, 8, 2]);
        let ready = |tls| {
            let version = "5.5.5-10.11.19-MariaDB".to_owned();
            Some(Greeting::Ready { version, tls, nonce: Vec::new() })
        };
        assert_eq!(Greeting::parse(&greeting), ready(true));
        let at = greeting.len() - 3;
        greeting[at] = 0xf7;
        assert_eq!(Greeting::parse(&greeting), ready(false));
        assert_eq!(Greeting::parse(&greeting[..30]), None);
        let blocked = b"\xff\x69\x04Host is blocked";
        let refused = Greeting::Refused("Host is blocked".to_owned());
        assert_eq!(Greeting::parse(blocked), Some(refused));
        assert_eq!(Greeting::parse(b"-ERR"), None);
        let denied = Login::Refused { code: 1045, message: "#28000Access denied".to_owned() };
        assert_eq!(Login::parse(b"\xff\x15\x04#28000Access denied"), denied);
        assert_eq!(Login::parse(&[0, 0, 0, 2]), Login::In);
        assert_eq!(Login::parse(&[]), Login::Other);
    }

    proptest! {
        #![proptest_config(dbfw_core::testing::cases(5_000))]

        #[test]
        fn no_greeting_panics(payload in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut known = vec![10];
            known.extend_from_slice(&payload);
            let _ = (Greeting::parse(&payload), Greeting::parse(&known), Login::parse(&payload));
        }
    }
}
