//! The command line's end of the control socket. Blocking: a command does one thing.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::wire::{ControlError, Reply, Request};

/// How long the agent may take to begin its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens on the socket.
    #[error("no agent answers on {} (see `systemctl status dbfw`)", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What connecting to it said.
        source: io::Error,
    },
    /// The socket may not be opened.
    #[error("{} may not be opened: be root or a member of the group dbfw", path.display())]
    NotPermitted {
        /// The socket.
        path: PathBuf,
    },
    /// The agent took the request and did not answer in time.
    #[error(
        "the agent on {} did not answer within {} seconds; `journalctl -u dbfw` may tell why",
        path.display(),
        ANSWER_TIMEOUT.as_secs()
    )]
    Silent {
        /// The socket.
        path: PathBuf,
    },
    /// The connection broke before the answer was complete.
    #[error("the agent on {} broke off its answer; `journalctl -u dbfw` may tell why", path.display())]
    CutShort {
        /// The socket.
        path: PathBuf,
        /// How it broke, if not by its end.
        source: Option<io::Error>,
    },
    /// The stream that was followed ended, which only an agent that stops does on its own.
    #[error(
        "the agent went away, or broke off the stream from {}: `systemctl status dbfw` tells \
         which; what it enforced stays enforced",
        path.display()
    )]
    WentAway {
        /// The socket.
        path: PathBuf,
    },
    /// The agent said something else than was asked for.
    #[error("the answer of the agent is not understood; is it of the version of this program?")]
    Garbled(#[source] serde_json::Error),
    /// The agent did not do it.
    #[error(transparent)]
    Refused(#[from] ControlError),
}

/// A connection to the agent, good for one request.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    path: PathBuf,
}

impl Client {
    /// Connects to the agent's socket.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        match UnixStream::connect(path) {
            Ok(stream) => Ok(Self { stream, path: path.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(ClientError::NotPermitted { path: path.to_owned() })
            }
            Err(source) => Err(ClientError::Unreachable { path: path.to_owned(), source }),
        }
    }

    /// Makes a request whose answer is one document.
    pub fn call<T: DeserializeOwned>(self, request: &Request) -> Result<T, ClientError> {
        let path = self.path.clone();
        let mut document = None;
        self.stream(request, |value| {
            document = Some(value);
            Ok::<(), ClientError>(())
        })?;
        match document {
            Some(value) => serde_json::from_value(value).map_err(ClientError::Garbled),
            None => Err(ClientError::CutShort { path, source: None }),
        }
    }

    /// Makes a request whose answer is any number of documents, and hands each to `each`
    /// as it comes. An error of `each` ends it.
    pub fn stream<E: From<ClientError>>(
        self,
        request: &Request,
        mut each: impl FnMut(Value) -> Result<(), E>,
    ) -> Result<(), E> {
        self.send(request)?;
        let mut lines = BufReader::new(&self.stream);
        let mut line = Vec::new();
        let mut first = true;
        loop {
            match self.next(&mut lines, &mut line)? {
                Reply::Data(value) => each(value)?,
                Reply::End {} => return Ok(()),
                Reply::Error(error) => return Err(ClientError::Refused(error).into()),
            }
            if std::mem::take(&mut first) {
                // The agent has begun to answer; how long the rest takes is its affair.
                self.stream.set_read_timeout(None).map_err(|e| self.cut_short(e))?;
            }
        }
    }

    fn send(&self, request: &Request) -> Result<(), ClientError> {
        let mut line = serde_json::to_vec(request).map_err(ClientError::Garbled)?;
        line.push(b'\n');
        self.stream
            .set_read_timeout(Some(ANSWER_TIMEOUT))
            .and_then(|()| self.stream.set_write_timeout(Some(ANSWER_TIMEOUT)))
            .map_err(|e| self.cut_short(e))?;
        match (&self.stream).write_all(&line) {
            // An agent that closed the connection may have said why.
            Err(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
                ) =>
            {
                Err(self.failed(error))
            }
            _ => Ok(()),
        }
    }

    fn next(&self, lines: &mut impl BufRead, line: &mut Vec<u8>) -> Result<Reply, ClientError> {
        line.clear();
        lines.read_until(b'\n', line).map_err(|e| self.failed(e))?;
        if line.last() != Some(&b'\n') {
            return Err(ClientError::CutShort { path: self.path.clone(), source: None });
        }
        serde_json::from_slice(line).map_err(ClientError::Garbled)
    }

    fn failed(&self, error: io::Error) -> ClientError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                ClientError::Silent { path: self.path.clone() }
            }
            _ => self.cut_short(error),
        }
    }

    fn cut_short(&self, error: io::Error) -> ClientError {
        ClientError::CutShort { path: self.path.clone(), source: Some(error) }
    }
}
