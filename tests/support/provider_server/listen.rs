//! The server's thread: it listens, and serves every connection until it is told to stop.

use std::{
    fs::File,
    io,
    net::SocketAddr,
    sync::{Arc, mpsc::Sender},
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sched::{CloneFlags, setns};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    runtime::Builder,
    sync::{mpsc, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{delivery::Reset, exchange::Shared};

/// For a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What the thread is told to do; it says when that is done.
#[derive(Debug)]
pub(super) enum Order {
    /// Stop listening, and end every connection.
    Down,
    /// Listen again, at the same address.
    Up,
    /// End connections that are idle now, and others after what they are doing.
    Retire,
}

/// An order, and where to say that it is done.
pub(super) type Ordered = (Order, Sender<io::Result<()>>);

/// What the thread needs.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) address: SocketAddr,
    pub(super) netns: Option<File>,
    pub(super) tls: Option<ServerConfig>,
    pub(super) shared: Arc<Shared>,
}

/// Serves until the sender of `orders` is gone. Says at which address.
pub(super) fn run(
    listening: Listening,
    orders: mpsc::UnboundedReceiver<Ordered>,
    ready: &Sender<io::Result<SocketAddr>>,
) {
    let started = (|| {
        if let Some(netns) = &listening.netns {
            // This thread alone; its sockets stay there.
            setns(netns, CloneFlags::CLONE_NEWNET)?;
        }
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let listener = runtime.block_on(TcpListener::bind(listening.address))?;
        let address = listener.local_addr()?;
        Ok((runtime, listener, address))
    })();
    match started {
        Ok((runtime, listener, address)) => {
            let _ = ready.send(Ok(address));
            let site = Site {
                address: address.to_string(),
                scheme: if listening.tls.is_some() { "https" } else { "http" },
                tls: listening.tls.map(|config| TlsAcceptor::from(Arc::new(config))),
                shared: listening.shared,
            };
            runtime.block_on(serve(Arc::new(site), listener, address, orders));
        }
        Err(error) => _ = ready.send(Err(error)),
    }
}

/// What connections need.
struct Site {
    address: String,
    scheme: &'static str,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
}

async fn serve(
    site: Arc<Site>,
    listener: TcpListener,
    address: SocketAddr,
    mut orders: mpsc::UnboundedReceiver<Ordered>,
) {
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    let (retire, retired) = watch::channel(());
    loop {
        tokio::select! {
            // First, so that nothing is accepted after an order to go down.
            biased;
            order = orders.recv() => {
                let Some((order, done)) = order else { break };
                let result = match order {
                    Order::Down => {
                        listener = None;
                        connections.shutdown().await;
                        Ok(())
                    }
                    Order::Up if listener.is_some() => Ok(()),
                    Order::Up => TcpListener::bind(address).await.map(|up| listener = Some(up)),
                    Order::Retire => {
                        retire.send_replace(());
                        Ok(())
                    }
                };
                let _ = done.send(result);
            }
            Some(_) = connections.join_next() => {}
            accepted = accept(listener.as_ref()) => match accepted {
                Ok(stream) => {
                    connections.spawn(connection(Arc::clone(&site), stream, retired.clone()));
                }
                // Out of descriptors: trying again at once would spin.
                Err(_) => sleep(Duration::from_millis(50)).await,
            },
        }
    }
    connections.shutdown().await;
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

async fn connection(site: Arc<Site>, stream: TcpStream, retired: watch::Receiver<()>) {
    let Ok(reset) = Reset::new(&stream) else { return };
    let _ = stream.set_nodelay(true);
    match &site.tls {
        None => requests(&site, stream, reset, retired).await,
        Some(acceptor) => {
            if let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(stream)).await {
                requests(&site, stream, reset, retired).await;
            }
        }
    }
}

async fn requests(
    site: &Site,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    reset: Reset,
    mut retired: watch::Receiver<()>,
) {
    retired.mark_unchanged();
    let service = service_fn(|request| {
        site.shared.exchange(request, site.scheme, &site.address, reset.clone())
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
    );
    // How a connection ends is the client's affair.
    tokio::select! {
        _ = connection.as_mut() => {}
        Ok(()) = retired.changed() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}
