//! Answers as bytes on a connection, whole or not.

use std::{
    convert::Infallible,
    future::pending,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, Response, header},
};
use futures_util::stream;
use tokio::{net::TcpStream, time::sleep};

use super::{
    answer::{Answer, Content},
    fault::Delivery,
};

const JSON: &str = "application/json; charset=utf-8";

/// Between two bytes of a drip.
const DRIP: Duration = Duration::from_secs(1);

/// From the half that is sent to the end of the connection: it has to get out first.
const FLUSH: Duration = Duration::from_millis(20);

/// What a body without an end is made of: JSON may have blanks anywhere.
static BLANKS: [u8; 64 * 1024] = [b' '; 64 * 1024];

/// A handle on a connection's socket that can make it end by a reset.
#[derive(Clone, Debug)]
pub(super) struct Reset(Arc<OwnedFd>);

impl Reset {
    pub(super) fn new(stream: &TcpStream) -> io::Result<Self> {
        Ok(Self(Arc::new(stream.as_fd().try_clone_to_owned()?)))
    }

    /// From now on, closing the connection resets it.
    fn arm(&self) {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        // Refused only for what is no TCP socket.
        let _ = nix::sys::socket::setsockopt(&self.0, nix::sys::socket::sockopt::Linger, &linger);
    }
}

/// The response, or none ever.
pub(super) async fn deliver(
    answer: Answer,
    delivery: Delivery,
    reset: Reset,
) -> Result<Response<Body>, Infallible> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status;
    response.headers_mut().extend(answer.headers);
    let bytes = match answer.content {
        Content::Nothing => None,
        Content::Json(value) => Some((JSON.to_owned(), value.to_string().into_bytes())),
        Content::Bytes { content_type, bytes } => Some((content_type, bytes)),
    };
    let (content_type, bytes) = bytes.unwrap_or_else(|| (JSON.to_owned(), Vec::new()));
    if (!bytes.is_empty() || matches!(delivery, Delivery::Huge(_)))
        && let Ok(value) = HeaderValue::from_str(&content_type)
    {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    let bytes = Bytes::from(bytes);
    let half = bytes.slice(..bytes.len() / 2);
    let of_length = |mut response: Response<Body>, length: usize, body| {
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        *response.body_mut() = body;
        response
    };
    let length = bytes.len();
    Ok(match delivery {
        Delivery::Whole if length == 0 => response,
        Delivery::Whole => of_length(response, length, Body::from(bytes)),
        Delivery::Half => of_length(response, half.len(), Body::from(half)),
        Delivery::Drip => of_length(response, length, drip(bytes)),
        Delivery::Broken { reset: wanted } => {
            // Without a body there is no half of one: promise a byte that never comes.
            let body = broken(half, wanted.then_some(reset));
            of_length(response, length.max(1), body)
        }
        Delivery::Huge(total) => {
            *response.body_mut() = huge(total);
            response
        }
        Delivery::Never => pending().await,
    })
}

fn drip(bytes: Bytes) -> Body {
    Body::from_stream(stream::unfold(bytes, |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        sleep(DRIP).await;
        let byte = rest.split_to(1);
        Some((Ok::<_, Infallible>(byte), rest))
    }))
}

fn broken(half: Bytes, reset: Option<Reset>) -> Body {
    Body::from_stream(stream::unfold(Some(half), move |half| {
        let reset = reset.clone();
        async move {
            if let Some(half) = half.filter(|half| !half.is_empty()) {
                return Some((Ok(half), None));
            }
            sleep(FLUSH).await;
            if let Some(reset) = reset {
                reset.arm();
            }
            Some((Err(io::Error::from(io::ErrorKind::ConnectionAborted)), None))
        }
    }))
}

/// The same bytes again and again: nothing is allocated for them.
fn huge(total: u64) -> Body {
    Body::from_stream(stream::unfold(0, move |sent: u64| async move {
        let chunk = match total.saturating_sub(sent) {
            0 => return None,
            _ if sent == 0 => Bytes::from_static(b"{"),
            left => Bytes::from_static(&BLANKS[..BLANKS.len().min(left as usize)]),
        };
        let sent = sent + chunk.len() as u64;
        Some((Ok::<_, Infallible>(chunk), sent))
    }))
}
