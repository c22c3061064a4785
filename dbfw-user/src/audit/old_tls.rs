//! A hello of TLS 1.1, which the library does not speak.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Cipher suites of TLS 1.0 and 1.1, for every kind of key.
const SUITES: [u16; 8] = [0xc014, 0xc013, 0xc00a, 0xc009, 0x0039, 0x0033, 0x0035, 0x002f];

/// The answer to a hello of an old version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OldTls {
    /// The server goes on, with TLS 1.0 or 1.1.
    Accepted(&'static str),
    /// It refuses the version.
    Refused,
    /// It refuses, for a reason of this number.
    Alert(u8),
    /// It says something else.
    Other,
}

/// Says hello in TLS 1.1, which stands for 1.0 too: the server chooses the highest of both that it
/// has.
pub(super) async fn greet(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> io::Result<OldTls> {
    stream.write_all(&hello()).await?;
    stream.flush().await?;
    let mut head = [0; 11];
    stream.read_exact(&mut head[..7]).await?;
    if head[0] == HANDSHAKE {
        stream.read_exact(&mut head[7..]).await?;
    }
    Ok(parse(&head))
}

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const SERVER_HELLO: u8 = 2;

/// Reads a record: an alert of 7 bytes, or the first 11 of a hello.
fn parse(head: &[u8; 11]) -> OldTls {
    match head {
        // The length of the record, and with it that of the message, come before these.
        [ALERT, 3, _, 0, 2, _, alert, ..] => match alert {
            // protocol_version, insufficient_security, internal_error (what OpenSSL sends if its
            // security level forbids the version), inappropriate_fallback.
            70 | 71 | 80 | 86 => OldTls::Refused,
            other => OldTls::Alert(*other),
        },
        [HANDSHAKE, 3, _, _, _, SERVER_HELLO, _, _, _, 3, 1] => OldTls::Accepted("TLS 1.0"),
        [HANDSHAKE, 3, _, _, _, SERVER_HELLO, _, _, _, 3, 2] => OldTls::Accepted("TLS 1.1"),
        _ => OldTls::Other,
    }
}

fn hello() -> Vec<u8> {
    let mut body = vec![3, 2];
    // Nothing is agreed on, so that the random bytes need not be random.
    body.extend_from_slice(&[0x5a; 32]);
    // No session.
    body.push(0);
    body.extend_from_slice(&(2 * SUITES.len() as u16).to_be_bytes());
    SUITES.iter().for_each(|suite| body.extend_from_slice(&suite.to_be_bytes()));
    // No compression.
    body.extend_from_slice(&[1, 0]);
    // The curves P-256, P-384 and X25519, uncompressed.
    let extensions = [0, 10, 0, 8, 0, 6, 0, 23, 0, 24, 0, 29, 0, 11, 0, 2, 1, 0];
    body.extend_from_slice(&(extensions.len() as u16).to_be_bytes());
    body.extend_from_slice(&extensions);
    let length = |bytes: &[u8]| (bytes.len() as u16).to_be_bytes();
    let mut message = vec![1, 0];
    message.extend_from_slice(&length(&body));
    message.extend_from_slice(&body);
    let mut record = vec![HANDSHAKE, 3, 1];
    record.extend_from_slice(&length(&message));
    record.extend_from_slice(&message);
    record
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn answers() {
        let of = |bytes: &[u8]| {
            let mut head = [0; 11];
            head[..bytes.len()].copy_from_slice(bytes);
            parse(&head)
        };
        assert_eq!(of(&[21, 3, 2, 0, 2, 2, 70]), OldTls::Refused);
        assert_eq!(of(&[21, 3, 1, 0, 2, 2, 80]), OldTls::Refused);
        assert_eq!(of(&[21, 3, 1, 0, 2, 2, 40]), OldTls::Alert(40));
        assert_eq!(of(&[22, 3, 1, 0, 57, 2, 0, 0, 53, 3, 1]), OldTls::Accepted("TLS 1.0"));
        assert_eq!(of(&[22, 3, 2, 0, 57, 2, 0, 0, 53, 3, 2]), OldTls::Accepted("TLS 1.1"));
        assert_eq!(of(&[22, 3, 3, 0, 57, 2, 0, 0, 53, 3, 3]), OldTls::Other);
        assert_eq!(of(b"-ERR x"), OldTls::Other);
    }

    #[test]
    fn the_lengths_are_right() {
        let record = hello();
        let length = |at: usize| usize::from(record[at]) << 8 | usize::from(record[at + 1]);
        assert_eq!(length(3), record.len() - 5);
        assert_eq!(length(7), record.len() - 9);
    }

    proptest! {
        #![proptest_config(dbfw_core::testing::cases(5_000))]

        #[test]
        fn no_answer_panics(head: [u8; 11]) {
            let _ = parse(&head);
        }
    }
}
