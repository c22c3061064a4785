//! Starting, the loop, and stopping.

use std::{collections::BTreeSet, future::pending, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use rtnetlink::MulticastGroup;
use sd_notify::NotifyState;
use tokio::{
    io::unix::AsyncFd,
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    event::Event,
    files,
    local::LocalSources,
    privileges,
    snapshot::{Snapshot, SnapshotError},
    state::{Agent, Parts, open_provider, with_provider},
};
use crate::{
    config::Config,
    control::{listen, server},
    datapath::{Datapath, interfaces},
    observe::{
        drops::{self, Clock, Names},
        http::{self, Probe},
    },
    provider::{self, Watcher},
};

/// How often protection is read back from the kernel.
const TICK: Duration = Duration::from_secs(1);
/// Requests waiting for the loop.
const QUEUE: usize = 64;

/// Sets everything up in the order that leaves no gap: maps are full before anything is
/// attached, and everything is attached before the agent says it is ready.
pub(super) async fn start(config_path: PathBuf, config: Config) -> anyhow::Result<()> {
    status("loading");
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    privileges::join_group();
    for directory in [&config.agent.state_dir, &config.agent.run_dir] {
        files::make_directory(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    let datapath = Datapath::open(&config.agent.pin_dir)?;
    let (connection, netlink, messages) =
        rtnetlink::new_multicast_connection(&[MulticastGroup::Link])
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

    let found = interfaces::list(&netlink).await.context("cannot list the interfaces")?;
    let ids = datapath.database_ids()?;
    let (local, trouble) = LocalSources::load(&config.agent.state_dir);
    let reader = datapath.reader()?;
    let events = datapath.events()?;
    let mut agent =
        Agent::new(Parts { config_path, config, netlink, datapath, reader, ids, local });
    agent.interfaces.clone_from(&found);
    // SAFETY: `Events` owns its descriptor, the same one for as long as it lives.
    let events = unsafe { AsyncFd::register(events) };
    agent.events = Some(events.context("cannot wait for drop events")?);
    if let Some(trouble) = trouble {
        tracing::error!("{trouble}");
        agent.standing.push(trouble);
    }
    load_snapshot(&mut agent);

    status("applying the policy");
    agent.read_lists(None, false);
    if let Err(error) = agent.reconcile() {
        anyhow::bail!(
            "the policy cannot be carried out: {error}. Nothing is attached or replaced; what an \
             earlier agent attached goes on filtering"
        );
    }
    status("attaching");
    for problem in agent.datapath.adopt(&found)? {
        tracing::warn!("a pinned link cannot be taken over: {problem}");
    }
    agent.leave_others();
    agent.verify().await;
    agent.datapath.retire_others()?;

    let (calls, call_queue) = mpsc::channel(QUEUE);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut servers = Vec::new();
    servers.extend(serve_control(&mut agent, calls, stopped.clone()));
    let (scrapes, scrape_queue) = mpsc::channel(QUEUE);
    servers.extend(serve_metrics(&mut agent, scrapes, stopped).await);
    let (changes, change_queue) = mpsc::channel(QUEUE);
    let watcher = watch_files(&agent, changes.clone());
    privileges::drop_capabilities();

    let sources = Sources {
        links,
        call_queue,
        scrape_queue,
        change_queue,
        changes,
        watcher,
        said_ready: false,
    };
    let result = agent.run(sources).await;
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    let _ = stop.send(true);
    agent.finish_saving().await;
    for server in servers {
        let _ = tokio::time::timeout(Duration::from_secs(2), server).await;
    }
    tracing::info!("stopped; the filter goes on without the agent (dbfw detach ends it)");
    result
}

/// Where the loop's events come from.
struct Sources {
    links: mpsc::Receiver<()>,
    call_queue: mpsc::Receiver<server::Call>,
    scrape_queue: mpsc::Receiver<oneshot::Sender<String>>,
    change_queue: mpsc::Receiver<PathBuf>,
    changes: mpsc::Sender<PathBuf>,
    watcher: Option<Watcher>,
    said_ready: bool,
}

impl Agent {
    async fn run(&mut self, mut sources: Sources) -> anyhow::Result<()> {
        let mut hangup = signal(SignalKind::hangup()).context("cannot catch SIGHUP")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot catch SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot catch SIGINT")?;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.say_ready(&mut sources.said_ready);
            if self.snapshot_error.is_none() {
                self.begin_saving();
            }
            let event = tokio::select! {
                _ = terminate.recv() => Event::Shutdown,
                _ = interrupt.recv() => Event::Shutdown,
                _ = hangup.recv() => Event::Reload,
                Some(()) = sources.links.recv() => Event::Links,
                Some(path) = sources.change_queue.recv() => Event::FileChanged(path),
                () = until(self.next_expiry) => Event::Expiry,
                _ = ticks.tick() => Event::Tick,
                Some(call) = sources.call_queue.recv() => Event::Call(call),
                Some(reply) = sources.scrape_queue.recv() => Event::Scrape(reply),
                () = readable(self.events.as_ref()) => Event::Drops,
                result = saved(self.saving.as_mut()) => Event::Saved(result),
            };
            if matches!(event, Event::Shutdown) {
                return Ok(());
            }
            self.handle(event, &mut sources).await;
        }
    }

    async fn handle(&mut self, event: Event, sources: &mut Sources) {
        match event {
            Event::Tick => self.tick(sources).await,
            Event::Expiry => self.expire(),
            Event::FileChanged(path) => {
                // Several calls for one change are the rule: one reading does for them.
                let mut paths = BTreeSet::from([path]);
                while let Ok(path) = sources.change_queue.try_recv() {
                    paths.insert(path);
                }
                paths.retain(|path| self.may_have_changed(path));
                if paths.is_empty() {
                    return;
                }
                for path in paths {
                    self.read_lists(Some(&path), false);
                }
                // Its error is logged and shown in the status.
                let _ = self.reconcile();
            }
            Event::Saved(result) => self.saved(result),
            Event::Links => self.look_at_interfaces().await,
            Event::Drops => self.take_drops(),
            Event::Reload => {
                let _ = sd_notify::notify(&[
                    NotifyState::Reloading,
                    NotifyState::monotonic_usec_now().unwrap_or(NotifyState::Reloading),
                ]);
                if let Err(error) = self.reload(false).await {
                    tracing::error!("{}", error.message);
                }
                let _ = sd_notify::notify(&[NotifyState::Ready]);
                sources.watcher = watch_files(self, sources.changes.clone());
            }
            Event::Call(call) => {
                let reloads = matches!(call.request, crate::control::wire::Request::Reload { .. });
                self.answer(call).await;
                if reloads {
                    sources.watcher = watch_files(self, sources.changes.clone());
                }
            }
            Event::Scrape(reply) => {
                // Fails only if the client is gone.
                let _ = reply.send(self.scrape());
            }
            Event::Shutdown => {}
        }
    }

    async fn tick(&mut self, sources: &mut Sources) {
        self.verify().await;
        // After a failure once a tick, not in a circle.
        self.begin_saving();
        self.health.beat();
        // The loop got here: that is what the watchdog is to know.
        let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        for path in self.changed_files() {
            self.read_lists(Some(&path), false);
            let _ = self.reconcile();
        }
        if sources.watcher.is_none() {
            sources.watcher = watch_files(self, sources.changes.clone());
        }
        self.refill_events();
        #[cfg(feature = "bpf-log")]
        self.datapath.flush_log();
        self.measure_rates();
        // A clock that was set may have passed an expiry without the timer noticing.
        if self.next_expiry.is_some_and(|at| at <= Timestamp::now()) {
            self.expire();
        }
        if self.apply_error.is_some() {
            let _ = self.reconcile();
        }
    }

    fn expire(&mut self) {
        if let Err(error) = self.local.sweep(Timestamp::now()) {
            tracing::warn!(%error, "cannot forget expired local sources; they are not in force");
        }
        let _ = self.reconcile();
    }

    fn refill_events(&mut self) {
        if !std::mem::take(&mut self.events_seen) {
            return;
        }
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let tokens = u64::from(self.config.agent.events_per_second).div_ceil(cpus as u64);
        if let Err(error) = self.datapath.refill_events(tokens) {
            tracing::warn!(%error, "cannot refill the budget of drop events");
        }
    }

    fn take_drops(&mut self) {
        let mut taken = Vec::new();
        if let Some(events) = &mut self.events {
            while let Some(event) = events.get_mut().next_event() {
                taken.push(event);
            }
        }
        if taken.is_empty() {
            return;
        }
        self.events_seen = true;
        for event in &taken {
            self.top.add(event);
        }
        if self.follow.receiver_count() == 0 {
            return;
        }
        let Ok(clock) = Clock::read() else { return };
        let names = Names {
            database: &|id| self.database_name(id),
            interface: &|index| self.interface_name(index),
            clock,
        };
        for event in &taken {
            // Fails only if the followers just left.
            let _ = self.follow.send(drops::to_wire(event, &names));
        }
    }

    /// Leaves the policy in force on disk.
    async fn finish_saving(&mut self) {
        if self.saving.is_some() {
            let result = saved(self.saving.as_mut()).await;
            self.saved(result);
        }
        self.begin_saving();
        if self.saving.is_some() {
            let result = saved(self.saving.as_mut()).await;
            self.saved(result);
        }
    }

    /// Tells systemd, once, when protection was read back.
    fn say_ready(&self, said: &mut bool) {
        match self.protection() {
            Ok(()) if !*said => {
                *said = true;
                self.health.beat();
                tracing::info!("ready: every covered interface is protected");
                let _ = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status("protecting")]);
            }
            Err(reason) if !*said => status(&format!("not protected: {reason}")),
            _ => {}
        }
    }
}

fn load_snapshot(agent: &mut Agent) {
    match Snapshot::load(&agent.config.agent.state_dir) {
        Ok(snapshot) => agent.restore(snapshot),
        Err(SnapshotError::Missing(_)) => {}
        Err(error @ SnapshotError::Corrupt { .. }) => {
            let path = Snapshot::path(&agent.config.agent.state_dir);
            let aside = match files::set_aside(&path) {
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

/// Watches the providers' files; without a watch the loop looks at them every second.
fn watch_files(agent: &Agent, changes: mpsc::Sender<PathBuf>) -> Option<Watcher> {
    let paths: Vec<PathBuf> =
        with_provider(&agent.config).map(|(_, provider)| open_provider(provider).1.path).collect();
    if paths.is_empty() {
        return None;
    }
    let result = provider::watch(&paths, move |path| {
        // A full queue means that the loop is about to look anyway, and it polls.
        let _ = changes.try_send(path);
    });
    match result {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::debug!(%error, "cannot watch the lists; looking at them every second");
            None
        }
    }
}

async fn until(at: Option<Timestamp>) {
    match at {
        Some(at) => {
            let left = at.duration_since(Timestamp::now());
            sleep(left.try_into().unwrap_or(Duration::ZERO)).await;
        }
        None => pending().await,
    }
}

async fn readable(events: Option<&AsyncFd<crate::datapath::Events>>) {
    match events {
        Some(events) => {
            if let Ok(mut guard) = events.readable().await {
                guard.clear_ready();
            }
        }
        None => pending().await,
    }
}

async fn saved(
    saving: Option<&mut JoinHandle<Result<(), SnapshotError>>>,
) -> Result<(), SnapshotError> {
    match saving {
        Some(saving) => {
            saving.await.unwrap_or_else(|error| Err(SnapshotError::Lost(error.to_string())))
        }
        None => pending().await,
    }
}

async fn until_stopped(mut stopped: tokio::sync::watch::Receiver<bool>) {
    // An error means that the sender is gone, which is the same.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

fn status(text: &str) {
    let _ = sd_notify::notify(&[NotifyState::Status(text)]);
}
