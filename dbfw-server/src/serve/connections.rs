//! The accept loop: bounded connections, each with a state of its own.

use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    net::{IpAddr, Ipv6Addr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Router, body::Body, response::Response};
use hyper::{Request, body::Incoming, server::conn::http1, service::Service};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use nix::{
    sys::socket::{setsockopt, sockopt::TcpUserTimeout},
    unistd::geteuid,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    clock::{Clock, Timed},
    tls::Certificates,
};
use crate::api::{Connection, Peer, Streaming};

/// Time for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Bytes of the head of a request.
const MAX_HEAD: usize = 64 << 10;

/// Headers that are parsed: more than the APIs take, so that it is they who refuse.
const MAX_HEADERS: usize = 256;

/// Connections of the admin socket at a time.
const ADMINS: usize = 32;

/// Time for bytes to be acknowledged by the other end's system: one that is gone without a word is
/// noticed.
const UNACKNOWLEDGED: Duration = Duration::from_secs(20);

/// Pause after `accept` failed, which mostly means that descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The connections of the server.
#[derive(Debug)]
pub(super) struct Connections {
    free: Arc<Semaphore>,
    /// Of one address at a time.
    per_address: usize,
    of_address: Mutex<HashMap<IpAddr, usize>>,
}

impl Connections {
    /// At most so many at a time. One address, or one /64 of IPv6, has a quarter of them.
    pub(super) fn new(most: usize) -> Self {
        let per_address = (most / 4).max(1);
        Self { free: Arc::new(Semaphore::new(most)), per_address, of_address: Mutex::default() }
    }

    /// Serves a port until it is to stop. Those that come while there is no room wait.
    pub(super) async fn serve_network(
        self: Arc<Self>,
        listener: TcpListener,
        certificates: Option<Arc<Certificates>>,
        routes: Router,
        mut stopped: watch::Receiver<bool>,
    ) {
        let mut tasks = JoinSet::new();
        loop {
            while tasks.try_join_next().is_some() {}
            let accept = async {
                let permit = Arc::clone(&self.free).acquire_owned().await;
                (permit, listener.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                () = stop(&mut stopped) => break,
                accepted = accept => accepted,
            };
            let Ok(permit) = permit else { break };
            match accepted {
                Ok((stream, from)) => {
                    let address = from.ip().to_canonical();
                    let Some(place) = Place::take(&self, network_of(address), permit) else {
                        tracing::debug!(%address, "has too many connections");
                        continue;
                    };
                    let acceptor =
                        certificates.as_ref().map(|certificates| certificates.acceptor());
                    let place = Arc::new(Mutex::new(Some(place)));
                    tasks.spawn(network(
                        (stream, address),
                        place,
                        acceptor,
                        routes.clone(),
                        stopped.clone(),
                    ));
                }
                Err(error) => failed(&error).await,
            }
        }
        drop(listener);
        while tasks.join_next().await.is_some() {}
    }

    /// Serves the admin socket, for root and the user that the server runs as.
    pub(super) async fn serve_admin(
        self: Arc<Self>,
        listener: UnixListener,
        routes: Router,
        mut stopped: watch::Receiver<bool>,
    ) {
        let mut tasks = JoinSet::new();
        let free = Arc::new(Semaphore::new(ADMINS));
        loop {
            while tasks.try_join_next().is_some() {}
            let accept = async {
                let permit = Arc::clone(&free).acquire_owned().await;
                (permit, listener.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                () = stop(&mut stopped) => break,
                accepted = accept => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let answer = admin(stream, routes.clone(), stopped.clone());
                    tasks.spawn(async move {
                        answer.await;
                        drop(permit);
                    });
                }
                Err(error) => failed(&error).await,
            }
        }
        while tasks.join_next().await.is_some() {}
    }
}

/// Addresses that count as one: whoever has an IPv6 address has all of its /64.
fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
    }
}

/// Waits until the server is to stop.
async fn stop(stopped: &mut watch::Receiver<bool>) {
    // A sender that is gone says the same.
    let _ = stopped.wait_for(|stop| *stop).await;
}

async fn failed(error: &io::Error) {
    tracing::warn!(%error, "cannot accept a connection");
    sleep(ACCEPT_PAUSE).await;
}

/// The place of a connection among all, and among those of its address.
struct Place {
    connections: Arc<Connections>,
    address: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    fn take(
        connections: &Arc<Connections>,
        address: IpAddr,
        permit: OwnedSemaphorePermit,
    ) -> Option<Self> {
        let mut counts = connections.of_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= connections.per_address {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Self { connections: Arc::clone(connections), address, _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.connections.of_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// The place of a connection, until it is a stream: those are limited on their own.
type Kept = Arc<Mutex<Option<Place>>>;

async fn network(
    (stream, address): (TcpStream, IpAddr),
    place: Kept,
    acceptor: Option<TlsAcceptor>,
    routes: Router,
    stopped: watch::Receiver<bool>,
) {
    // Answers are small, and the client waits for them.
    let _ = stream.set_nodelay(true);
    let patience = u32::try_from(UNACKNOWLEDGED.as_millis()).unwrap_or(u32::MAX);
    let _ = setsockopt(&stream, TcpUserTimeout, &patience);
    let connection = Connection::new(Peer::Network(address), acceptor.is_some());
    let Some(acceptor) = acceptor else {
        return answer(stream, connection, place, routes, stopped).await;
    };
    match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => answer(stream, connection, place, routes, stopped).await,
        Ok(Err(error)) => tracing::debug!(%address, %error, "no TLS connection"),
        Err(_) => tracing::debug!(%address, "no TLS connection within 10 seconds"),
    }
}

async fn admin(stream: UnixStream, routes: Router, stopped: watch::Receiver<bool>) {
    let uid = match stream.peer_cred() {
        Ok(peer) => peer.uid(),
        Err(error) => return tracing::warn!(%error, "the admin socket does not know its peer"),
    };
    if uid != 0 && uid != geteuid().as_raw() {
        return tracing::warn!(uid, "the admin socket is for root and the server's user");
    }
    let connection = Connection::new(Peer::Local { uid }, false);
    answer(stream, connection, Kept::default(), routes, stopped).await;
}

/// Answers the requests of a connection, one after the other.
async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    connection: Connection,
    place: Kept,
    routes: Router,
    mut stopped: watch::Receiver<bool>,
) {
    let clock = Clock::new();
    let stream = TokioIo::new(Timed::new(stream, clock.clone()));
    let connection = Arc::new(connection);
    let service = Answers { connection, place: Arc::clone(&place), clock: clock.clone(), routes };
    let serve = http1::Builder::new()
        // The clock does that, and lets a connection be idle for longer.
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(stream, service);
    let mut serve = std::pin::pin!(serve);
    let ended = tokio::select! {
        ended = serve.as_mut() => ended,
        () = clock.expired() => return tracing::debug!("closed a connection that took too long"),
        () = stop(&mut stopped) => {
            serve.as_mut().graceful_shutdown();
            serve.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "closed a connection");
    }
}

/// Hands each request of a connection to the routes, with the connection's state.
struct Answers {
    connection: Arc<Connection>,
    place: Kept,
    clock: Clock,
    routes: Router,
}

impl Service<Request<Incoming>> for Answers {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let (answering, clock, place) =
            (self.clock.answering(), self.clock.clone(), Arc::clone(&self.place));
        request.extensions_mut().insert(Arc::clone(&self.connection));
        let answer = TowerToHyperService::new(self.routes.clone()).call(request);
        Box::pin(async move {
            let answer = answer.await;
            drop(answering);
            if answer.as_ref().is_ok_and(|it| it.extensions().get::<Streaming>().is_some()) {
                clock.stream();
                place.lock().unwrap_or_else(PoisonError::into_inner).take();
            }
            answer
        })
    }
}
