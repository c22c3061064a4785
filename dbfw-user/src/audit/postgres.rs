//! PostgreSQL's messages around TLS.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::user::USER;

/// Length 8, and the number that asks for TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// Version 3.0 of the protocol.
pub(super) const VERSION: u32 = 196_608;
/// Bytes that the answer to a client without a credential may have.
const MAX_ANSWER: u32 = 16 * 1024;

/// The answer to a request for TLS.
pub(super) enum Offer {
    /// TLS begins.
    Tls,
    /// The server has none.
    Plain,
    /// It is not PostgreSQL.
    Other(u8),
}

/// Asks for TLS.
pub(super) async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<Offer> {
    stream.write_all(&SSL_REQUEST).await?;
    Ok(match stream.read_u8().await? {
        b'S' => Offer::Tls,
        b'N' => Offer::Plain,
        other => Offer::Other(other),
    })
}

/// The answer to a client that names a user and a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The server asks for a proof by the method of this number; 0: for none.
    Ask(u32),
    /// It refuses.
    Refused {
        /// The SQLSTATE.
        code: String,
        /// The reason.
        message: String,
    },
    /// It is not PostgreSQL.
    Other(u8),
}

/// Says who asks, and hears how the server wants it proved: a connection that ends before that is an
/// error in its log.
pub(super) async fn log_in(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> io::Result<Answer> {
    let mut body = VERSION.to_be_bytes().to_vec();
    for text in ["user", USER, "database", "postgres", "application_name", USER] {
        body.extend_from_slice(text.as_bytes());
        body.push(0);
    }
    body.push(0);
    stream.write_u32(body.len() as u32 + 4).await?;
    stream.write_all(&body).await?;
    stream.flush().await?;
    let kind = stream.read_u8().await?;
    let length = stream.read_u32().await?;
    if !(4..=MAX_ANSWER).contains(&length) {
        return Ok(Answer::Other(kind));
    }
    let mut body = vec![0; length as usize - 4];
    stream.read_exact(&mut body).await?;
    Ok(Answer::parse(kind, &body))
}

impl Answer {
    fn parse(kind: u8, body: &[u8]) -> Self {
        match (kind, body.first_chunk()) {
            (b'R', Some(method)) => Self::Ask(u32::from_be_bytes(*method)),
            (b'E', _) => Self::Refused {
                code: field(body, b'C').unwrap_or_default(),
                message: field(body, b'M').unwrap_or_default(),
            },
            _ => Self::Other(kind),
        }
    }
}

/// A field of an error.
pub(super) fn field(body: &[u8], wanted: u8) -> Option<String> {
    let mut fields = body.split(|byte| *byte == 0);
    let text = fields.find_map(|field| match field {
        [kind, text @ ..] if *kind == wanted => Some(text),
        _ => None,
    })?;
    Some(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn answers() {
        assert_eq!(Answer::parse(b'R', &[0, 0, 0, 10, b'S']), Answer::Ask(10));
        assert_eq!(Answer::parse(b'R', &[0, 0]), Answer::Other(b'R'));
        let refused = b"SFATAL\0VFATAL\0C28000\0Mno pg_hba.conf entry\0\0";
        let (code, message) = ("28000".to_owned(), "no pg_hba.conf entry".to_owned());
        assert_eq!(Answer::parse(b'E', refused), Answer::Refused { code, message });
        assert_eq!(Answer::parse(b'H', b"TTP/1.1 400"), Answer::Other(b'H'));
    }

    proptest! {
        #![proptest_config(dbfw_core::testing::cases(5_000))]

        #[test]
        fn no_answer_panics(kind: u8, body in proptest::collection::vec(any::<u8>(), 0..60)) {
            for kind in [kind, b'R', b'E'] {
                let _ = Answer::parse(kind, &body);
            }
        }
    }
}
