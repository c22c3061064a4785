//! [`Stream`]: the frames that one host gets, from its hello to its end.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::body::{Bytes, HttpBody};
use dbfw_wire::agent::{Frame, Have, Hello};
use jiff::Timestamp;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{sleep_until, timeout},
};
use uuid::Uuid;

use super::{
    BEAT, Fleet,
    hello::{self, HelloError, WantedList},
    published::{have, line},
    state::Follow,
};
use crate::model::Host;

/// Bytes that are handed on at a time: a reader that is slow holds up no more of its list.
const PIECE: usize = 16 << 10;

/// Time of a farewell: within this and so much for each agent they come back.
const FAREWELL: Duration = Duration::from_secs(1);
/// The same for each agent.
const FAREWELL_EACH: Duration = Duration::from_millis(2);

/// Time for a host that joined to be known here.
const NEWCOMER: Duration = Duration::from_secs(2);

/// Reason why a host gets no stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// There are as many as there may be.
    #[error("the server has as many agents as it may (max_agents): try another server, or later")]
    Full,
    /// The server is going to stop.
    #[error("the server is stopping: try another, or later")]
    Stopping,
    /// The host was removed just now.
    #[error("the host was removed")]
    Removed,
    /// The hello cannot be what it is.
    #[error(transparent)]
    Hello(#[from] HelloError),
}

impl Fleet {
    /// Opens a stream for a host.
    ///
    /// # Errors
    /// The hello cannot be, or there is no room.
    pub async fn open(self: &Arc<Self>, host: &Host, hello: &Hello) -> Result<Stream, StreamError> {
        // A host that joined just now is in the store, and known here in a moment. It is not entered
        // from there: it may be one that was removed just now.
        let mut directory = self.directory.subscribe();
        let known = async {
            while !self.lock().has_host(host.id) {
                if directory.changed().await.is_err() {
                    return;
                }
            }
        };
        timeout(NEWCOMER, known).await.map_err(|_| StreamError::Removed)?;
        Stream::open(self, host, hello)
    }
}

/// The stream of a host. It is entered with the fleet until it is dropped.
#[derive(Debug)]
pub struct Stream {
    fleet: Arc<Fleet>,
    host: Uuid,
    number: u64,
    end: Arc<Notify>,
    lists: Vec<Subscription>,
    directory: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
}

/// A list that a host asked for.
#[derive(Debug)]
struct Subscription {
    name: String,
    wanted: WantedList,
    follow: Option<(Uuid, Follow)>,
    /// The list that the host has, or was sent.
    has: Option<Have>,
    /// Whether the host knows that there is none.
    is_told: bool,
}

/// The frames of a stream, as the body of an answer.
#[derive(Debug)]
pub struct Frames(mpsc::Receiver<Bytes>);

impl HttpBody for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(context)
            .map(|bytes| bytes.map(|bytes| Ok(hyper::body::Frame::data(bytes))))
    }
}

/// The stream is over.
struct Over;

/// Something that a stream waited for.
enum Woken {
    /// It is to end.
    End,
    /// The server stops.
    Stopping,
    /// Databases or hosts came or went.
    Directory,
    /// A list changed.
    List,
    /// Nothing was sent for a while.
    Beat,
}

impl Stream {
    fn open(fleet: &Arc<Fleet>, host: &Host, hello: &Hello) -> Result<Self, StreamError> {
        let wanted = hello::check(host, hello)?;
        if *fleet.stopping.borrow() {
            return Err(StreamError::Stopping);
        }
        let (directory, stopping) = (fleet.directory.subscribe(), fleet.stopping.subscribe());
        let end = Arc::new(Notify::new());
        let number = {
            let mut state = fleet.lock();
            // One that takes the place of another needs no more room.
            if !state.is_connected(host.id) && state.streams() >= fleet.settings.max_agents {
                return Err(StreamError::Full);
            }
            let now = (Timestamp::now(), Instant::now());
            let number = state.connect(host.id, &wanted, Arc::clone(&end), now);
            number.ok_or(StreamError::Removed)?
        };
        let subscription = |(name, wanted): (String, WantedList)| {
            let has = wanted.have;
            Subscription { name, wanted, follow: None, has, is_told: false }
        };
        let lists = wanted.lists.into_iter().map(subscription).collect();
        let fleet = Arc::clone(fleet);
        let mut stream = Self { fleet, host: host.id, number, end, lists, directory, stopping };
        stream.find_lists();
        stream.fleet.note();
        Ok(stream)
    }

    /// The body of the answer, which goes on for as long as the stream does.
    pub fn start(self) -> Frames {
        let (sender, frames) = mpsc::channel(1);
        tokio::spawn(self.run(sender));
        Frames(frames)
    }

    /// Finds the lists that can be followed now.
    fn find_lists(&mut self) {
        let mut state = self.fleet.lock();
        for list in &mut self.lists {
            if let Some((id, _)) = &list.follow
                && !state.may_read(self.host, *id)
            {
                list.follow = None;
                list.is_told = false;
            }
            if list.follow.is_none() {
                let shown = (&*list.wanted.ports, &*list.wanted.mode);
                list.follow = state.follow(self.host, self.number, &list.name, shown);
            }
        }
    }

    async fn run(mut self, sender: mpsc::Sender<Bytes>) {
        // Either end may be the first to go.
        let _: Result<(), Over> = self.send_all(&sender).await;
    }

    async fn send_all(&mut self, sender: &mpsc::Sender<Bytes>) -> Result<(), Over> {
        let settings = &self.fleet.settings;
        let welcome = Frame::Welcome {
            server: settings.server.clone(),
            store: settings.meta.store_id,
            epoch: settings.meta.epoch,
            now: Timestamp::now(),
            beat_seconds: BEAT,
            trust: settings.authority.iter().cloned().collect(),
        };
        self.send(sender, line(&welcome)).await?;
        self.send_lists(sender).await?;
        self.send(sender, line(&Frame::Synced {})).await?;
        loop {
            match self.wait(sender).await {
                Woken::End => return Err(Over),
                Woken::Stopping => {
                    let agents = u32::try_from(self.fleet.streams()).unwrap_or(u32::MAX);
                    let after = FAREWELL.max(FAREWELL_EACH.saturating_mul(agents)).as_millis();
                    let after_ms = u64::try_from(after).unwrap_or(u64::MAX);
                    return self.send(sender, line(&Frame::Goodbye { after_ms })).await;
                }
                Woken::Directory => {
                    if !self.fleet.lock().has_host(self.host) {
                        return Err(Over);
                    }
                    self.find_lists();
                    self.send_lists(sender).await?;
                }
                Woken::List => self.send_lists(sender).await?,
                Woken::Beat => self.send(sender, line(&Frame::Beat {})).await?,
            }
        }
    }

    /// Waits until there is something to do.
    async fn wait(&mut self, sender: &mpsc::Sender<Bytes>) -> Woken {
        let Self { end, lists, directory, stopping, .. } = self;
        let beat = tokio::time::Instant::now() + Duration::from_secs(BEAT);
        let mut changes: Vec<_> = lists
            .iter_mut()
            .filter_map(|list| list.follow.as_mut())
            .map(|(_, follow)| Box::pin(follow.changed()))
            .collect();
        let list = poll_fn(|context| {
            // One whose sender is gone is one that the directory tells of.
            let mut polled = changes.iter_mut().map(|change| change.as_mut().poll(context));
            let is_changed = polled.any(|change| matches!(change, Poll::Ready(Ok(()))));
            if is_changed { Poll::Ready(()) } else { Poll::Pending }
        });
        tokio::select! {
            biased;
            () = sender.closed() => Woken::End,
            () = end.notified() => Woken::End,
            _ = stopping.wait_for(|stopping| *stopping) => Woken::Stopping,
            _ = directory.changed() => Woken::Directory,
            () = list => Woken::List,
            () = sleep_until(beat) => Woken::Beat,
        }
    }

    /// Sends the newest of each list that the host does not have.
    async fn send_lists(&mut self, sender: &mpsc::Sender<Bytes>) -> Result<(), Over> {
        for at in 0..self.lists.len() {
            let Some(line) = self.next_line(at) else { continue };
            self.send(sender, line).await?;
        }
        Ok(())
    }

    /// The next line about a list, if there is something to say.
    fn next_line(&mut self, at: usize) -> Option<Bytes> {
        let list = self.lists.get_mut(at)?;
        let Some((_, follow)) = &mut list.follow else {
            if std::mem::replace(&mut list.is_told, true) {
                return None;
            }
            list.has = None;
            let reason = format!("the server has no database {:?} for this host", list.name);
            return Some(line(&Frame::Gone { name: list.name.clone(), reason }));
        };
        // A database whose list is not known yet: it comes in a moment.
        let published = follow.borrow_and_update().clone()?;
        let line = published.line_for(list.has);
        list.has = Some(have(&published.bundle));
        line
    }

    /// Sends a line, piece by piece, as fast as the host reads.
    async fn send(&self, sender: &mpsc::Sender<Bytes>, mut line: Bytes) -> Result<(), Over> {
        while !line.is_empty() {
            let piece = line.split_to(line.len().min(PIECE));
            let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            tokio::select! {
                biased;
                () = self.end.notified() => return Err(Over),
                sent = sender.send(piece) => sent.map_err(|_| Over)?,
            }
            self.fleet.sent.fetch_add(length, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.fleet.lock().disconnect(self.host, self.number, Timestamp::now());
        self.fleet.note();
    }
}
