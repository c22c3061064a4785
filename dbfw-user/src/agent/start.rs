//! Starting and stopping.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::Context as _;
use futures_util::StreamExt as _;
use rtnetlink::MulticastGroup;
use sd_notify::NotifyState;
use tokio::{
    io::unix::AsyncFd,
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::{
    configuration::Loaded,
    history::{History, Kind},
    own::OwnAddresses,
    privileges,
    run::Sources,
    seen,
    state::{Agent, Parts},
};
use crate::{
    control::{listen, server},
    datapath::{self, Datapath, interfaces},
    metrics::http::{self, Probe},
    state::{
        files::{make_directory, set_aside},
        local::LocalSources,
        snapshot::{Snapshot, SnapshotError},
    },
};

/// Requests waiting for the loop.
const QUEUE: usize = 64;

/// Sets everything up in the order that leaves no gap: maps are full before anything is
/// attached, and everything is attached before the agent says it is ready.
pub(super) async fn start(loaded: Loaded) -> anyhow::Result<()> {
    let Loaded { config, files, trouble: files_trouble } = loaded;
    status("loading");
    if let Some(problem) = files.degradation() {
        tracing::error!("{problem}");
    }
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    for directory in [&config.agent.state_dir, &config.agent.run_dir] {
        make_directory(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    if !datapath::has_perfmon() {
        tracing::warn!(
            "without CAP_PERFMON the kernel puts barriers against speculation into the programs, \
             if it takes them (before 6.18 many do not), and every packet takes two to four times \
             as long: add it to the unit's CapabilityBoundingSet="
        );
    }
    let datapath = Datapath::open(&config.agent.pin_dir)?;
    let (connection, netlink, messages) = rtnetlink::new_multicast_connection(&[
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
    ])
    .context("cannot open a netlink socket")?;
    tokio::spawn(connection);
    let (link_events, links) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut messages = messages;
        while messages.next().await.is_some() {
            // One waiting is enough: the loop looks at everything.
            let _ = link_events.try_send(());
        }
    });

    let own = OwnAddresses::open().context("cannot open a netlink socket")?;
    let found = interfaces::list(&netlink).await.context("cannot list the interfaces")?;
    let ids = datapath.database_ids()?;
    let (local, trouble) = LocalSources::load(&config.agent.state_dir);
    let reader = datapath.reader()?;
    let events = datapath.events()?;
    let history = History::new(&config.agent.state_dir);
    let refused_sources = seen::load(&config.agent.state_dir);
    let mut agent = Agent::new(Parts {
        files,
        config,
        netlink,
        own,
        datapath,
        reader,
        ids,
        local,
        history,
        refused_sources,
    });
    agent.interfaces.clone_from(&found);
    // SAFETY: `Events` owns its descriptor, the same one for as long as it lives.
    let events = unsafe { AsyncFd::register(events) };
    agent.events = Some(events.context("cannot wait for drop events")?);
    for trouble in [trouble, files_trouble].into_iter().flatten() {
        tracing::error!("{trouble}");
        agent.standing.push(trouble);
    }
    if !load_snapshot(&mut agent) {
        agent.adopt_held();
    }

    status("applying the policy");
    agent.follow_demand();
    agent.read_files().await;
    agent.reevaluate_all(&BTreeSet::new());
    if let Err(error) = agent.converge() {
        anyhow::bail!(
            "the policy cannot be carried out: {error}. Nothing is attached or replaced; what an \
             earlier agent attached goes on filtering"
        );
    }
    agent.own.follow(&mut agent.datapath).await;
    status("attaching");
    for problem in agent.datapath.adopt(&found)? {
        tracing::warn!("a pinned link cannot be taken over: {problem}");
    }
    agent.leave_others();
    agent.follow_choices();
    agent.verify().await;
    agent.look_beside_backstop();
    agent.retire_others();

    let (calls, call_queue) = mpsc::channel(QUEUE);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut servers = Vec::new();
    servers.extend(serve_control(&mut agent, calls, stopped.clone()));
    let (scrapes, scrape_queue) = mpsc::channel(QUEUE);
    servers.extend(serve_metrics(&mut agent, scrapes, stopped).await);
    privileges::drop_capabilities();
    agent.history.start();
    agent.history.record_action(agent.generation, Kind::Started, "agent", crate::version());

    let sources = Sources { links, call_queue, scrape_queue, said_ready: false };
    let result = agent.run(sources).await;
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    let _ = stop.send(true);
    agent.finish_saving().await;
    agent.finish_saving_refused().await;
    for server in servers {
        let _ = tokio::time::timeout(Duration::from_secs(2), server).await;
    }
    if agent.detached {
        tracing::warn!("stopped; the ports are open: dbfw detach was the last word");
    } else {
        tracing::info!("stopped; the filter goes on without the agent (dbfw detach ends it)");
    }
    result
}

/// Whether there was one that could be used.
fn load_snapshot(agent: &mut Agent) -> bool {
    match Snapshot::load(&agent.config.agent.state_dir) {
        Ok(snapshot) => {
            agent.restore(snapshot);
            return true;
        }
        Err(SnapshotError::Missing(_)) => {}
        Err(error @ SnapshotError::Corrupt { .. }) => {
            let path = Snapshot::path(&agent.config.agent.state_dir);
            let aside = match set_aside(&path) {
                Ok(aside) => format!("set aside as {}", aside.display()),
                Err(reason) => format!("and cannot be set aside: {reason}"),
            };
            let problem = format!("{error}; {aside}; providers' lists start from nothing");
            tracing::error!("{problem}");
            agent.standing.push(problem);
        }
        Err(error) => {
            tracing::error!("{error}");
            agent.standing.push(error.to_string());
        }
    }
    false
}

fn serve_control(
    agent: &mut Agent,
    calls: mpsc::Sender<server::Call>,
    stopped: tokio::sync::watch::Receiver<bool>,
) -> Option<JoinHandle<()>> {
    match listen::bind(&agent.config.agent.run_dir) {
        Ok(listener) => Some(tokio::spawn(server::serve(listener, calls, until_stopped(stopped)))),
        Err(error) => {
            let problem = format!("there is no control socket: {:#}", anyhow::Error::from(error));
            tracing::error!("{problem}");
            agent.standing.push(problem);
            None
        }
    }
}

async fn serve_metrics(
    agent: &mut Agent,
    scrape: mpsc::Sender<oneshot::Sender<String>>,
    stopped: tokio::sync::watch::Receiver<bool>,
) -> Option<JoinHandle<()>> {
    let address = agent.config.agent.metrics_listen?;
    match TcpListener::bind(address).await {
        Ok(listener) => {
            let probe = Probe { scrape, health: Arc::clone(&agent.health) };
            Some(tokio::spawn(http::serve(listener, probe, until_stopped(stopped))))
        }
        Err(error) => {
            let problem = format!("no metrics: cannot listen on {address}: {error}");
            tracing::error!("{problem}");
            agent.standing.push(problem);
            None
        }
    }
}

async fn until_stopped(mut stopped: tokio::sync::watch::Receiver<bool>) {
    // An error means that the sender is gone, which is the same.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Tells systemd what the agent is doing.
pub(super) fn status(text: &str) {
    let _ = sd_notify::notify(&[NotifyState::Status(text)]);
}
