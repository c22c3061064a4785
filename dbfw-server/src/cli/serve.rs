//! `dbfw-server serve`: runs the server.

use std::io::IsTerminal as _;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use super::{args::Context, exit::Exit};
use crate::{config, serve::Server};

/// Threads that answer.
const THREADS: usize = 2;

/// Threads that read the store. A thousand reports at once would have hundreds otherwise, each with
/// memory of its own.
const READERS: usize = 4;

/// Runs until a signal ends it.
pub(super) fn serve(context: &Context) -> anyhow::Result<Exit> {
    log();
    let config = config::load(&context.config)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    set_limits();
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .max_blocking_threads(READERS)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let server = Server::start(&config).await?;
        // Without systemd nobody is told.
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready");
        let shutdown = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            let _ = sd_notify::notify(&[NotifyState::Stopping]);
        };
        server.run(shutdown).await;
        Ok(Exit::Ok)
    })
}

/// Logs to standard error by `DBFW_LOG`, a filter, and `DBFW_LOG_FORMAT`, text or json.
fn log() {
    let filter = std::env::var("DBFW_LOG").ok().and_then(|text| EnvFilter::try_new(text).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new("info"));
    let fmt = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    // A second call, as in tests, keeps the first one's subscriber.
    let _ = match std::env::var("DBFW_LOG_FORMAT").as_deref() {
        Ok("json") => registry.with(fmt.json()).try_init(),
        _ => registry
            .with(fmt.with_ansi(std::io::stderr().is_terminal()).with_target(false))
            .try_init(),
    };
}

/// No core, which would have tokens in it, and as many open files as the system lets have.
fn set_limits() {
    if let Err(error) = setrlimit(Resource::RLIMIT_CORE, 0, 0) {
        tracing::warn!(%error, "a core of this process could be written");
    }
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
