//! The time that a connection may take: for the head of a request, and doing nothing.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::sleep,
};

/// From the first byte of a request to the end of its head.
const HEAD: Duration = Duration::from_secs(10);

/// Without a byte in either direction. Clients reuse connections for a minute and more.
const IDLE: Duration = Duration::from_secs(75);

/// Without a byte that the reader of a stream takes, while there are some for it.
const BLOCKED: Duration = Duration::from_secs(10);

/// Between two looks at an idle connection. A thousand agents have two thousand of them.
const LOOK: Duration = Duration::from_secs(5);

/// The times of a connection.
#[derive(Clone, Debug)]
pub(super) struct Clock(Arc<Mutex<Times>>);

#[derive(Debug)]
struct Times {
    last_byte: Instant,
    /// The first byte of a request whose head is not complete.
    head_since: Option<Instant>,
    answering: usize,
    /// Since when bytes wait for the other end to take them.
    blocked_since: Option<Instant>,
    is_stream: bool,
}

impl Clock {
    pub(super) fn new() -> Self {
        let times = Times {
            last_byte: Instant::now(),
            head_since: None,
            answering: 0,
            blocked_since: None,
            is_stream: false,
        };
        Self(Arc::new(Mutex::new(times)))
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The head of a request is complete; it is answered until what is returned is dropped.
    pub(super) fn answering(&self) -> Answering {
        let mut times = self.times();
        times.head_since = None;
        times.answering += 1;
        Answering(self.clone())
    }

    fn read(&self) {
        let mut times = self.times();
        times.last_byte = Instant::now();
        if times.answering == 0 && times.head_since.is_none() {
            times.head_since = Some(times.last_byte);
        }
    }

    /// The answer goes on from now on. Its signs of life keep the connection, and no further request
    /// comes on it.
    pub(super) fn stream(&self) {
        self.times().is_stream = true;
    }

    fn written(&self) {
        let mut times = self.times();
        times.last_byte = Instant::now();
        times.blocked_since = None;
    }

    fn blocked(&self) {
        self.times().blocked_since.get_or_insert_with(Instant::now);
    }

    fn flushed(&self) {
        self.times().blocked_since = None;
    }

    /// Waits until the connection took too long.
    pub(super) async fn expired(&self) {
        loop {
            let left = {
                let times = self.times();
                let idle = IDLE.saturating_sub(times.last_byte.elapsed());
                let head = times.head_since.map(|since| HEAD.saturating_sub(since.elapsed()));
                let blocked = times.blocked_since.filter(|_| times.is_stream);
                let blocked = blocked.map(|since| BLOCKED.saturating_sub(since.elapsed()));
                [Some(idle), head, blocked].into_iter().flatten().min().unwrap_or(idle)
            };
            if left.is_zero() {
                return;
            }
            sleep(left.min(LOOK)).await;
        }
    }
}

/// A request is being answered.
pub(super) struct Answering(Clock);

impl Drop for Answering {
    fn drop(&mut self) {
        let mut times = self.0.times();
        times.answering = times.answering.saturating_sub(1);
    }
}

/// A stream whose bytes the clock sees.
pub(super) struct Timed<S> {
    stream: S,
    clock: Clock,
}

impl<S> Timed<S> {
    pub(super) fn new(stream: S, clock: Clock) -> Self {
        Self { stream, clock }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.clock.read();
        }
        polled
    }
}

impl<S> Timed<S> {
    /// Notes what became of a write.
    fn note(&self, polled: &Poll<io::Result<usize>>) {
        match polled {
            Poll::Ready(Ok(written)) if *written > 0 => self.clock.written(),
            Poll::Ready(_) => {}
            Poll::Pending => self.clock.blocked(),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.note(&polled);
        polled
    }

    // Otherwise each connection has a copy of what is sent, and keeps its memory.
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        match polled {
            Poll::Ready(_) => self.clock.flushed(),
            Poll::Pending => self.clock.blocked(),
        }
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
