//! Sockets to a resolver whose address is of one link alone.

use std::{
    future::Future,
    io,
    net::{SocketAddr, SocketAddrV6},
    pin::Pin,
    time::Duration,
};

use hickory_resolver::net::runtime::{RuntimeProvider, TokioRuntimeProvider};

type Opening<T> = Pin<Box<dyn Send + Future<Output = io::Result<T>>>>;

/// Tokio's sockets, which know the link: hickory names a server by address and port, and of
/// `fe80::1%eth0` that leaves out the interface.
#[derive(Clone)]
pub(super) struct Runtime {
    tokio: TokioRuntimeProvider,
    /// Index of the interface; 0: any.
    scope: u32,
}

impl Runtime {
    /// For the sockets to this server.
    pub(super) fn to(server: SocketAddr) -> Self {
        let scope = match server {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(server) => server.scope_id(),
        };
        Self { tokio: TokioRuntimeProvider::default(), scope }
    }

    fn scoped(&self, server: SocketAddr) -> SocketAddr {
        match server {
            SocketAddr::V6(v6) if self.scope != 0 => {
                SocketAddrV6::new(*v6.ip(), v6.port(), v6.flowinfo(), self.scope).into()
            }
            server => server,
        }
    }
}

impl RuntimeProvider for Runtime {
    type Handle = <TokioRuntimeProvider as RuntimeProvider>::Handle;
    type Timer = <TokioRuntimeProvider as RuntimeProvider>::Timer;
    type Udp = <TokioRuntimeProvider as RuntimeProvider>::Udp;
    type Tcp = <TokioRuntimeProvider as RuntimeProvider>::Tcp;

    fn create_handle(&self) -> Self::Handle {
        self.tokio.create_handle()
    }

    fn connect_tcp(
        &self,
        server_addr: SocketAddr,
        bind_addr: Option<SocketAddr>,
        timeout: Option<Duration>,
    ) -> Opening<Self::Tcp> {
        self.tokio.connect_tcp(self.scoped(server_addr), bind_addr, timeout)
    }

    fn bind_udp(&self, local_addr: SocketAddr, server_addr: SocketAddr) -> Opening<Self::Udp> {
        let bound = self.tokio.bind_udp(local_addr, server_addr);
        if self.scope == 0 {
            return bound;
        }
        let server = self.scoped(server_addr);
        Box::pin(async move {
            let socket = bound.await?;
            // Binds it to the link, by which later datagrams go, though they name none.
            socket.connect(server).await?;
            Ok(socket)
        })
    }
}
