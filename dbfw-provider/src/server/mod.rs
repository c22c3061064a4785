//! Lists that a control plane keeps: one stream brings them, and every change of them, and reports
//! go back.
//!
//! A failure changes nothing: a list goes only for a newer one of the same database, which
//! was verified as a whole. [`Kept`] is on disk too, so that neither a restart of the agent nor a
//! server that was set back makes a host take an older list.

mod config;
mod facts;
mod join;
mod kept;
mod lines;
mod reporter;
mod stream;
mod take;
#[cfg(test)]
mod tests;
mod wait;

use std::{
    io,
    sync::{Arc, Mutex},
};

use dbfw_wire::agent::HostDatabase;
use tokio::{
    sync::{Notify, watch},
    task::spawn_blocking,
};
use uuid::Uuid;

pub use self::{
    config::{CREDENTIAL, ServerConfig, url_problem},
    facts::{AuditFacts, Facts, LeftOutSource, ListFacts, RefusedSource, Use},
    join::{JoinError, Membership, join},
    kept::{Kept, KeptList},
};
use self::{reporter::Reporter, stream::Streams};
use crate::{
    http::{HttpClient, Redirects},
    lock::lock,
    stats::Stats,
    worker::Mailbox,
};

/// Writes what a host keeps of its control plane to disk.
pub type Keep = Arc<dyn Fn(&Kept) -> io::Result<()> + Send + Sync>;

/// The worker that asks a control plane.
pub struct Server {
    config: ServerConfig,
    hostname: String,
    databases: Vec<HostDatabase>,
    boot: Uuid,
    kept: Arc<Mutex<Kept>>,
    keep: Keep,
    facts: watch::Receiver<Facts>,
    stats: Arc<Stats>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("config", &self.config).finish_non_exhaustive()
    }
}

/// State that outlives a worker, which is started anew with every change of its settings.
#[derive(Clone)]
pub struct Lasting {
    /// The host's memory of the control plane.
    pub kept: Arc<Mutex<Kept>>,
    /// Writes it to disk.
    pub keep: Keep,
    /// Facts to report.
    pub facts: watch::Receiver<Facts>,
    /// An id of this start of the agent.
    pub boot: Uuid,
}

impl std::fmt::Debug for Lasting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lasting").field("boot", &self.boot).finish_non_exhaustive()
    }
}

impl Server {
    /// A worker that has not asked yet. `databases` are those of the host whose lists a control
    /// plane keeps, without what it has of them.
    pub fn new(
        config: ServerConfig,
        hostname: String,
        databases: Vec<HostDatabase>,
        lasting: Lasting,
        stats: Arc<Stats>,
    ) -> Self {
        let Lasting { kept, keep, facts, boot } = lasting;
        Self { config, hostname, databases, boot, kept, keep, facts, stats }
    }

    /// Works until the other end of the mailbox is gone.
    pub async fn run(self, mailbox: Mailbox) {
        let Self { config, hostname, databases, boot, kept, keep, facts, stats } = self;
        let http = HttpClient::new(&config.http, Redirects::Refuse);
        // They were good when they came.
        let _ = http.trust_also(lock(&kept).trust.clone());
        let (up, is_up) = watch::channel(None);
        let changed = Arc::new(Notify::new());
        let reporter = Reporter {
            http: http.clone(),
            stats: Arc::clone(&stats),
            kept: Arc::clone(&kept),
            facts,
            up: is_up,
        };
        let save = save(Arc::clone(&kept), keep, Arc::clone(&changed));
        let streams =
            Streams::new(config, hostname, databases, boot, http, stats, kept, changed, up);
        tokio::select! {
            () = streams.run(mailbox) => {}
            () = reporter.run() => {}
            () = save => {}
        }
    }
}

/// Writes what is kept to disk whenever it changed.
async fn save(kept: Arc<Mutex<Kept>>, keep: Keep, changed: Arc<Notify>) {
    let mut failed = false;
    loop {
        changed.notified().await;
        let (now, keep) = (lock(&kept).clone(), Arc::clone(&keep));
        let error = match spawn_blocking(move || keep(&now)).await {
            Ok(result) => result.err().map(|error| error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        match (&error, failed) {
            (Some(error), false) => tracing::warn!(
                "what the server sent cannot be written to disk ({error}): it is in force, and a \
                 restart asks for all of it again"
            ),
            (None, true) => tracing::info!("what the server sent is on disk again"),
            _ => {}
        }
        failed = error.is_some();
    }
}
