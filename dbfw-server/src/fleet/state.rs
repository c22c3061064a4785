//! [`State`]: everything that is known of the fleet.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use dbfw_metrics::Durations;
use dbfw_wire::agent::{Hits, HostAudit, HostFinding, HostProblem, MAX_FINDINGS, Report};
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::{
    at_host::{AtHost, Delays},
    hello::Wanted,
    published::Published,
    text::clean,
};
use crate::model::{Database, Host, Name};

/// Problems of a host that are shown.
const MAX_PROBLEMS: usize = 50;
/// Characters of a problem.
const MAX_PROBLEM: usize = 500;
/// Upper bounds in seconds of the times from a commit to a host's report.
const PROPAGATION: [f64; 11] = [0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0];
/// Characters of a word of an audit.
const MAX_WORD: usize = 16;
/// Streams of one host: while one dies unnoticed, another is there already.
const STREAMS: usize = 4;

/// Everything that is known of the fleet.
#[derive(Debug, Default)]
pub(super) struct State {
    databases: HashMap<Uuid, Topic>,
    names: HashMap<Name, Uuid>,
    hosts: HashMap<Uuid, Joined>,
    /// The number that the next stream gets.
    next: u64,
    /// The times that hosts took from a commit to their report of it.
    propagation: Propagation,
}

/// The times that hosts took from a commit to their report of it, since the server started.
#[derive(Debug)]
struct Propagation(Durations);

impl Default for Propagation {
    fn default() -> Self {
        Self(Durations::new(&PROPAGATION))
    }
}

/// A database, and the newest of its list.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) database: Database,
    newest: watch::Sender<Option<Arc<Published>>>,
    /// Counts up when a host that may have the list says or does something.
    progress: watch::Sender<u64>,
    /// Counts up when a host names other sources that it refuses.
    refusals: u64,
    /// The times that hosts took for the newest.
    pub(super) delays: Delays,
}

/// The number of times that something was heard about a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// That a host said or did something.
    pub hosts: u64,
    /// That a host named other sources that it refuses.
    pub refused: u64,
}

/// A host that joined, and what is known of it now.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) host: Host,
    streams: BTreeMap<u64, Connected>,
    /// The last time that something was heard of it since the server started.
    pub(super) last_heard: Option<Timestamp>,
    /// The name that it gives itself.
    pub(super) hostname: String,
    /// The agent's version.
    pub(super) version: String,
    /// The agent's start that reports count of.
    boot: Option<Uuid>,
    pub(super) protection: Option<String>,
    pub(super) problems: Vec<HostProblem>,
    pub(super) audit: Option<HostAudit>,
    pub(super) databases: BTreeMap<Uuid, AtHost>,
}

/// An open stream of a host.
#[derive(Debug)]
struct Connected {
    boot: Uuid,
    since: Instant,
    databases: BTreeSet<Uuid>,
    end: Arc<Notify>,
}

/// A list that a stream follows.
pub(super) type Follow = watch::Receiver<Option<Arc<Published>>>;

impl Topic {
    /// The news that a host said or did something.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.progress.subscribe()
    }

    fn progress(&self) {
        self.progress.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(super) fn published(&self) -> Option<Arc<Published>> {
        self.newest.borrow().clone()
    }
}

impl Joined {
    fn new(host: Host) -> Self {
        Self {
            host,
            streams: BTreeMap::new(),
            last_heard: None,
            hostname: String::new(),
            version: String::new(),
            boot: None,
            protection: None,
            problems: Vec::new(),
            audit: None,
            databases: BTreeMap::new(),
        }
    }

    /// Whether a stream of the host follows a database's list.
    pub(super) fn follows(&self, database: Uuid) -> bool {
        self.streams.values().any(|stream| stream.databases.contains(&database))
    }

    /// Whether the host has a stream.
    pub(super) fn is_connected(&self) -> bool {
        !self.streams.is_empty()
    }

    /// Whether two starts of an agent use the host's token at once.
    pub(super) fn is_used_twice(&self) -> bool {
        let mut boots = self.streams.values().map(|stream| stream.boot);
        let first = boots.next();
        boots.any(|boot| Some(boot) != first)
    }
}

impl State {
    /// Takes a database, which may be new. Returns whether it is.
    pub(super) fn put_database(&mut self, database: Database) -> bool {
        let id = database.id;
        if let Some(topic) = self.databases.get_mut(&id) {
            // One that was removed and added again may have another name.
            self.names.retain(|_, named| *named != id);
            self.names.insert(database.name.clone(), id);
            topic.database = database;
            return false;
        }
        self.names.insert(database.name.clone(), id);
        let topic = Topic {
            database,
            newest: watch::Sender::default(),
            progress: watch::Sender::default(),
            refusals: 0,
            delays: Delays::default(),
        };
        self.databases.insert(id, topic);
        true
    }

    /// Forgets a database. Returns whether it was there.
    pub(super) fn remove_database(&mut self, id: Uuid) -> bool {
        if self.databases.remove(&id).is_none() {
            return false;
        }
        self.names.retain(|_, named| *named != id);
        for joined in self.hosts.values_mut() {
            joined.databases.remove(&id);
            for stream in joined.streams.values_mut() {
                stream.databases.remove(&id);
            }
        }
        true
    }

    /// The database of a list, and the list so far.
    pub(super) fn before(&self, id: Uuid) -> Option<(Database, Option<Arc<Published>>)> {
        let topic = self.databases.get(&id)?;
        Some((topic.database.clone(), topic.published()))
    }

    /// Takes a list in the place of the one before.
    pub(super) fn publish(&mut self, id: Uuid, new: Published) {
        let Some(topic) = self.databases.get_mut(&id) else { return };
        topic.delays.clear();
        // What was counted of sources that are gone is gone.
        let sources: BTreeSet<Uuid> = new.bundle.sources.iter().map(|source| source.uuid).collect();
        topic.newest.send_replace(Some(Arc::new(new)));
        topic.progress();
        for joined in self.hosts.values_mut() {
            if let Some(at) = joined.databases.get_mut(&id) {
                at.hits.retain(|source, _| sources.contains(source));
            }
        }
    }

    /// Takes a host, which may be new. Returns whether it is.
    pub(super) fn put_host(&mut self, host: Host) -> bool {
        if let Some(joined) = self.hosts.get_mut(&host.id) {
            joined.host = host;
            return false;
        }
        self.hosts.insert(host.id, Joined::new(host));
        true
    }

    /// Forgets a host, and ends its streams. Returns whether it was there.
    pub(super) fn remove_host(&mut self, id: Uuid) -> bool {
        let Some(joined) = self.hosts.remove(&id) else { return false };
        for stream in joined.streams.values() {
            stream.end.notify_one();
        }
        for database in &joined.host.databases {
            self.progress(*database);
        }
        true
    }

    /// Every database and host that is known, by their ids.
    pub(super) fn known(&self) -> (Vec<Uuid>, Vec<Uuid>) {
        (self.databases.keys().copied().collect(), self.hosts.keys().copied().collect())
    }

    /// Enters a stream of a host; its number. `None` if the host is not there.
    pub(super) fn connect(
        &mut self,
        host: Uuid,
        wanted: &Wanted,
        end: Arc<Notify>,
        now: (Timestamp, Instant),
    ) -> Option<u64> {
        let joined = self.hosts.get_mut(&host)?;
        let number = self.next;
        self.next += 1;
        if joined.boot != Some(wanted.boot) {
            // Another start of the agent: what it enforces is what it is going to report.
            joined.boot = Some(wanted.boot);
            joined.databases.clear();
        }
        for stream in joined.streams.values().filter(|stream| stream.boot == wanted.boot) {
            stream.end.notify_one();
        }
        joined.streams.retain(|_, stream| stream.boot != wanted.boot);
        while joined.streams.len() >= STREAMS
            && let Some((_, oldest)) = joined.streams.pop_first()
        {
            oldest.end.notify_one();
        }
        joined.last_heard = Some(now.0);
        joined.hostname.clone_from(&wanted.hostname);
        joined.version.clone_from(&wanted.version);
        let databases = BTreeSet::new();
        let stream = Connected { boot: wanted.boot, since: now.1, databases, end };
        joined.streams.insert(number, stream);
        if joined.is_used_twice() {
            tracing::error!(
                host = joined.host.name,
                id = %host,
                "two agents use the token of one host: if the host was not restarted just now, \
                 remove it with `dbfw-server hosts rm`, and let it join again"
            );
        }
        Some(number)
    }

    /// The list that a host's stream follows by a name or an id, if the host may read it.
    pub(super) fn follow(
        &mut self,
        host: Uuid,
        stream: u64,
        named: &str,
        ports_and_mode: (&[String], &str),
    ) -> Option<(Uuid, Follow)> {
        let id = named.parse::<Uuid>().ok();
        let id = id.or_else(|| self.names.get(&named.parse::<Name>().ok()?).copied())?;
        let topic = self.databases.get(&id)?;
        let joined = self.hosts.get_mut(&host)?;
        if !joined.host.databases.contains(&id) {
            return None;
        }
        joined.streams.get_mut(&stream)?.databases.insert(id);
        let at = joined.databases.entry(id).or_default();
        at.ports = ports_and_mode.0.to_vec();
        ports_and_mode.1.clone_into(&mut at.mode);
        topic.progress();
        Some((id, topic.newest.subscribe()))
    }

    /// Whether a host has a stream.
    pub(super) fn is_connected(&self, host: Uuid) -> bool {
        self.hosts.get(&host).is_some_and(Joined::is_connected)
    }

    /// Whether a host is there.
    pub(super) fn has_host(&self, id: Uuid) -> bool {
        self.hosts.contains_key(&id)
    }

    /// Whether a database is there that a host may read.
    pub(super) fn may_read(&self, host: Uuid, database: Uuid) -> bool {
        self.databases.contains_key(&database)
            && self.hosts.get(&host).is_some_and(|it| it.host.databases.contains(&database))
    }

    /// Forgets a stream that ended.
    pub(super) fn disconnect(&mut self, host: Uuid, number: u64, now: Timestamp) {
        let Some(joined) = self.hosts.get_mut(&host) else { return };
        joined.last_heard = Some(now);
        let ended = joined.streams.remove(&number);
        let databases = ended.map(|stream| stream.databases).unwrap_or_default();
        for database in databases {
            self.progress(database);
        }
    }

    /// Takes what a host says of itself.
    pub(super) fn report(&mut self, report: Report, now: Timestamp, at: Instant) {
        let Some(joined) = self.hosts.get_mut(&report.host) else { return };
        // One of an earlier start of the agent, or of another with the same token.
        if joined.boot.is_some_and(|boot| boot != report.boot) {
            return;
        }
        joined.boot = Some(report.boot);
        joined.last_heard = Some(now);
        if let Some(protection) = report.protection {
            let known = ["yes", "degraded", "no"];
            let word = known.into_iter().find(|word| *word == protection).unwrap_or("unknown");
            joined.protection = Some(word.to_owned());
        }
        if let Some(problems) = report.problems {
            let problem = |problem: HostProblem| HostProblem {
                subject: clean(&problem.subject, MAX_PROBLEM),
                text: clean(&problem.text, MAX_PROBLEM),
            };
            joined.problems = problems.into_iter().take(MAX_PROBLEMS).map(problem).collect();
        }
        if let Some(audit) = report.audit {
            joined.audit = Some(audited(audit, &joined.host));
        }
        for applied in report.applied {
            let id = applied.database;
            let Some(topic) = self.databases.get_mut(&id) else { continue };
            if !joined.host.databases.contains(&id) {
                continue;
            }
            let known = joined.databases.entry(id).or_default();
            let newest = topic.published();
            if let Some(newest) = newest.filter(|newest| {
                let is_new = known.applied.as_ref().is_none_or(|(before, _)| {
                    before.epoch != applied.epoch || before.revision < newest.bundle.revision
                });
                let had = |stream: &Connected| stream.since <= newest.committed;
                applied.epoch == newest.bundle.epoch
                    && applied.revision >= newest.bundle.revision
                    && is_new
                    && joined.streams.values().any(had)
            }) {
                topic.delays.add(newest.committed, at);
                self.propagation.0.observe(at.saturating_duration_since(newest.committed));
            }
            known.apply(applied, now);
            topic.progress();
        }
        let mut refused: BTreeMap<Uuid, Vec<_>> = BTreeMap::new();
        for source in report.refused {
            refused.entry(source.database).or_default().push(source);
        }
        for (id, sources) in refused {
            let topic = self.databases.get_mut(&id);
            let Some(topic) = topic.filter(|_| joined.host.databases.contains(&id)) else {
                continue;
            };
            joined.databases.entry(id).or_default().refuse(sources);
            topic.refusals = topic.refusals.wrapping_add(1);
        }
        let mut used: BTreeMap<Uuid, Vec<&Hits>> = BTreeMap::new();
        for hits in &report.hits {
            used.entry(hits.database).or_default().push(hits);
        }
        for (id, hits) in used {
            let published = self.databases.get(&id).and_then(Topic::published);
            let Some(published) = published.filter(|_| joined.host.databases.contains(&id)) else {
                continue;
            };
            let listed = published.bundle.sources.iter().map(|source| source.uuid);
            let listed: BTreeSet<Uuid> = listed.collect();
            let at = joined.databases.entry(id).or_default();
            hits.into_iter().filter(|hits| listed.contains(&hits.source)).for_each(|it| at.hit(it));
        }
    }

    fn progress(&self, database: Uuid) {
        if let Some(topic) = self.databases.get(&database) {
            topic.progress();
        }
    }

    /// A database.
    pub(super) fn topic(&self, database: Uuid) -> Option<&Topic> {
        self.databases.get(&database)
    }

    /// A host.
    pub(super) fn host(&self, id: Uuid) -> Option<&Joined> {
        self.hosts.get(&id)
    }

    /// Every host.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &Joined> {
        self.hosts.values()
    }

    /// The newest list of a database.
    pub(super) fn published(&self, database: Uuid) -> Option<Arc<Published>> {
        self.databases.get(&database).and_then(Topic::published)
    }

    /// The number of hosts that may read a database's list.
    pub(super) fn joined(&self, database: Uuid) -> usize {
        self.hosts.values().filter(|joined| joined.host.databases.contains(&database)).count()
    }

    /// Every database.
    pub(super) fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.databases.values()
    }

    /// The activity of hosts and strangers about each database.
    pub(super) fn activity(&self) -> BTreeMap<Uuid, Activity> {
        let of =
            |topic: &Topic| Activity { hosts: *topic.progress.borrow(), refused: topic.refusals };
        self.databases.iter().map(|(id, topic)| (*id, of(topic))).collect()
    }

    /// The times that hosts took from a commit to their report of it, since the server started.
    pub(super) fn propagation(&self) -> Durations {
        self.propagation.0.clone()
    }

    /// The number of open streams.
    pub(super) fn streams(&self) -> usize {
        self.hosts.values().map(|joined| joined.streams.len()).sum()
    }
}

/// An audit with texts that can be shown, of databases that the host may read.
fn audited(audit: HostAudit, host: &Host) -> HostAudit {
    let is_own = |finding: &HostFinding| {
        finding.database.is_none_or(|database| host.databases.contains(&database))
    };
    let more = audit.more || audit.findings.len() > MAX_FINDINGS;
    let own = audit.findings.into_iter().filter(is_own).take(MAX_FINDINGS);
    let findings = own.map(|finding| HostFinding {
        database: finding.database,
        check: clean(&finding.check, MAX_WORD),
        severity: clean(&finding.severity, MAX_WORD),
        subject: finding.subject.map(|subject| clean(&subject, MAX_PROBLEM)),
    });
    let (level, findings) = (clean(&audit.level, MAX_WORD), findings.collect());
    HostAudit { at: audit.at, level, findings, more }
}
