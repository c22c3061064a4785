//! A word with Redis or Valkey.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Bytes of a line that are read.
const MAX_LINE: usize = 512;

/// The answer to a client without a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// It is served.
    Pong,
    /// It has to log in first.
    NoAuth,
    /// It needs no password, and is refused because it comes from another host (protected mode).
    Protected,
    /// Another refusal.
    Refused(String),
    /// It is not Redis.
    Other,
}

/// Pings.
pub(super) async fn ping(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<Reply> {
    stream.write_all(b"*1\r\n$4\r\nPING\r\n").await?;
    stream.flush().await?;
    let reply = Reply::parse(&line(stream).await?);
    if matches!(reply, Reply::Pong | Reply::NoAuth) {
        // A polite end, which may find the connection closed.
        let _ = stream.write_all(b"*1\r\n$4\r\nQUIT\r\n").await;
        let _ = stream.flush().await;
        let _ = line(stream).await;
    }
    Ok(reply)
}

/// Reads a line, or its beginning.
async fn line(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    while line.len() < MAX_LINE && !line.ends_with(b"\n") {
        line.push(stream.read_u8().await?);
    }
    Ok(line)
}

impl Reply {
    fn parse(line: &[u8]) -> Self {
        let text = String::from_utf8_lossy(line.trim_ascii());
        match text.split_at_checked(1) {
            Some(("+", "PONG")) => Self::Pong,
            Some(("-", error)) => match error.split_whitespace().next() {
                Some("NOAUTH") => Self::NoAuth,
                Some("DENIED") => Self::Protected,
                _ => Self::Refused(error.to_owned()),
            },
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn replies() {
        let refused = |text: &str| Reply::Refused(text.to_owned());
        for (line, reply) in [
            ("+PONG\r\n", Reply::Pong),
            ("-NOAUTH Authentication required.\r\n", Reply::NoAuth),
            ("-DENIED Redis is running in protected mode because\r\n", Reply::Protected),
            (
                "-ERR max number of clients reached\r\n",
                refused("ERR max number of clients reached"),
            ),
            ("-\r\n", refused("")),
            ("\u{15}\u{3}\u{1}", Reply::Other),
            ("HTTP/1.1 400", Reply::Other),
            ("ä", Reply::Other),
            ("", Reply::Other),
        ] {
            assert_eq!(Reply::parse(line.as_bytes()), reply, "{line:?}");
        }
    }

    proptest! {
        #![proptest_config(dbfw_core::testing::cases(5_000))]

        #[test]
        fn no_line_panics(line in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Reply::parse(&line);
            let _ = Reply::parse(&[b"-", &*line].concat());
        }
    }
}
