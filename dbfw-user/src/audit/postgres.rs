//! PostgreSQL's messages around TLS.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::user::USER;

/// Length 8, and the number that asks for TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// Version 3.0 of the protocol.
const VERSION: u32 = 196_608;
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

/// Asks for a connection and hears how the server wants it proved, since a connection that ends
/// before is an error in its log.
pub(super) async fn leave(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    let mut body = VERSION.to_be_bytes().to_vec();
    for text in ["user", USER, "database", "postgres", "application_name", USER] {
        body.extend_from_slice(text.as_bytes());
        body.push(0);
    }
    body.push(0);
    stream.write_u32(body.len() as u32 + 4).await?;
    stream.write_all(&body).await?;
    stream.flush().await?;
    let _kind = stream.read_u8().await?;
    let length = stream.read_u32().await?;
    if (4..=MAX_ANSWER).contains(&length) {
        let mut rest = vec![0; length as usize - 4];
        stream.read_exact(&mut rest).await?;
    }
    Ok(())
}
