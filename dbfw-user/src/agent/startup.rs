//! The order of start and stop.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use dbfw_core::{
    policy::Policy,
    source::{Origin, Prefix},
};
use dbfw_datapath::DatabaseSlot;
use dbfw_wire::control::Reloaded;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use rtnetlink::{Handle, MulticastGroup};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use super::{
    Agent,
    audit::AuditReader,
    calls::OpenCalls,
    configuration::{ConfigurationFiles, FormerConfiguration, Loaded},
    connection_watch::ConnectionWatch,
    control_plane::ControlPlane,
    cut_off::CutOffQuery,
    disk::{Disk, load_refused},
    event_loop::Inbox,
    history::{History, Kind, lets_in},
    kernel::Kernel,
    logging,
    not_started::NotStarted,
    openings::Openings,
    process,
    requests::reload,
    systemd::{self, Readiness, status},
    traffic::Traffic,
    trust::{Trust, synced},
    usage::Usage,
    workers::Workers,
};
use crate::{
    config::{self, Config, ConfigChange, DatabaseConfig},
    control::{listen, server},
    metrics::{
        Scrape, SyncCounters,
        http::{self, Probe},
    },
    protection::Attachments,
    state::{
        expiry::Reading,
        files::{self, ReadError, make_directory},
        local::{LocalSource, LocalSources},
        snapshot::Snapshot,
    },
};

/// Requests waiting for the loop.
const QUEUE: usize = 64;

/// Runs the agent until SIGTERM. When it returns, the filter stays in force.
///
/// # Errors
/// The agent cannot start. A bad configuration without a last good one is a
/// [`dbfw_core::toml::Problems`] in the error's chain.
pub fn run(config_path: PathBuf) -> anyhow::Result<()> {
    logging::init();
    let mut stage = Stage::Starting;
    run_to_end(config_path.clone(), &mut stage).map_err(|error| match stage {
        Stage::Starting => NotStarted::new(error, &config::agent_section(&config_path)).into(),
        Stage::Running => error,
    })
}

/// The stage of the start that the agent has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Not everything that it needs is there yet.
    Starting,
    /// Everything was attached.
    Running,
}

fn run_to_end(config_path: PathBuf, stage: &mut Stage) -> anyhow::Result<()> {
    process::set_up_allocator();
    process::check_capabilities()?;
    process::raise_file_limit()?;
    process::give_up_files();
    process::join_group();
    let loaded = ConfigurationFiles::load(config_path)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Threads beside the loop read and write files: they attach nothing.
        .on_thread_start(process::drop_capabilities)
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(run_loop(loaded, stage));
    // A name that is being looked up must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// Sets everything up in the order that leaves no gap, runs the loop, and leaves
/// everything on disk. Maps are full before anything is attached, and everything is attached before
/// the agent says that it is ready.
///
/// # Errors
/// The agent cannot start. What an earlier agent attached goes on filtering.
async fn run_loop(loaded: Loaded, stage: &mut Stage) -> anyhow::Result<()> {
    let Loaded { config, files, problems: files_problems, former } = loaded;
    status("loading");
    if let Some(problem) = files.degradation() {
        tracing::error!("{problem}");
    }
    if let Some(problem) = files.problem_on_disk() {
        tracing::error!("{problem}");
    }
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    for directory in [&config.agent.state_dir, &config.agent.run_dir] {
        make_directory(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    refuse_exposed("state_dir", &config.agent.state_dir)?;
    refuse_exposed("run_dir", &config.agent.run_dir)?;
    if !dbfw_datapath::has_perfmon() {
        tracing::warn!(
            "without CAP_PERFMON the kernel puts barriers against speculation into the programs, \
             if it takes them (before 6.18 many do not), and every packet takes two to four times \
             as long: add it to the unit's CapabilityBoundingSet="
        );
    }
    let (netlink, links) = watch_links().context("cannot open a netlink socket")?;
    let kernel = Kernel::open(&config.agent, netlink).await?;
    let state_dir = &config.agent.state_dir;
    let maps_live = !kernel.ids().is_empty();
    let (local, local_problem) = LocalSources::load(state_dir, &config.agent.run_dir, maps_live);
    let mut sync = SyncCounters::default();
    sync.set_databases(synced(&config).map(|database| &*database.name));
    let control_plane = ControlPlane::load(state_dir);
    let mut agent = Agent {
        files,
        trust: Trust::new(&config, local, Reading::now()),
        workers: Workers::new(&control_plane),
        control_plane,
        kernel,
        disk: Disk::new(),
        traffic: Traffic::new(load_refused(state_dir)),
        connection_watch: ConnectionWatch::default(),
        usage: Usage::load(state_dir),
        audit: AuditReader::default(),
        history: History::new(state_dir),
        sync,
        calls: OpenCalls::new(),
        openings: Openings::default(),
        readiness: Readiness::new(),
        started_at: Timestamp::now(),
        at_start: config.agent.clone(),
        must_converge: false,
        config,
    };
    if let Some(problem) = agent.trust.local().unreadable_problem() {
        tracing::error!("{problem}");
    }
    for problem in local_problem.into_iter().chain(files_problems) {
        agent.disk.add_problem(problem);
    }
    agent.traffic.follow_databases(&agent.config.databases, agent.trust.now());
    for (_, text) in agent.trust.without_database(&agent.config) {
        tracing::warn!("{text}");
    }
    let ended = restore(&mut agent);
    let left =
        Left { databases: agent.kernel.databases_held(), attached: agent.kernel.attached_before() };

    status("applying the policy");
    agent.follow_demand();
    agent.read_files().await;
    agent.reevaluate_all(None);
    let applied = agent.converge().map_err(|error| {
        anyhow!("the policy cannot be carried out: {error}. Nothing is attached or replaced")
    })?;
    agent.usage.begin(&agent.kernel, agent.trust.now());
    agent.kernel.follow_own_addresses().await;
    status("attaching");
    agent.kernel.attach(&agent.config.agent).await?;
    let protection = agent.protection();
    agent.readiness.follow(&protection);

    let (stop, stopped) = watch::channel(false);
    let (call_sender, calls) = mpsc::channel(QUEUE);
    let (scrape_sender, scrapes) = mpsc::channel(QUEUE);
    let control = serve_control(&mut agent, call_sender, stopped.clone());
    let metrics = serve_metrics(&mut agent, scrape_sender, stopped).await;
    process::drop_capabilities();
    *stage = Stage::Running;
    let generation = agent.kernel.generation();
    agent.history.record_action(generation, Kind::Started, "agent", crate::version());
    record_ended(&mut agent, &ended);
    record_former(&mut agent, former, &left, &applied.before);

    let result = agent.run(Inbox { links, calls, scrapes }).await;
    systemd::stopping();
    // Fails only if there is no server.
    let _ = stop.send(true);
    agent.finish_saves().await;
    for server in [control, metrics].into_iter().flatten() {
        let _ = tokio::time::timeout(Duration::from_secs(2), server).await;
    }
    match agent.kernel.check_outlives_agent() {
        Ok(()) => {
            tracing::info!("stopped; the filter goes on without the agent (dbfw detach ends it)");
        }
        Err(why) => tracing::error!("stopped; the ports are open: {why}"),
    }
    result
}

/// The state that an earlier agent left in the kernel.
struct Left {
    databases: Vec<DatabaseSlot>,
    attached: Attachments,
}

impl Left {
    /// A configuration with the databases that were in force, where the kernel has them.
    fn in_force(&self, config: &Config) -> Config {
        let with_slot = |slot: &DatabaseSlot| {
            let named = config.databases.iter().find(|database| database.name == slot.name);
            let database = named.or(config.databases.first())?.clone();
            let (name, mode, ports) = (slot.name.clone(), slot.mode, slot.ports.clone());
            // Without the backstop the maps say "every address" for "local".
            let destinations = match slot.destinations.is_every()
                && database.destinations.has_local()
                && !self.attached.has_backstop()
            {
                true => database.destinations.clone(),
                false => slot.destinations.clone(),
            };
            Some(DatabaseConfig { name, mode, ports, destinations, ..database })
        };
        let mut config = config.clone();
        if !self.databases.is_empty() {
            config.databases = self.databases.iter().filter_map(with_slot).collect();
        }
        config
    }
}

/// Writes to log and history what this start changed: only what is certain.
fn record_former(
    agent: &mut Agent,
    former: FormerConfiguration,
    left: &Left,
    policy_before: &Policy,
) {
    let by = if matches!(former, FormerConfiguration::Tried { .. }) { "trial" } else { "agent" };
    let changes_from = |agent: &Agent, before: &Config| {
        agent.kernel.changes(before, &left.attached, &agent.config)
    };
    let query_from =
        |agent: &Agent, before: &Config| CutOffQuery::of_change(agent, before, policy_before);
    let (changes, query) = match former {
        FormerConfiguration::Same => {
            let before = left.in_force(&agent.config);
            let changes = changes_from(agent, &before);
            let query = if changes.is_empty() { None } else { query_from(agent, &before) };
            (changes, query)
        }
        FormerConfiguration::Other(before) => {
            let before = left.in_force(&before);
            (changes_from(agent, &before), query_from(agent, &before))
        }
        FormerConfiguration::Unwritten { before, since } => {
            let told = format!(
                "the configuration that came in force at {since:.0} and could not be written to \
                 config.json is not in force any more"
            );
            tracing::warn!("{told}");
            reload::record(agent, Kind::ConfigChanged, by, &told);
            if !left.databases.is_empty() {
                let former = left.in_force(&agent.config);
                let changes = changes_from(agent, &former);
                reload::record_changes(agent, &changes, by);
            }
            // Some of the rest was changed then, and told.
            let before = match left.databases.is_empty() {
                true => before,
                false => Config { databases: agent.config.databases.clone(), ..before },
            };
            let changes = agent.kernel.changes(&before, &left.attached, &agent.config);
            let when = format!(
                "by this start, or by the configuration that came in force at {since:.0} and was \
                 not written"
            );
            return reload::record_unsure_changes(agent, &changes, by, &when);
        }
        FormerConfiguration::Tried { tried, is_certain } => {
            let query = tried.as_ref().and_then(|tried| query_from(agent, tried));
            let changes = tried.map(|tried| changes_from(agent, &tried)).unwrap_or_default();
            let why = if is_certain {
                "the agent was started, and nobody had kept it".to_owned()
            } else {
                unsure_end(&changes)
            };
            reload::record(agent, Kind::TrialEnded, by, &why);
            tracing::warn!(
                name: "trial_ended",
                "the configuration before the trial is in force again: {why}"
            );
            if is_certain { (changes, query) } else { (Vec::new(), None) }
        }
    };
    reload::record_changes(agent, &changes, by);
    if let Some(query) = query {
        tokio::task::spawn_blocking(move || query.run(&mut Reloaded::default()));
    }
}

/// The reason for the end of a trial that may never have begun, with what that changes.
fn unsure_end(changes: &[ConfigChange]) -> String {
    let mut why =
        "the agent ended when the trial began or was about to, and was started again".to_owned();
    if !changes.is_empty() {
        let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
        why.push_str(&format!("; if it had begun, this changed: {}", changes.join("; ")));
    }
    why
}

/// Refuses a directory in which somebody else can write: what is in it decides who may connect,
/// and root writes there.
fn refuse_exposed(key: &str, directory: &Path) -> anyhow::Result<()> {
    let shown = directory.display();
    let exposure = files::exposure(directory).with_context(|| format!("cannot read {shown}"))?;
    match exposure {
        None => Ok(()),
        Some(exposure) => anyhow::bail!(
            "{key} {shown} {exposure}, who could let anybody in by what is in it. Look at it \
             (ls -la {shown}), then: {}",
            exposure.fix(directory)
        ),
    }
}

/// Opens a netlink socket, and has changes of interfaces and addresses told to the loop.
fn watch_links() -> std::io::Result<(Handle, mpsc::Receiver<()>)> {
    let (connection, netlink, mut messages) = rtnetlink::new_multicast_connection(&[
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
    ])?;
    tokio::spawn(connection);
    let (sender, links) = mpsc::channel(1);
    tokio::spawn(async move {
        while messages.next().await.is_some() {
            // One waiting is enough: the loop looks at everything.
            let _ = sender.try_send(());
        }
    });
    Ok((netlink, links))
}

/// A source added by hand that ended while no agent ran, with the prefixes that the maps held for
/// it.
type EndedSource = (LocalSource, Vec<Prefix>);

/// Takes over what an earlier run enforced: from the snapshot, or else from the maps. Returns the
/// sources added by hand that ended and that no snapshot had.
fn restore(agent: &mut Agent) -> Vec<EndedSource> {
    let config = &agent.config;
    match Snapshot::load(&config.agent.state_dir) {
        Ok(snapshot) => {
            for database in config.databases.iter().filter(|database| database.provider.is_some()) {
                let list = snapshot.database(&database.name).and_then(|known| known.list.as_ref());
                if let Some(list) = list {
                    agent.sync.restore(&database.name, list.last_success);
                }
            }
            let ended = ended_unseen(agent, Some(&snapshot));
            agent.kernel.restore(&snapshot);
            agent.trust.restore(config, snapshot);
            return ended;
        }
        Err(ReadError::Missing(_)) => {}
        Err(error) => {
            let problem = error.set_aside();
            agent.disk.add_problem(format!("{problem}; providers' lists start from nothing"));
        }
    }
    agent.kernel.restore_held();
    for database in synced(config) {
        agent.trust.adopt(database, agent.kernel.held_by(&database.name));
    }
    ended_unseen(agent, None)
}

/// The sources added by hand that ended after the snapshot was written and are not in it: the run
/// that trusted them ended before it could write them. Without a snapshot those that the maps hold.
fn ended_unseen(agent: &Agent, snapshot: Option<&Snapshot>) -> Vec<EndedSource> {
    let now = agent.trust.now();
    let is_new = |local: &&LocalSource| {
        let Some(end) = local.source.expires_at.filter(|end| *end <= now) else { return false };
        let Some(snapshot) = snapshot else { return true };
        let known = snapshot.database(&local.database);
        let mut rules = known.into_iter().flat_map(|database| &database.rules);
        end > snapshot.written_at
            && !rules.any(|rule| {
                let source = rule.source().filter(|_| rule.origin == Origin::Local);
                source.is_some_and(|source| source.key().names_the_same(local.source.key()))
            })
    };
    let with_held = |local: &LocalSource| {
        let own = local.source.key().prefixes().map_or(&[][..], |prefixes| prefixes);
        let held: BTreeSet<Prefix> = agent.kernel.held_by(&local.database).into_iter().collect();
        let held: Vec<Prefix> =
            own.iter().filter(|prefix| held.contains(prefix)).copied().collect();
        (snapshot.is_some() || !held.is_empty()).then(|| (local.clone(), held))
    };
    agent.trust.local().all().iter().filter(is_new).filter_map(with_held).collect()
}

/// Records the end of sources that no policy of this run had.
fn record_ended(agent: &mut Agent, ended: &[EndedSource]) {
    for (local, held) in ended {
        let policy = agent.kernel.policy();
        let id = agent.kernel.ids().get(&local.database).copied().unwrap_or(0);
        let removed: Vec<Prefix> =
            held.iter().filter(|prefix| !lets_in(policy, id, prefix)).copied().collect();
        agent.history.record_expired(agent.kernel.generation(), local, &removed);
    }
}

fn serve_control(
    agent: &mut Agent,
    calls: mpsc::Sender<server::Call>,
    stopped: watch::Receiver<bool>,
) -> Option<JoinHandle<()>> {
    match listen::bind(&agent.config.agent.run_dir) {
        Ok(listener) => Some(tokio::spawn(server::serve(listener, calls, until_stopped(stopped)))),
        Err(error) => {
            let error = anyhow::Error::from(error);
            agent.disk.add_problem(format!("there is no control socket: {error:#}"));
            None
        }
    }
}

async fn serve_metrics(
    agent: &mut Agent,
    scrape: mpsc::Sender<oneshot::Sender<Scrape>>,
    stopped: watch::Receiver<bool>,
) -> Option<JoinHandle<()>> {
    let address = agent.config.agent.metrics_listen?;
    match TcpListener::bind(address).await {
        Ok(listener) => {
            let probe = Probe { scrape, health: agent.readiness.health() };
            Some(tokio::spawn(http::serve(listener, probe, until_stopped(stopped))))
        }
        Err(error) => {
            agent.disk.add_problem(format!("no metrics: cannot listen on {address}: {error}"));
            None
        }
    }
}

async fn until_stopped(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is the same.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
