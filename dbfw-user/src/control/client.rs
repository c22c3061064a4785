//! The client of the control socket. Blocking: a command does one thing.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Write},
    ops::ControlFlow,
    os::{fd::AsRawFd as _, unix::net::UnixStream},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use dbfw_wire::control::{ControlError, ControlErrorKind, Reply, Request};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, socket};
use serde::de::DeserializeOwned;

/// Time for the agent to begin an answer that only reads: it never waits for anything, so one
/// that takes longer hangs.
const READ_TIMEOUT: Duration = Duration::from_secs(3);
/// The same for a change, which the kernel has to follow.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for which the client retries while the agent is busy, and the interval.
const BUSY: Duration = Duration::from_secs(2);
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// Reason why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens on the socket.
    #[error("no agent answers on {} (see `systemctl status dbfw`)", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Error of the connection.
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
        "the agent on {} did not answer within {} seconds: it hangs, or this machine is overloaded; \
         `journalctl -u dbfw` may say why, `systemctl restart dbfw` leaves the filter in force",
        path.display(),
        waited.as_secs()
    )]
    Silent {
        /// The socket.
        path: PathBuf,
        /// Time that it had.
        waited: Duration,
    },
    /// Too many others were asking for as long as it was tried.
    #[error(
        "the agent on {} is busy: too many connections to its socket; try again, or end a \
         `dbfw drops --follow`",
        path.display()
    )]
    Busy {
        /// The socket.
        path: PathBuf,
    },
    /// The connection broke before the answer was complete.
    #[error("the agent on {} broke off its answer; `journalctl -u dbfw` may say why", path.display())]
    CutShort {
        /// The socket.
        path: PathBuf,
        /// Error, unless it just ended.
        source: Option<io::Error>,
    },
    /// The stream that was followed ended, which only an agent that stops does on its own.
    #[error(
        "the agent ended, or broke off the stream from {}: `systemctl status dbfw` says which; the \
         filter stays in force",
        path.display()
    )]
    WentAway {
        /// The socket.
        path: PathBuf,
    },
    /// The agent said something else than was asked for.
    #[error(
        "the agent's answer is not understood; are the agent and this program of the same version?"
    )]
    Garbled(#[source] serde_json::Error),
    /// The agent did not do it.
    #[error(transparent)]
    Refused(#[from] ControlError),
}

/// Reason why the pins are read instead of the agent's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// Nobody listens on the socket.
    NoAgent,
    /// The agent did not answer in time.
    Silent,
    /// Too many others were asking.
    Busy,
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAgent => "no agent answers",
            Self::Silent => "the agent did not answer in time",
            Self::Busy => "the agent was too busy to answer",
        })
    }
}

impl ClientError {
    /// The reason why there was no answer, where the pins may have one.
    pub fn unanswered(&self) -> Option<Unanswered> {
        match self {
            Self::Unreachable { .. } => Some(Unanswered::NoAgent),
            Self::Silent { .. } => Some(Unanswered::Silent),
            Self::Busy { .. } => Some(Unanswered::Busy),
            Self::NotPermitted { .. }
            | Self::CutShort { .. }
            | Self::WentAway { .. }
            | Self::Garbled(_)
            | Self::Refused(_) => None,
        }
    }
}

/// A connection to the agent, good for one request.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    path: PathBuf,
    busy_until: Instant,
}

impl Client {
    /// Connects to the agent's socket. Retries for two seconds while it is busy.
    ///
    /// # Errors
    ///
    /// Nobody listens, the socket may not be opened, or it stays busy.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        Self::connect_until(path, Instant::now() + BUSY)
    }

    fn connect_until(path: &Path, busy_until: Instant) -> Result<Self, ClientError> {
        let own = || path.to_owned();
        loop {
            match connect(path) {
                Ok(stream) => return Ok(Self { stream, path: own(), busy_until }),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(ClientError::NotPermitted { path: own() });
                }
                // The kernel keeps no more waiting than the agent asked it to.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if Instant::now() >= busy_until {
                        return Err(ClientError::Busy { path: own() });
                    }
                    thread::sleep(BUSY_PAUSE);
                }
                Err(source) => return Err(ClientError::Unreachable { path: own(), source }),
            }
        }
    }

    /// Makes a request whose answer is one document.
    ///
    /// # Errors
    ///
    /// The agent did not answer in time, or answered with an error or with nothing readable.
    pub fn call<T: DeserializeOwned>(self, request: &Request) -> Result<T, ClientError> {
        let path = self.path.clone();
        let mut documents = self.documents(request)?;
        documents.pop().ok_or(ClientError::CutShort { path, source: None })
    }

    /// Makes a request whose answer is any number of documents.
    ///
    /// # Errors
    ///
    /// As [`Self::call`].
    pub fn documents<T: DeserializeOwned>(self, request: &Request) -> Result<Vec<T>, ClientError> {
        let mut documents = Vec::new();
        self.stream(request, |document| {
            documents.push(document);
            Ok::<(), ClientError>(())
        })?;
        Ok(documents)
    }

    /// Makes a request whose answer is any number of documents, and hands each to `each`
    /// as it comes. An error of `each` ends it.
    ///
    /// # Errors
    ///
    /// As [`Self::call`], and the errors of `each`.
    pub fn stream<T: DeserializeOwned, E: From<ClientError>>(
        self,
        request: &Request,
        mut each: impl FnMut(T) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut client = self;
        loop {
            match client.attempt(request, &mut each)? {
                ControlFlow::Break(()) => return Ok(()),
                ControlFlow::Continue(()) => {
                    thread::sleep(BUSY_PAUSE);
                    client = Self::connect_until(&client.path, client.busy_until)?;
                }
            }
        }
    }

    /// Makes the request once; goes on where the agent had no room for it and may have soon.
    fn attempt<T: DeserializeOwned, E: From<ClientError>>(
        &self,
        request: &Request,
        each: &mut impl FnMut(T) -> Result<(), E>,
    ) -> Result<ControlFlow<()>, E> {
        let waited = if request.changes() { CHANGE_TIMEOUT } else { READ_TIMEOUT };
        self.send(request, waited)?;
        let mut lines = BufReader::new(&self.stream);
        let mut line = Vec::new();
        let mut first = true;
        loop {
            match self.next(&mut lines, &mut line, waited)? {
                Reply::Data(value) => {
                    each(serde_json::from_value(value).map_err(ClientError::Garbled)?)?;
                }
                Reply::End {} => return Ok(ControlFlow::Break(())),
                Reply::Error(error) if error.kind == ControlErrorKind::Busy && first => {
                    if Instant::now() >= self.busy_until {
                        return Err(ClientError::Busy { path: self.path.clone() }.into());
                    }
                    return Ok(ControlFlow::Continue(()));
                }
                Reply::Error(error) => return Err(ClientError::Refused(error).into()),
            }
            if std::mem::take(&mut first) {
                // The agent has begun to answer; how long the rest takes is its affair.
                self.stream.set_read_timeout(None).map_err(|e| self.cut_short(e))?;
            }
        }
    }

    fn send(&self, request: &Request, waited: Duration) -> Result<(), ClientError> {
        let mut line = serde_json::to_vec(request).map_err(ClientError::Garbled)?;
        line.push(b'\n');
        self.stream
            .set_read_timeout(Some(waited))
            .and_then(|()| self.stream.set_write_timeout(Some(waited)))
            .map_err(|e| self.cut_short(e))?;
        match (&self.stream).write_all(&line) {
            // An agent that closed the connection may have said why.
            Err(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
                ) =>
            {
                Err(self.failed(error, waited))
            }
            _ => Ok(()),
        }
    }

    fn next(
        &self,
        lines: &mut impl BufRead,
        line: &mut Vec<u8>,
        waited: Duration,
    ) -> Result<Reply, ClientError> {
        line.clear();
        lines.read_until(b'\n', line).map_err(|e| self.failed(e, waited))?;
        if line.last() != Some(&b'\n') {
            return Err(ClientError::CutShort { path: self.path.clone(), source: None });
        }
        serde_json::from_slice(line).map_err(ClientError::Garbled)
    }

    fn failed(&self, error: io::Error, waited: Duration) -> ClientError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                ClientError::Silent { path: self.path.clone(), waited }
            }
            _ => self.cut_short(error),
        }
    }

    fn cut_short(&self, error: io::Error) -> ClientError {
        ClientError::CutShort { path: self.path.clone(), source: Some(error) }
    }
}

/// Connects without waiting for room in the agent's queue: a stopped agent makes none.
pub(super) fn connect(path: &Path) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}
