//! Documents without the agent: from the pins and the last snapshot.

use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use dbfw_common::Family;
use dbfw_core::{
    answers::SourceReport,
    policy::{Policy, SlotTable},
    source::Rule,
};
use dbfw_datapath::{
    AttachedProgram, DatapathError, HookMode, Interface, KernelVersion, Layer, LocalRoutes,
    PinnedLink, Reader,
    hook::{Choice, HookContext},
    interfaces,
};
use dbfw_wire::control::{
    self as wire, AgentAbsence, BackstopStatus, DatabaseStatus, Enforced, Explanation,
    InterfaceMode, InterfaceStatus, ListState, Lookup, MapEntry, ProviderStatus, Sources, Status,
};

use anyhow::bail;
use jiff::Timestamp;

use super::{
    explain::{self, Ways},
    forwarding::is_routing_any,
    scrape::scrape,
    sources::sources,
    status::{self, View},
    trial::NextStart,
};
use crate::{
    config::AgentConfig,
    control::client::Unanswered,
    metrics::{self, Format, SyncCounters},
    protection::{Attachments, Coverage, Degradation, Failure, Judge, Protection, Unjudged},
    state::{
        audit,
        files::{self, ReadError},
        snapshot::Snapshot,
    },
    traffic::uses::SourceUses,
};

/// Sources that a problem names of those that have expired.
const MAX_NAMED: usize = 3;

/// The pins and the last snapshot.
struct Offline {
    reader: Reader,
    policy: Policy,
    slots: SlotTable,
    snapshot: Result<Snapshot, ReadError>,
}

impl Offline {
    fn open(agent: &AgentConfig) -> Result<Self, DatapathError> {
        let reader = Reader::open(&agent.pin_dir)?;
        let snapshot = Snapshot::load(&agent.state_dir);
        let policy = snapshot.as_ref().map(|s| Policy::build(s.policies())).unwrap_or_default();
        let slots = snapshot.as_ref().map(|s| s.slots.clone()).unwrap_or_default();
        Ok(Self { reader, policy, slots, snapshot })
    }

    fn view(&self) -> View<'_> {
        // Which program an interface has can only be seen by who may open its link.
        let mode = self
            .reader
            .links()
            .ok()
            .and_then(|links| links.iter().find_map(|link| link.mode))
            .unwrap_or(HookMode::Native);
        View {
            reader: &self.reader,
            policy: &self.policy,
            slots: &self.slots,
            program: mode.program(Layer::Ethernet),
            held: None,
            sizes: None,
        }
    }

    /// Fills in the number of prefixes of each database by the maps alone.
    fn count_prefixes(&self, databases: &mut [DatabaseStatus]) -> Result<(), DatapathError> {
        let slots = self.reader.databases()?;
        self.reader.for_each_entry(|_, prefix, entry| {
            let mask = entry.mask();
            for slot in slots.iter().filter(|slot| mask >> (slot.id - 1) & 1 != 0) {
                let database = databases.iter_mut().find(|database| database.name == slot.name);
                match (database, prefix.family()) {
                    (Some(database), Family::V4) => database.prefixes_ipv4 += 1,
                    (Some(database), Family::V6) => database.prefixes_ipv6 += 1,
                    (None, _) => {}
                }
            }
            Ok::<(), DatapathError>(())
        })
    }

    /// The databases in the maps, with the lists that the snapshot knows.
    fn databases(&self, unanswered: Unanswered) -> Result<Vec<DatabaseStatus>, DatapathError> {
        let mut databases = status::databases(&self.view())?;
        if self.snapshot.is_err() {
            self.count_prefixes(&mut databases)?;
        }
        for database in &mut databases {
            database.provider = self.snapshot.as_ref().ok().and_then(|snapshot| {
                let list = snapshot.database(&database.name)?.list.as_ref()?;
                Some(ProviderStatus {
                    name: list.provider.clone(),
                    state: ListState::Stale,
                    last_success: Some(list.last_success),
                    age_seconds: Some(status::age_seconds(list.last_success, Timestamp::now())),
                    error: Some(unanswered.to_string()),
                })
            });
        }
        Ok(databases)
    }
}

/// Attached programs, and the protection that follows.
struct Attached {
    interfaces: Vec<InterfaceStatus>,
    backstop: Option<BackstopStatus>,
    /// Interfaces by which packets come in unjudged.
    unjudged: Vec<Unjudged>,
    /// Interfaces from where packets are passed on unjudged.
    passed_on: Vec<String>,
    /// The protection, or why it is not known.
    protection: Result<Protection, String>,
}

impl Attached {
    /// Nothing that this process could see.
    fn unknown(why: impl Into<String>) -> Self {
        Self {
            interfaces: Vec::new(),
            backstop: None,
            unjudged: Vec::new(),
            passed_on: Vec::new(),
            protection: Err(why.into()),
        }
    }
}

/// The problem of whoever may not look.
const ONLY_ROOT: &str =
    "without the agent only root can see what is attached; whatever is, goes on filtering";

/// Holds the pinned links against the configuration and the interfaces that are here.
fn attached(agent: &AgentConfig, reader: &Reader) -> anyhow::Result<Attached> {
    let links = match reader.links() {
        Ok(links) => links,
        Err(error) if error.is_denied() => return Ok(Attached::unknown(ONLY_ROOT)),
        Err(error) => return Err(error.into()),
    };
    let here = interfaces::list_now()?;
    let coverage = Coverage::of(&here, agent);
    let mut interfaces: Vec<InterfaceStatus> = links
        .iter()
        .filter(|link| link.mode.is_some())
        .map(|link| interface_status(link, &here))
        .collect();
    let name_of =
        |index: u32| here.iter().find(|one| one.index == index).map(|one| one.name.clone());
    let exempt: Vec<String> = reader.exempt()?.into_iter().filter_map(name_of).collect();
    let backstop = links.iter().find(|link| link.mode.is_none());
    let backstop = backstop.map(|link| BackstopStatus { exempt, ..backstop_status(link) });
    let backstop_holds = backstop.as_ref().is_some_and(|backstop| backstop.healthy);

    let mut failures = Vec::new();
    if interfaces.is_empty() && !backstop_holds {
        failures.push(Failure::NothingAttached);
    }
    failures.extend(interfaces.iter().filter_map(|interface| {
        let reason = interface.detail.clone()?;
        Some(Failure::Attachment { interface: interface.name.clone(), reason })
    }));
    let mut covered = here.iter().filter(|interface| coverage.covers(interface.index)).peekable();
    if covered.peek().is_none() && interfaces.is_empty() {
        failures.extend(coverage.nothing_covered(&agent.interfaces, backstop_holds));
    }
    let site = HookContext {
        present: &here,
        covers: &|index| coverage.covers(index),
        attach: agent.attach,
        has_tcx: dbfw_datapath::has_tcx(),
        kernel: KernelVersion::running(),
    };
    for interface in covered {
        if links.iter().any(|link| link.ifindex == Some(interface.index)) {
            continue;
        }
        if Choice::of(interface, None, &site) == Choice::Below {
            interfaces.push(status::filtered_below(interface));
        } else {
            let (interface, reason) = (interface.name.clone(), "nothing is attached".to_owned());
            failures.push(Failure::Attachment { interface, reason });
        }
    }
    let of = |link: &PinnedLink| here.iter().find(|here| link.ifindex == Some(here.index));
    let preceded = links.iter().filter(|link| link.preceded).map(|link| {
        let interface = of(link).map_or_else(|| link.pin.clone(), |found| found.name.clone());
        Degradation::ForeignBefore { interface }
    });
    let native = links.iter().filter(|link| link.mode == Some(HookMode::Native));
    let overlong = native.filter_map(of).filter_map(Degradation::of_native_mtu);
    let mut degradations: Vec<Degradation> = preceded.chain(overlong).collect();
    degradations.extend_from_slice(coverage.degradations());
    if agent.backstop && !backstop_holds {
        failures.push(Failure::Backstop("the backstop is not attached".to_owned()));
    }
    if reader.databases()?.is_empty() {
        failures.push(Failure::NoDatabase);
    }
    let held = attachments(reader, &links, &here)?;
    failures.extend(former_addresses(reader, &held, &here)?);
    interfaces.extend(coverage.degradations().iter().filter_map(status::unfiltered));
    Ok(Attached {
        interfaces,
        backstop,
        unjudged: coverage.unjudged(&held),
        passed_on: if is_routing_any() { held.without_program(&here) } else { Vec::new() },
        protection: Ok(Protection::of(failures, degradations)),
    })
}

/// The failure by addresses that were this host's when an agent last looked, and that somebody else
/// may have by now.
fn former_addresses(
    reader: &Reader,
    held: &Attachments,
    here: &[Interface],
) -> anyhow::Result<Option<Failure>> {
    let by_backstop = held.ways_in(here).filter(|(_, judge)| *judge == Judge::Backstop);
    let interfaces: Vec<String> = by_backstop.map(|(way, _)| way.name.clone()).collect();
    if interfaces.is_empty() {
        return Ok(None);
    }
    let local = LocalRoutes::read_now()?;
    let former = reader.own()?.into_iter().filter(|own| !local.contains(own));
    let addresses: Vec<String> = former.map(|own| own.to_string()).collect();
    Ok((!addresses.is_empty()).then_some(Failure::FormerAddresses { addresses, interfaces }))
}

/// The attachments where nothing is pinned: none, unless by pins that are elsewhere.
fn attached_without_pins(agent: &AgentConfig) -> Attached {
    match attached_elsewhere(agent) {
        Ok(None) => Attached {
            interfaces: Vec::new(),
            backstop: None,
            unjudged: Vec::new(),
            passed_on: Vec::new(),
            protection: Ok(Protection::of(vec![Failure::NothingAttached], Vec::new())),
        },
        Ok(Some(elsewhere)) => Attached::unknown(elsewhere.to_string()),
        Err(_) => Attached::unknown(ONLY_ROOT),
    }
}

/// Programs of dbfw that filter here and are not pinned where the configuration says.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} filtered by a program of dbfw that is not pinned below {}: the agent that attached it has \
     another pin_dir or another BPF file system; name its configuration with --config, and look \
     with bpftool prog show id {program}",
    places.join(", "),
    pin_dir.display()
)]
pub struct AttachedElsewhere {
    places: Vec<String>,
    pin_dir: PathBuf,
    program: u32,
}

/// The programs of dbfw that are attached in this network namespace, for callers that found no
/// pins.
///
/// # Errors
///
/// The kernel does not tell; only root may ask.
pub fn attached_elsewhere(agent: &AgentConfig) -> io::Result<Option<AttachedElsewhere>> {
    let attached = dbfw_datapath::attached_programs(&interfaces::list_now()?)?;
    let Some(first) = attached.first() else { return Ok(None) };
    let place = |program: &AttachedProgram| {
        program.interface.clone().unwrap_or_else(|| "new connections".to_owned())
    };
    let mut places: Vec<String> = attached.iter().map(place).collect();
    places.dedup();
    if let Some(last) = places.last_mut() {
        let verb = if attached.len() == 1 && first.interface.is_some() { "is" } else { "are" };
        *last = format!("{last} {verb}");
    }
    Ok(Some(AttachedElsewhere { places, pin_dir: agent.pin_dir.clone(), program: first.id }))
}

/// `dbfw status`, when there is no answer on `socket`.
///
/// # Errors
///
/// The pins cannot be read, or the interfaces cannot be listed.
pub fn status(
    agent: &AgentConfig,
    socket: &Path,
    unanswered: Unanswered,
) -> anyhow::Result<Status> {
    let offline = match Offline::open(agent) {
        Ok(offline) => Some(offline),
        // Nothing was ever attached, or a reboot took it: that is an answer.
        Err(DatapathError::Pin { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    let attached = match &offline {
        Some(offline) => attached(agent, &offline.reader)?,
        None => attached_without_pins(agent),
    };
    let Attached { interfaces, backstop, unjudged, passed_on, protection } = attached;
    let state = protection.as_ref().map(Protection::state).unwrap_or_default();
    let mut problems = match protection {
        Ok(protection) => protection.problems(),
        Err(unknown) => vec![unknown],
    };
    let pid = dbfw_datapath::lock_holder(&agent.pin_dir);
    let runs = unanswered != Unanswered::NoAgent || pid.is_some();
    let next_start = NextStart::of(&agent.state_dir, runs);
    let goes_back = next_start.as_ref().is_some_and(|next| next.goes_back);
    problems.extend(next_start.map(|next| next.problem));
    problems.push(match state {
        // Nor is it known where its agent would be.
        wire::Protection::Unknown if offline.is_none() => {
            format!("no agent answers on {}", socket.display())
        }
        _ => no_answer(socket, unanswered, pid, goes_back),
    });
    let mut databases = Vec::new();
    if let Some(offline) = &offline {
        problems.extend(offline.snapshot.as_ref().err().map(ToString::to_string));
        databases = offline.databases(unanswered)?;
        problems.extend(status::add_openings(&mut databases, &offline.policy, &unjudged));
        problems.extend(overdue(&offline.policy, Timestamp::now()));
    }
    let enforced = Enforced::of(&databases);
    Ok(Status {
        version: crate::version().to_owned(),
        protected: state == wire::Protection::Yes && enforced == Enforced::Yes,
        protection: state,
        enforced,
        problems,
        agent: None,
        agent_absence: Some(match (unanswered, pid) {
            (Unanswered::NoAgent, None) => AgentAbsence::NotRunning,
            (Unanswered::NoAgent, Some(_)) => AgentAbsence::NotListening,
            (Unanswered::Silent, _) => AgentAbsence::Silent,
            (Unanswered::Busy, _) => AgentAbsence::Busy,
        }),
        interfaces,
        backstop,
        passed_on_unjudged: passed_on,
        databases,
        accounts: Vec::new(),
    })
}

/// The sources that have expired and that no agent took out, in words, by database.
fn overdue(policy: &Policy, now: Timestamp) -> impl Iterator<Item = String> {
    let is_over = move |rule: &&Rule| rule.kind.expires_at().is_some_and(|at| at <= now);
    policy.databases().iter().filter_map(move |database| {
        let over = database.rules.iter().filter(is_over).map(|rule| rule.kind.to_string());
        let over: Vec<String> = over.collect();
        let named = over.iter().take(MAX_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = match over.len().saturating_sub(MAX_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let have = if over.len() == 1 { "has expired and stays" } else { "have expired and stay" };
        (!over.is_empty())
            .then(|| format!("{}: {named}{more} {have} trusted until an agent runs", database.name))
    })
}

/// Whether anything that an agent attached is attached still; `None`: this process may not
/// know.
pub fn is_filtering(agent: &AgentConfig) -> Option<bool> {
    match Reader::open(&agent.pin_dir).and_then(|reader| reader.links()) {
        Ok(links) => Some(links.iter().any(|link| link.ours && link.ifindex != Some(0))),
        Err(error) if error.is_denied() => None,
        Err(_) => attached_elsewhere(agent).ok().map(|found| found.is_some()),
    }
}

/// That there is no answer, and whether an agent runs all the same: `pid` holds the lock of the
/// pins, which is seen by everybody. A start is advised unless it `goes_back` behind a trial.
fn no_answer(socket: &Path, unanswered: Unanswered, pid: Option<u32>, goes_back: bool) -> String {
    let socket = socket.display();
    match pid {
        _ if unanswered != Unanswered::NoAgent => {
            format!("{unanswered} on {socket}; this was read from the pins")
        }
        Some(pid) => {
            format!(
                "no agent answers on {socket}, but one runs (pid {pid}): it may be starting, or \
                 have another socket (run_dir, --socket)"
            )
        }
        None => {
            let advice = if goes_back { "" } else { " (systemctl start dbfw)" };
            format!("no agent answers on {socket}: the list is not kept up to date{advice}")
        }
    }
}

/// Reads every entry of the pinned maps.
///
/// # Errors
///
/// The pins cannot be read, or the error of `visit`.
pub fn map_dump(
    agent: &AgentConfig,
    visit: &mut dyn FnMut(MapEntry) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let reader = Reader::open(&agent.pin_dir)?;
    let databases = reader.databases()?;
    reader.for_each_entry(|map, prefix, entry| {
        visit(status::map_entry(map, prefix, entry, &databases))
    })
}

/// Looks an address up in the pinned maps.
///
/// # Errors
///
/// The pins cannot be read.
pub fn map_lookup(agent: &AgentConfig, address: IpAddr) -> anyhow::Result<Lookup> {
    let offline = Offline::open(agent)?;
    Ok(explain::lookup(&offline.view(), address)?)
}

/// The databases, and every trusted source as it was last in force, from the pins and the snapshot.
///
/// # Errors
///
/// The pins cannot be read, or there is no snapshot.
pub fn trusted(
    agent: &AgentConfig,
    unanswered: Unanswered,
) -> anyhow::Result<(Vec<DatabaseStatus>, Sources)> {
    let offline = Offline::open(agent)?;
    let uses = SourceUses::default();
    if let Err(error) = &offline.snapshot {
        bail!("the sources of the prefixes in the maps are not known: {error}");
    }
    let databases = offline.databases(unanswered)?;
    let sources = sources(&offline.view(), &|_, _| SourceReport::default(), &uses)?;
    Ok((databases, sources))
}

/// Explains the decision about packets, from the pinned maps and the snapshot.
///
/// # Errors
///
/// The pins cannot be read, or the program cannot be run.
pub fn explain(agent: &AgentConfig, asked: &explain::Asked) -> anyhow::Result<Vec<Explanation>> {
    let offline = Offline::open(agent)?;
    // Without it the kernel's counters are all there is.
    let uses = files::read(agent.state_dir.join(SourceUses::FILE), SourceUses::from_json);
    let uses = uses.unwrap_or_default();
    let ways = ways(&offline.reader);
    explain::explain(&offline.view(), &uses, ways.as_ref(), asked).map_err(|error| {
        if error.is_denied() {
            let message = "only root may run the loaded program without the agent: sudo dbfw \
                           explain, or start the agent";
            return io::Error::new(io::ErrorKind::PermissionDenied, message).into();
        }
        error.into()
    })
}

/// Ways into this host; `None`: this process may not know.
fn ways(reader: &Reader) -> Option<Ways> {
    let here = interfaces::list_now().ok()?;
    let ways = Ways::of(&attachments(reader, &reader.links().ok()?, &here).ok()?, &here);
    Some(match LocalRoutes::read_now() {
        Ok(local) => ways.at(local),
        Err(_) => ways,
    })
}

/// The attachments behind the pinned links, of those that hold.
///
/// # Errors
///
/// The map of the exempt interfaces cannot be read.
pub fn attachments(
    reader: &Reader,
    links: &[PinnedLink],
    here: &[Interface],
) -> Result<Attachments, DatapathError> {
    let rows = links.iter().filter(|link| link.mode.is_some());
    let hooks = rows.map(|link| interface_status(link, here)).filter(|row| row.healthy);
    let backstop = links.iter().find(|link| link.mode.is_none()).map(backstop_status);
    let has_backstop = backstop.is_some_and(|backstop| backstop.healthy);
    Ok(Attachments::new(hooks.map(|row| row.ifindex), has_backstop, reader.exempt()?))
}

/// Renders the metrics from the pinned maps and the snapshot.
///
/// # Errors
///
/// The pins cannot be read.
pub fn metrics(agent: &AgentConfig) -> anyhow::Result<String> {
    let offline = Offline::open(agent)?;
    // Who may not open the links still sees the maps.
    let Attached { interfaces, protection, .. } = attached(agent, &offline.reader)
        .unwrap_or_else(|error| Attached::unknown(error.to_string()));
    let (mut scrape, read) = scrape(&offline.view(), interfaces, SyncCounters::default(), true);
    if let Err(error) = read {
        tracing::error!(%error, "the counters cannot be read");
    }
    scrape.protection = protection.as_ref().map(Protection::state).unwrap_or_default();
    match audit::load(&agent.state_dir) {
        Ok(saved) => scrape.audit = Some(Arc::new(saved)),
        Err(ReadError::Missing(_)) => {}
        Err(error) => {
            scrape.audit_errors = 1;
            tracing::warn!("{error}");
        }
    }
    Ok(metrics::render(scrape, Format::Prometheus))
}

fn interface_status(link: &PinnedLink, here: &[Interface]) -> InterfaceStatus {
    let ifindex = link.ifindex.unwrap_or(0);
    let interface = here.iter().find(|interface| interface.index == ifindex);
    let is_xdp = matches!(link.mode, Some(HookMode::Native | HookMode::Generic));
    let detail = match interface {
        _ if ifindex == 0 => Some("no longer attached".to_owned()),
        _ if !link.ours => Some(format!("program {} is attached, which is not ours", link.program)),
        None => Some("the interface it is attached to is not here".to_owned()),
        Some(interface) if is_xdp && interface.xdp_program != Some(link.program) => {
            Some("another interface has its index now".to_owned())
        }
        Some(_) => None,
    };
    InterfaceStatus {
        name: interface.map_or_else(|| link.pin.clone(), |interface| interface.name.clone()),
        ifindex,
        mode: link.mode.map_or(InterfaceMode::None, status::interface_mode),
        healthy: detail.is_none(),
        detail,
    }
}

fn backstop_status(link: &PinnedLink) -> BackstopStatus {
    let detail = match (link.ifindex, link.ours) {
        (Some(_), _) => Some("it is not attached to this network namespace".to_owned()),
        (None, false) => Some("its program is not ours".to_owned()),
        (None, true) => None,
    };
    BackstopStatus { healthy: detail.is_none(), exempt: Vec::new(), detail }
}
