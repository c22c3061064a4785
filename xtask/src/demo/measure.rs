//! Time for a change of the list to reach the packets, seen by a client alone: by what
//! PostgreSQL answers and what it does not.

use std::{
    io::{self, BufReader, Read, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{hosts::Host, signals};

/// Interval of the client's queries.
const BEAT: Duration = Duration::from_millis(1);

/// Interval of a client's attempts to connect, and its timeout.
pub(super) const TRY: Duration = Duration::from_millis(2);

/// Longer than any answer takes on a busy machine.
const SILENCE: Duration = Duration::from_secs(1);

const PATIENCE: Duration = Duration::from_secs(20);

/// A client that has one connection to PostgreSQL and sends a query on it every millisecond,
/// without waiting for answers. They come in the order of the queries.
#[derive(Debug)]
pub(super) struct Client {
    shared: Arc<Shared>,
    times: Receiver<Instant>,
    sent: Vec<Instant>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

/// A connection that was cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// From what set it off to the sending of the first query that has no answer.
    pub(super) took: Duration,
    /// Between that query and the last one that has an answer.
    pub(super) gap: Duration,
    /// The machine is so busy that queries from before were still waiting: `took` is to the
    /// last answer instead, which is not before the cut.
    pub(super) was_busy: bool,
}

impl Cut {
    /// To what the time was taken.
    pub(super) const fn until(&self) -> &'static str {
        if self.was_busy { "last answer (this machine is busy)" } else { "first query unanswered" }
    }
}

#[derive(Debug, Default)]
struct Shared {
    answered: AtomicUsize,
    hold: AtomicBool,
    stop: AtomicBool,
}

impl Client {
    /// Connects from `host` and begins.
    pub(super) fn start(host: Host, server: SocketAddr) -> Result<Self> {
        let mut stream = host.inside(move || log_in(server).context("cannot reach PostgreSQL"))?;
        let reader = stream.try_clone().context("cannot share a connection")?;
        let shared = Arc::new(Shared::default());
        let (sender, times) = mpsc::channel();
        let senders = Arc::clone(&shared);
        let receivers = Arc::clone(&shared);
        let threads = vec![
            thread::spawn(move || send(&mut stream, &senders, &sender)),
            thread::spawn(move || receive(BufReader::new(reader), &receivers)),
        ];
        Ok(Self { shared, times, sent: Vec::new(), threads })
    }

    /// Queries sent so far.
    pub(super) fn sent(&mut self) -> usize {
        self.sent.extend(self.times.try_iter());
        self.sent.len()
    }

    /// Queries answered so far.
    pub(super) fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Waits until no answer comes any more and stops sending. `began` is when what is to cut
    /// the connection was set off.
    pub(super) fn await_cut(&mut self, began: Instant) -> Result<Cut> {
        let mut answered = self.answered();
        let mut last = Instant::now();
        signals::wait("the open connection to be cut", PATIENCE, || {
            self.check()?;
            if self.answered() != answered {
                answered = self.answered();
                last = Instant::now();
            }
            Ok((last.elapsed() > SILENCE).then_some(()))
        })?;
        self.shared.hold.store(true, Ordering::Relaxed);
        self.sent();
        let first = *self.sent.get(answered).context("the client fell silent, not the database")?;
        let before = answered.checked_sub(1).and_then(|index| self.sent.get(index));
        let before = *before.context("no query was ever answered")?;
        let gap = first.saturating_duration_since(before);
        let after = |at: Instant| at.checked_duration_since(began);
        match (after(first), after(last)) {
            (Some(took), _) => Ok(Cut { took, gap, was_busy: false }),
            (None, Some(took)) => Ok(Cut { took, gap, was_busy: true }),
            (None, None) => bail!("the connection was cut before anything was changed"),
        }
    }

    /// Waits until every query sent is answered.
    pub(super) fn await_answers(&mut self) -> Result<()> {
        signals::wait("the open connection to go on", PATIENCE, || {
            self.check()?;
            Ok((self.answered() == self.sent()).then_some(()))
        })
    }

    fn check(&self) -> Result<()> {
        if self.threads.iter().any(JoinHandle::is_finished) {
            bail!("the open connection was closed");
        }
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Connects from `host` again and again until an answer comes; when the attempt that was
/// answered began.
pub(super) fn first_answer(host: Host, server: SocketAddr) -> Result<Instant> {
    host.inside(move || {
        signals::wait("a connection to be answered", PATIENCE, || {
            // Within one look, so that the pace is this one.
            for _ in 0..10 {
                let began = Instant::now();
                match TcpStream::connect_timeout(&server, TRY) {
                    Ok(_) => return Ok(Some(began)),
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                    Err(error) => return Err(error).context("cannot connect to PostgreSQL"),
                }
            }
            Ok(None)
        })
    })
}

fn log_in(server: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(5))?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let body = b"\0\x03\0\0user\0postgres\0database\0postgres\0\0";
    stream.write_all(&message(None, body))?;
    while read_message(&mut stream)? != b'Z' {}
    // The reader looks at whether it is to stop.
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    Ok(stream)
}

fn send(stream: &mut TcpStream, shared: &Shared, times: &Sender<Instant>) -> io::Result<()> {
    let query = message(Some(b'Q'), b"select 1\0");
    let mut next = Instant::now();
    while !shared.stop.load(Ordering::Relaxed) {
        if !shared.hold.load(Ordering::Relaxed) {
            // Nobody listens once the client is dropped.
            let _ = times.send(Instant::now());
            stream.write_all(&query)?;
        }
        next = (next + BEAT).max(Instant::now());
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

fn receive(stream: BufReader<TcpStream>, shared: &Shared) -> io::Result<()> {
    let mut stream = Patient { stream, shared };
    loop {
        match read_message(&mut stream) {
            Ok(b'Z') => shared.answered.fetch_add(1, Ordering::Relaxed),
            Ok(b'E') => return Err(io::Error::other("PostgreSQL answered with an error")),
            Ok(_) => continue,
            Err(_) if shared.stop.load(Ordering::Relaxed) => return Ok(()),
            Err(error) => return Err(error),
        };
    }
}

/// Reads on past timeouts until it is to stop.
struct Patient<'a> {
    stream: BufReader<TcpStream>,
    shared: &'a Shared,
}

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(buffer) {
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock
                        && !self.shared.stop.load(Ordering::Relaxed) => {}
                result => return result,
            }
        }
    }
}

/// A message of PostgreSQL's protocol; the very first one has no type.
fn message(kind: Option<u8>, body: &[u8]) -> Vec<u8> {
    // Bodies here are a few bytes.
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    kind.into_iter().chain(length.to_be_bytes()).chain(body.iter().copied()).collect()
}

/// Reads a message and returns its type.
fn read_message(stream: &mut impl Read) -> io::Result<u8> {
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    let [kind, length @ ..] = head;
    let body = u64::from(u32::from_be_bytes(length)).saturating_sub(4);
    let read = io::copy(&mut stream.by_ref().take(body), &mut io::sink())?;
    if read == body { Ok(kind) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_written_and_read() {
        let query = message(Some(b'Q'), b"select 1\0");
        assert_eq!(query, b"Q\0\0\0\x0dselect 1\0");
        assert_eq!(message(None, b"\0\x03\0\0"), b"\0\0\0\x08\0\x03\0\0");
        let mut two = [query.clone(), message(Some(b'Z'), b"I")].concat();
        let mut stream = two.as_slice();
        assert_eq!(read_message(&mut stream).expect("the first"), b'Q');
        assert_eq!(read_message(&mut stream).expect("the second"), b'Z');
        assert!(read_message(&mut stream).is_err());
        two.pop();
        let mut cut = &two[query.len()..];
        assert!(read_message(&mut cut).is_err());
    }
}
