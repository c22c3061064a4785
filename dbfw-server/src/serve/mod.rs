//! Serving: listeners, TLS, the admin socket, and an end in order.

mod admin;
mod clock;
mod connections;
mod tls;

use std::{
    net::{Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::JoinSet,
    time::timeout,
};
use uuid::Uuid;

use crate::{
    api::{self, ApiSettings, App},
    config::{Config, StoreConfig, Tls},
    fleet::{Fleet, FleetSettings},
    metrics::{self, Probe},
    model::Meta,
    panel::{self, Panel},
    resolve::Resolver,
    service::{Bounds, InitError, Service, ServiceError, remove_expired},
    store::{FileStore, Leader, Presence, Store, StoreError},
};

#[cfg(feature = "etcd")]
use crate::store::EtcdStore;

pub use self::{
    admin::{AdminError, SOCKET_NAME, STORE_PATH},
    tls::{Authority, TlsError},
};
use self::{connections::Connections, tls::Certificates};

/// Connections to the metrics at a time.
const MONITORS: usize = 64;

/// Time for the requests that are being answered at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Time to give the leases back at the end.
const LEAVE: Duration = Duration::from_secs(2);

/// Reason why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store was not set up.
    #[error(transparent)]
    Init(#[from] InitError),
    /// The store does not answer.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The admin socket cannot be made.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// An address cannot be listened on.
    #[error(
        "cannot listen on {address}: {source}; another program may, or the address is not this host's"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The reason.
        source: std::io::Error,
    },
}

/// Opens the store of a configuration. Must be called within a runtime.
///
/// # Errors
/// It cannot be opened.
pub async fn open_store(config: &Config) -> Result<Store, StoreError> {
    match &config.store {
        StoreConfig::File(path) => Ok(FileStore::open(path)?.into()),
        #[cfg(feature = "etcd")]
        StoreConfig::Etcd(settings) => Ok(EtcdStore::connect(settings).await?.into()),
        #[cfg(not(feature = "etcd"))]
        StoreConfig::Etcd(_) => {
            Err(StoreError::Failed("this dbfw-server was built without etcd".to_owned()))
        }
    }
}

/// A server that listens everywhere it is to.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    service: Arc<Service>,
    fleet: Arc<Fleet>,
    certificates: Option<Arc<Certificates>>,
    listeners: Vec<TcpListener>,
    admin: tokio::net::UnixListener,
    metrics: Option<TcpListener>,
    max_connections: usize,
    presence: Presence,
}

impl Server {
    /// Opens the store and listens. Nothing is answered yet.
    ///
    /// # Errors
    /// The store cannot be used, or somewhere cannot be listened.
    pub async fn start(config: &Config) -> Result<Self, ServeError> {
        // Opening it would make one.
        if config.store.file().is_some_and(|path| !path.exists()) {
            return Err(InitError::Empty.into());
        }
        let store = open_store(config).await?;
        let meta = Meta::read(&store).await?;
        let bounds = Bounds { rules: config.max_sources, feeds: config.allowed_feeds.clone() };
        let service = Arc::new(Service::new(store, bounds));
        let certificates = Certificates::load(config)?.map(Arc::new);
        let mut listeners = Vec::new();
        for address in &config.listen {
            let listener = TcpListener::bind(address).await;
            let listener =
                listener.map_err(|source| ServeError::Listen { address: *address, source })?;
            let bound = listener.local_addr().unwrap_or(*address);
            tracing::info!(address = %bound, tls = certificates.is_some(), "listening");
            listeners.push(listener);
        }
        let authority = match config.tls {
            Tls::Own => Some(Authority::of(config).pinned()?),
            Tls::Files { .. } | Tls::Off => None,
        };
        let fleet = Arc::new(Fleet::new(FleetSettings {
            server: config.name.clone(),
            meta: meta.clone(),
            authority: authority.as_ref().map(|authority| authority.pem.clone()),
            max_agents: config.max_agents,
            resolvable: config.resolve.resolvable(),
        }));
        let resolver = Arc::new(Resolver::new(Arc::clone(&service), config.resolve.clone()));
        let settings = ApiSettings {
            name: config.name.clone(),
            store_id: meta.store_id,
            requests_per_minute: config.requests_per_minute,
            // Without TLS a connection may be a proxy's, and have many clients.
            merge: config.merge && !matches!(config.tls, Tls::Off),
            wait: config.wait,
            url: url(config, &listeners),
            authority,
        };
        let admin = admin::bind(&config.run_dir)?;
        let who = who(&config.name);
        let leader = Leader::campaign(service.store().clone(), &who);
        let id = Uuid::new_v4().to_string();
        let presence = Presence::announce(service.store().clone(), &id, &who);
        let app = App::new(Arc::clone(&service), Arc::clone(&fleet), leader, resolver, settings);
        let app = Arc::new(app);
        let metrics = listen_for_metrics(config.metrics_listen).await;
        let max_connections = config.max_connections;
        Ok(Self {
            app,
            service,
            fleet,
            certificates,
            listeners,
            admin,
            metrics,
            max_connections,
            presence,
        })
    }

    /// Answers until `shutdown` completes.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self {
            app,
            service,
            fleet,
            certificates,
            listeners,
            admin,
            metrics,
            max_connections,
            presence,
        } = self;
        let leader = app.leader.clone();
        let mut background = JoinSet::new();
        let (stop, stopped) = watch::channel(false);
        let (loaded, is_loaded) = watch::channel(false);
        if let Some(listener) = metrics {
            let certificates = certificates.clone();
            let end = move || certificates.as_ref().and_then(|it| it.end());
            let certificate_end = Arc::new(end);
            let probe = Probe { app: Arc::clone(&app), certificate_end, is_loaded };
            let connections = Arc::new(Connections::new(MONITORS));
            let routes = metrics::router(probe);
            background.spawn(connections.serve_network(listener, None, routes, stopped.clone()));
        }
        let (ready, known) = oneshot::channel();
        let follow = Arc::clone(&fleet).follow(Arc::clone(&service), || {
            // Nobody waits any more if the server stops.
            let _ = ready.send(());
        });
        background.spawn(follow);
        let mut shutdown = std::pin::pin!(shutdown);
        // Who asks before everything is known would be told that there is nothing.
        tokio::select! {
            () = shutdown.as_mut() => return,
            _ = known => {}
        }
        loaded.send_replace(true);
        let mut tasks = JoinSet::new();
        let routes: Router = api::router(Arc::clone(&app));
        let (counting, resolver) = (Arc::clone(&app), Arc::clone(&app.resolver));
        let panel = Arc::new(Panel::new(app, stopped.clone(), certificates.is_some()));
        // Whatever no API answers is a page; the admin socket has none.
        let pages = routes.clone().fallback_service(panel::router(panel));
        let pages = metrics::counted(Arc::clone(&counting), pages);
        let connections = Arc::new(Connections::new(max_connections));
        for listener in listeners {
            let serve = Arc::clone(&connections).serve_network(
                listener,
                certificates.clone(),
                pages.clone(),
                stopped.clone(),
            );
            tasks.spawn(serve);
        }
        let admin_routes = admin::routes(Arc::clone(&service)).merge(routes);
        let admin_routes = metrics::counted(counting, admin_routes);
        tasks.spawn(connections.serve_admin(admin, admin_routes, stopped.clone()));
        background.spawn(remove_expired(service));
        background.spawn(resolver.run(leader.clone()));
        if let Some(certificates) = certificates {
            background.spawn(certificates.follow());
        }
        shutdown.await;
        tracing::info!("stopping");
        fleet.stop();
        stop.send_replace(true);
        let finish = async { while tasks.join_next().await.is_some() {} };
        if timeout(LAST_ANSWERS, finish).await.is_err() {
            tracing::warn!("some requests were not answered to their end");
        }
        // The next leader need not wait until the leases are over.
        let leave = async { tokio::join!(leader.resign(), presence.end()) };
        let _ = timeout(LEAVE, leave).await;
    }
}

/// The name of this server among those of its store.
fn who(name: &str) -> String {
    let host = nix::unistd::gethostname().ok().and_then(|host| host.into_string().ok());
    host.map_or_else(|| name.to_owned(), |host| format!("{name} on {host}"))
}

/// Listens for the monitoring. The server runs without it too.
async fn listen_for_metrics(address: Option<SocketAddr>) -> Option<TcpListener> {
    let address = address?;
    match TcpListener::bind(address).await {
        Ok(listener) => {
            let bound = listener.local_addr().unwrap_or(address);
            tracing::info!(metrics = %bound, "listening for the monitoring");
            Some(listener)
        }
        Err(error) => {
            tracing::error!(%address, %error, "no metrics: cannot listen there");
            None
        }
    }
}

/// The address by which agents reach the server.
fn url(config: &Config, listeners: &[TcpListener]) -> String {
    if let Some(url) = &config.url {
        return url.clone();
    }
    let bound = listeners.first().and_then(|listener| listener.local_addr().ok());
    let port = bound.map_or(0, |address| address.port());
    let name = match config.tls {
        // Only this host's own clients come without TLS.
        Tls::Off => Some("localhost".to_owned()),
        Tls::Own | Tls::Files { .. } => config.tls_names.first().cloned(),
    };
    let host = || nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let name = name.or_else(host).unwrap_or_else(|| "localhost".to_owned());
    let name = if name.parse::<Ipv6Addr>().is_ok() { format!("[{name}]") } else { name };
    let scheme = if config.tls == Tls::Off { "http" } else { "https" };
    format!("{scheme}://{name}:{port}")
}
