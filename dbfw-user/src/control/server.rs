//! The server of the control socket.
//!
//! It reads a request, checks that the peer may make it, hands it to the agent's loop and passes
//! the answer on.

use std::{future::Future, io, sync::Arc, time::Duration};

use dbfw_wire::control::{ControlError, ControlErrorKind, Reply, Request};
use nix::unistd::geteuid;
use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::listen::ControlSocket;
use crate::lasting::LastingProblems;

/// Longest request, with its newline.
const MAX_REQUEST: u64 = 64 << 10;
/// Connections at once.
const MAX_CONNECTIONS: usize = 32;
/// Of those, the ones only root can have: readers cannot lock the operator out.
const RESERVED_FOR_ROOT: usize = 4;
/// Time for a peer to send its request.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a peer to accept a piece of the answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Replies on their way from the agent to a peer.
const REPLIES_IN_FLIGHT: usize = 64;
/// Interval at which the socket's file is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pause after `accept` failed, which mostly means that descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Process at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its user.
    pub uid: u32,
}

impl Peer {
    fn of(stream: &UnixStream) -> io::Result<Self> {
        Ok(Self { uid: stream.peer_cred()?.uid() })
    }

    /// Root, or the user the agent runs as.
    fn may_change(self) -> bool {
        self.uid == 0 || self.uid == geteuid().as_raw()
    }
}

/// A request that the peer may make, and where its answer goes.
#[derive(Debug)]
pub struct Call {
    /// Request.
    pub request: Request,
    /// By whom.
    pub peer: Peer,
    /// Takes the answer, which ends with [`Reply::End`] or [`Reply::Error`]. It is closed
    /// once the peer is gone.
    pub reply: mpsc::Sender<Reply>,
}

impl Call {
    /// Answers with one document. Never waits; a peer that is gone is ignored.
    pub fn answer<T: Serialize>(self, document: &T) {
        match serde_json::to_value(document) {
            Ok(value) => {
                // They fail only if the peer is gone: the channel is empty until now.
                let _ = self.reply.try_send(Reply::Data(value));
                let _ = self.reply.try_send(Reply::End {});
            }
            Err(error) => self.fail(
                ControlErrorKind::Failed,
                format!("the answer cannot be written as JSON: {error}"),
            ),
        }
    }

    /// Sends one of several documents, and waits until there is room for it. Returns whether the
    /// peer is still there.
    pub(crate) async fn send(&self, document: &impl Serialize) -> bool {
        let Ok(value) = serde_json::to_value(document) else { return false };
        self.reply.send(Reply::Data(value)).await.is_ok()
    }

    /// The user who asked, for the history.
    pub(crate) fn user(&self) -> String {
        user(self.peer.uid)
    }

    /// Says that it was not done. Never waits; a peer that is gone is ignored.
    pub fn fail(self, kind: ControlErrorKind, message: impl Into<String>) {
        let _ = self.reply.try_send(Reply::Error(ControlError { kind, message: message.into() }));
    }
}

/// A user, for the history.
pub(crate) fn user(uid: u32) -> String {
    format!("uid {uid}")
}

/// Serves `socket` until `shutdown`, handing every request to `calls`. Then open
/// connections are closed. A socket whose file is removed is made again.
pub async fn serve(
    mut socket: ControlSocket,
    calls: mpsc::Sender<Call>,
    shutdown: impl Future<Output = ()>,
) {
    let slots = Slots {
        all: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        readers: Arc::new(Semaphore::new(MAX_CONNECTIONS - RESERVED_FOR_ROOT)),
    };
    let mut connections = JoinSet::new();
    let mut lasting = LastingProblems::default();
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            Some(_) = connections.join_next() => {}
            _ = look.tick() => {
                let restored = socket.restore();
                if let Ok(true) = restored {
                    tracing::warn!("the control socket was removed: a new one is in its place");
                }
                lasting.follow(
                    "nobody can reach the control socket, whose file is not there",
                    restored.map(drop),
                );
            }
            accepted = socket.listener.accept() => match accepted {
                Ok((stream, _)) => {
                    lasting.follow("the control socket takes no connection", Ok::<(), String>(()));
                    if let Some((connection, slot)) = admit(stream, &slots, &mut lasting) {
                        let calls = calls.clone();
                        connections.spawn(async move {
                            connection.run(calls).await;
                            drop(slot);
                        });
                    }
                }
                Err(error) => {
                    lasting.follow("the control socket takes no connection", Err(error));
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

struct Slots {
    all: Arc<Semaphore>,
    readers: Arc<Semaphore>,
}

/// The problem while connections are refused. It has ended when half of them are free: near the
/// limit it would begin and end with every caller.
const TOO_MANY: &str = "too many connections to the control socket, more are refused";

struct Slot {
    _any: OwnedSemaphorePermit,
    _reader: Option<OwnedSemaphorePermit>,
}

impl Slots {
    fn take(&self, peer: Peer) -> Option<Slot> {
        let reader = if peer.may_change() {
            None
        } else {
            Some(Arc::clone(&self.readers).try_acquire_owned().ok()?)
        };
        let any = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Slot { _any: any, _reader: reader })
    }

    fn are_half_free(&self) -> bool {
        self.all.available_permits() >= MAX_CONNECTIONS / 2
            && self.readers.available_permits() >= (MAX_CONNECTIONS - RESERVED_FOR_ROOT) / 2
    }
}

/// A connection and its slot; `None` if there is no room for it, which it is told.
fn admit(
    stream: UnixStream,
    slots: &Slots,
    lasting: &mut LastingProblems,
) -> Option<(Connection, Slot)> {
    let peer = match Peer::of(&stream) {
        Ok(peer) => peer,
        Err(error) => {
            tracing::warn!("cannot find out who connected to the control socket: {error}");
            return None;
        }
    };
    let Some(slot) = slots.take(peer) else {
        let refused = format!("{MAX_CONNECTIONS}, of which {RESERVED_FOR_ROOT} are root's alone");
        lasting.follow(TOO_MANY, Err(refused));
        let busy = "the agent has too many open connections on its control socket; \
                    try again, or end a `dbfw drops --follow`";
        // A short line into an empty buffer: it is taken at once or not at all.
        let _ = stream.try_write(&refusal(ControlErrorKind::Busy, busy));
        return None;
    };
    if slots.are_half_free() {
        lasting.follow(TOO_MANY, Ok::<(), String>(()));
    }
    let (reader, writer) = stream.into_split();
    let reader = BufReader::new(reader);
    Some((Connection { peer, reader, writer }, slot))
}

struct Connection {
    peer: Peer,
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Connection {
    async fn run(mut self, calls: mpsc::Sender<Call>) {
        let request = match timeout(READ_TIMEOUT, read_request(&mut self.reader)).await {
            Ok(Ok(Some(request))) => request,
            Ok(Ok(None)) => return,
            Ok(Err(error)) => return self.refuse(ControlErrorKind::Invalid, &error).await,
            Err(_) => {
                let message = "no request within 5 seconds";
                return self.refuse(ControlErrorKind::Invalid, message).await;
            }
        };
        if request.changes() && !self.peer.may_change() {
            let message = format!(
                "user {} may only read; run this as root, for example with sudo",
                self.peer.uid
            );
            return self.refuse(ControlErrorKind::NotPermitted, &message).await;
        }
        let (reply, replies) = mpsc::channel(REPLIES_IN_FLIGHT);
        let call = Call { request, peer: self.peer, reply };
        let delivered = tokio::select! {
            sent = calls.send(call) => sent.is_ok(),
            () = gone(&mut self.reader) => return,
        };
        if !delivered {
            let message = "the agent is stopping; the filter stays in force";
            return self.refuse(ControlErrorKind::Failed, message).await;
        }
        tokio::select! {
            written = write_replies(replies, &mut self.writer) => if let Err(error) = written {
                tracing::debug!(uid = self.peer.uid, "control answer not delivered: {error}");
            },
            () = gone(&mut self.reader) => {}
        }
    }

    async fn refuse(mut self, kind: ControlErrorKind, message: &str) {
        if let Err(error) = write(&mut self.writer, &refusal(kind, message)).await {
            tracing::debug!(uid = self.peer.uid, "control answer not delivered: {error}");
        }
    }
}

/// The line of an answer that refuses the request.
fn refusal(kind: ControlErrorKind, message: &str) -> Vec<u8> {
    let mut line = Vec::new();
    push(&mut line, &Reply::Error(ControlError { kind, message: message.to_owned() }));
    line
}

/// The request; `None` if the peer went away without one; or what is wrong with it.
async fn read_request(
    reader: &mut BufReader<impl AsyncRead + Unpin>,
) -> Result<Option<Request>, String> {
    let mut line = Vec::new();
    let read = reader.take(MAX_REQUEST).read_until(b'\n', &mut line).await;
    match read {
        Ok(0) => return Ok(None),
        Err(error) => return Err(format!("cannot read the request: {error}")),
        Ok(_) => {}
    }
    if line.pop_if(|last| *last == b'\n').is_none() {
        return Err(match line.len() as u64 {
            MAX_REQUEST => "the request is longer than 64 KiB".to_owned(),
            _ => "the request ends without a newline".to_owned(),
        });
    }
    serde_json::from_slice(&line)
        .map(Some)
        .map_err(|error| format!("the request is not one this agent knows: {error}"))
}

/// Waits until the peer is gone. What it sends after its request is of no interest.
async fn gone(reader: &mut BufReader<OwnedReadHalf>) {
    while let Ok(bytes) = reader.fill_buf().await {
        match bytes.len() {
            0 => return,
            read => reader.consume(read),
        }
    }
}

/// Writes replies until the answer is complete or its sender is dropped.
async fn write_replies(
    mut replies: mpsc::Receiver<Reply>,
    writer: &mut OwnedWriteHalf,
) -> io::Result<()> {
    let mut batch = Vec::with_capacity(REPLIES_IN_FLIGHT);
    let mut text = Vec::new();
    while replies.recv_many(&mut batch, REPLIES_IN_FLIGHT).await > 0 {
        text.clear();
        let mut complete = false;
        for reply in batch.drain(..) {
            push(&mut text, &reply);
            complete = !matches!(reply, Reply::Data(_));
            if complete {
                break;
            }
        }
        write(writer, &text).await?;
        if complete {
            return Ok(());
        }
    }
    // Without its end the client knows that the answer is cut short.
    Ok(())
}

/// Appends `reply` as a line.
fn push(text: &mut Vec<u8>, reply: &Reply) {
    let before = text.len();
    match serde_json::to_writer(&mut *text, reply) {
        Ok(()) => text.push(b'\n'),
        // A value in memory always has a JSON form; should one not, the line is left out
        // and the client finds its answer cut short.
        Err(_) => text.truncate(before),
    }
}

async fn write(writer: &mut OwnedWriteHalf, text: &[u8]) -> io::Result<()> {
    match timeout(WRITE_TIMEOUT, writer.write_all(text)).await {
        Ok(written) => written,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read")),
    }
}

#[cfg(test)]
mod tests;
