//! The client of the admin socket.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use axum::body::{Body, Bytes, to_bytes};
use dbfw_wire::digitalocean::ErrorBody;
use hyper::{Method, Request, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::UnixStream, runtime, time::timeout};

/// Time for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of an answer: a whole store.
const MAX_ANSWER: usize = 1 << 30;

/// Reason why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// Nobody listens on the socket.
    #[error("no server answers on {} (see `systemctl status dbfw-server`)", .0.display())]
    Unreachable(PathBuf, #[source] io::Error),
    /// The socket may not be opened.
    #[error("{} may not be opened: be root, or the user that the server runs as", .0.display())]
    NotPermitted(PathBuf),
    /// The answer is not whole.
    #[error("the server broke off its answer ({0}); its log may say why")]
    CutShort(String),
    /// The server did not do it.
    #[error("{0}")]
    Refused(String),
}

/// The admin socket.
#[derive(Debug)]
pub(super) struct Client {
    socket: PathBuf,
}

impl Client {
    /// The socket at a path. Nothing is asked yet.
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Asks for a document.
    ///
    /// # Errors
    /// There is no answer, or it is no.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        parse(&self.ask(Method::GET, path, Body::empty())?)
    }

    /// Asks for data.
    ///
    /// # Errors
    /// There is no answer, or it is no.
    pub(super) fn data(&self, path: &str) -> Result<Bytes, ClientError> {
        self.ask(Method::GET, path, Body::empty())
    }

    /// Makes a request with a document.
    ///
    /// # Errors
    /// There is no answer, or it is no.
    pub(super) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        document: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(document);
        let body = body.map_err(|error| ClientError::CutShort(error.to_string()))?;
        parse(&self.ask(Method::POST, path, body.into())?)
    }

    /// Removes something.
    ///
    /// # Errors
    /// There is no answer, or it is no.
    pub(super) fn delete(&self, path: &str) -> Result<(), ClientError> {
        self.ask(Method::DELETE, path, Body::empty()).map(|_| ())
    }

    fn ask(&self, method: Method, path: &str, body: Body) -> Result<Bytes, ClientError> {
        let cut_short = |error: &dyn std::error::Error| ClientError::CutShort(error.to_string());
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| cut_short(&error))?;
        runtime.block_on(async {
            let stream = connect(&self.socket).await?;
            let asked = timeout(PATIENCE, exchange(stream, method, path, body)).await;
            asked.map_err(|_| ClientError::CutShort("no answer within 30 seconds".to_owned()))?
        })
    }
}

async fn connect(socket: &Path) -> Result<UnixStream, ClientError> {
    UnixStream::connect(socket).await.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => ClientError::NotPermitted(socket.to_owned()),
        _ => ClientError::Unreachable(socket.to_owned(), error),
    })
}

async fn exchange(
    stream: UnixStream,
    method: Method,
    path: &str,
    body: Body,
) -> Result<Bytes, ClientError> {
    let cut_short = |error: hyper::Error| ClientError::CutShort(error.to_string());
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(cut_short)?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "dbfw-server")
        .header(header::USER_AGENT, concat!("dbfw-server/", env!("CARGO_PKG_VERSION")))
        .body(body)
        .map_err(|error| ClientError::CutShort(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(cut_short)?;
    let status = response.status();
    let bytes = to_bytes(Body::new(response.into_body()), MAX_ANSWER).await;
    let bytes = bytes.map_err(|error| ClientError::CutShort(error.to_string()))?;
    if status.is_success() {
        return Ok(bytes);
    }
    let message = match serde_json::from_slice::<ErrorBody>(&bytes) {
        Ok(error) => error.message,
        Err(_) => format!("{status}: {}", String::from_utf8_lossy(&bytes)),
    };
    Err(ClientError::Refused(message))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(bytes).map_err(|error| ClientError::CutShort(error.to_string()))
}
