//! Documents of `dbfw status`, as the agent sends them and `--output json` prints them.

use dbfw_core::policy;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    drops::Mode,
    reload::{ConfigFileStatus, Trial},
};
use crate::words::words;

/// The state of the agent and of everything it protects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the program that answered.
    pub version: String,
    /// `protection` and `enforced` are both yes: no database lets strangers in.
    pub protected: bool,
    /// Whether what the configuration asks for is in force.
    pub protection: Protection,
    /// Whether the configuration keeps strangers out of the databases.
    #[serde(default)]
    pub enforced: Enforced,
    /// The problems in words, most serious first; empty when all is well.
    pub problems: Vec<String>,
    /// The running agent; absent when the answer was read from the pins.
    pub agent: Option<AgentStatus>,
    /// The reason why the answer was read from the pins; absent when an agent gave it.
    #[serde(default)]
    pub agent_absence: Option<AgentAbsence>,
    /// Covered interfaces; none where protection is unknown.
    pub interfaces: Vec<InterfaceStatus>,
    /// The sk_lookup program; absent when it is off, and where protection is unknown.
    pub backstop: Option<BackstopStatus>,
    /// Interfaces by which packets that this host passes on to another machine, such as to a container's
    /// own address, meet no program; none on a host that does not route.
    #[serde(default)]
    pub passed_on_unjudged: Vec<String>,
    /// Databases in the order of the configuration.
    pub databases: Vec<DatabaseStatus>,
    /// Services that are asked over the network for lists and sources.
    #[serde(default)]
    pub accounts: Vec<AccountStatus>,
}

words! {
    /// The protection of the host.
    #[derive(Default)]
    pub enum Protection {
        /// Complete, as read back from the kernel.
        Yes = "yes",
        /// All that can be filtered is; something that is configured cannot be had now, or
        /// somebody else has a hand in it.
        Degraded = "degraded",
        /// Something is not enforced as configured.
        No = "no",
        /// No agent answers, and the reader may not look at what is attached.
        #[default]
        Unknown = "unknown",
    }
}

words! {
    /// The reason why no agent answered.
    pub enum AgentAbsence {
        /// None runs.
        NotRunning = "not_running",
        /// One runs and does not listen on the socket: it may be starting, or have another socket.
        NotListening = "not_listening",
        /// It did not answer in time.
        Silent = "silent",
        /// Too many others were asking.
        Busy = "busy",
    }
}

words! {
    /// Whether the databases that the configuration names keep strangers out.
    #[derive(Default)]
    pub enum Enforced {
        /// All of them.
        Yes = "yes",
        /// Some of them.
        Partly = "partly",
        /// None of them, or there is none.
        #[default]
        No = "no",
    }
}

impl Enforced {
    /// Whether `databases` keep strangers out, as configured.
    pub fn of(databases: &[DatabaseStatus]) -> Self {
        let are_all = |state| databases.iter().all(|database| database.enforced == state);
        match (are_all(Self::No), are_all(Self::Yes)) {
            // Also where there is none.
            (true, _) => Self::No,
            (false, true) => Self::Yes,
            (false, false) => Self::Partly,
        }
    }
}

words! {
    /// The hook that an interface is filtered at.
    pub enum InterfaceMode {
        /// XDP in the driver.
        Native = "native",
        /// The traffic control ingress hook.
        Tcx = "tcx",
        /// XDP behind the driver.
        Generic = "generic",
        /// Nothing is attached.
        None = "none",
    }
}

words! {
    /// The state of a provider's list.
    pub enum ListState {
        /// The list is current.
        Ok = "ok",
        /// The last try failed, or the list is from the snapshot.
        Stale = "stale",
        /// A guard refuses the last list.
        Refused = "refused",
        /// There was no list yet.
        Never = "never",
    }
}

words! {
    /// The guard that refuses a change, by the setting it is about.
    pub enum Guard from policy::Guard {
        /// The list would lose too many prefixes.
        MaxShrink = "max_shrink",
        /// The list would be empty.
        OnEmpty = "on_empty",
        /// The list would let in everybody.
        AllowAny = "allow_any",
    }
}

/// The running agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// Process id.
    pub pid: u32,
    /// The time of its start.
    pub started_at: Timestamp,
    /// Protection was read back from the kernel within the last seconds.
    pub ready: bool,
    /// The operator detached the programs; `dbfw reload` attaches them again.
    pub detached: bool,
    /// Number of the policy in force; it grows with every change.
    pub generation: u64,
    /// Whether the configuration in force is what its files said when they were last read.
    pub config_ok: bool,
    /// The time since when the configuration in force is in force.
    #[serde(default)]
    pub config_since: Option<Timestamp>,
    /// The files of the configuration in force, the main file first.
    #[serde(default)]
    pub config_files: Vec<ConfigFileStatus>,
    /// The trial of the configuration in force; absent: it is in force for good.
    #[serde(default)]
    pub trial: Option<Trial>,
    /// Ids of the programs that it loaded, in ascending order.
    #[serde(default)]
    pub programs: Vec<u32>,
}

/// One covered interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Name.
    pub name: String,
    /// Its index; 0: it is gone.
    pub ifindex: u32,
    /// The hook.
    pub mode: InterfaceMode,
    /// Read back from the kernel: our program, with our maps.
    pub healthy: bool,
    /// The problem, if there is one.
    pub detail: Option<String>,
}

/// The backstop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackstopStatus {
    /// Read back from the kernel: our program, with our maps.
    pub healthy: bool,
    /// Interfaces it lets through.
    pub exempt: Vec<String>,
    /// The problem, if there is one.
    pub detail: Option<String>,
}

/// One database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatabaseStatus {
    /// Name.
    pub name: String,
    /// "tcp/5432", "tcp/6432-6440".
    pub ports: Vec<String>,
    /// The addresses it is bound to, as configured: "local", "192.0.2.5"; none: every one.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Treatment of packets from untrusted sources.
    pub mode: Mode,
    /// Whether the configuration keeps strangers out of it.
    #[serde(default)]
    pub enforced: Enforced,
    /// Ways in which the configuration itself lets strangers in, in words.
    #[serde(default)]
    pub openings: Vec<String>,
    /// Its ports that no socket of this host waits on and no NAT rule passes on. Absent: not looked at,
    /// or the database may be at another machine's address.
    #[serde(default)]
    pub unused_ports: Option<Vec<String>>,
    /// Trusted sources in force.
    pub sources: usize,
    /// IPv4 prefixes in force.
    pub prefixes_ipv4: u64,
    /// IPv6 prefixes in force.
    pub prefixes_ipv6: u64,
    /// Packets let in since the maps were made.
    pub allowed_packets: u64,
    /// Packets dropped since the maps were made.
    pub dropped_packets: u64,
    /// Packets that observe mode let through.
    pub observed_packets: u64,
    /// Drops a second over the last seconds; absent without an agent.
    pub drops_per_second: Option<f64>,
    /// The provider of its list, if it has one.
    pub provider: Option<ProviderStatus>,
    /// The change of its trusted sources that a guard refuses, if there is one.
    pub refused: Option<RefusedPlan>,
    /// Sources that could not be refreshed: what they last resolved to stays in force.
    #[serde(default)]
    pub stale_sources: usize,
    /// Sources that stand for no address, though they should.
    #[serde(default)]
    pub unresolved_sources: usize,
    /// Seconds since the source that waits longest for an answer had its last good one;
    /// absent: none was asked for.
    pub oldest_age_seconds: Option<u64>,
}

/// The provider of a database's list, and the state of that list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProviderStatus {
    /// "file:/etc/dbfw/orders.list".
    pub name: String,
    /// The state of the list.
    pub state: ListState,
    /// The time when the list in force was read.
    pub last_success: Option<Timestamp>,
    /// Seconds since then.
    pub age_seconds: Option<u64>,
    /// The reason why the last try failed or was refused, and what to do.
    pub error: Option<String>,
}

/// A change that a guard refuses. What it would change stays in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefusedPlan {
    /// Eight hexadecimal digits of its content; a confirmation names them.
    pub id: String,
    /// The guard that refuses it.
    pub guard: Guard,
    /// The reason, and what to do.
    pub message: String,
    /// The prefixes it would take away; the first 20.
    pub lost: Vec<String>,
    /// The number of all of them.
    pub lost_total: usize,
    /// The prefixes it would bring; the first 20.
    #[serde(default)]
    pub gained: Vec<String>,
    /// The number of all of them.
    #[serde(default)]
    pub gained_total: usize,
    /// The connections it would cut; the first 20.
    pub connections: Vec<LiveConnection>,
    /// The number of all of them.
    pub connections_total: usize,
    /// The reason why they are not known.
    pub connections_error: Option<String>,
    /// The command that lets it through, "dbfw reload --confirm 1a2b3c4d"; empty: only a change of the
    /// configuration does.
    pub command: String,
}

/// An open TCP connection to a protected port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveConnection {
    /// The other end, "10.0.0.1:40312".
    pub peer: String,
    /// The protected port.
    pub port: u16,
    /// The prefix that lets it in now.
    pub source_prefix: String,
}

/// An account of a provider, or another service that is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccountStatus {
    /// digitalocean, aptible, feeds, dns.
    pub name: String,
    /// Requests since the agent started.
    pub requests: u64,
    /// Requests that failed, likewise.
    pub failures: u64,
    /// Requests left in this hour; absent: there is no limit.
    pub budget_hour_left: Option<u32>,
    /// Requests left in this minute; absent: there is no limit.
    pub budget_minute_left: Option<u32>,
    /// Planned seconds from the beginning of a round to that of the next.
    pub interval_seconds: f64,
    /// Length of the last round; absent: none has ended.
    pub last_round_seconds: Option<f64>,
    /// The reason why the last round failed, where it did.
    pub error: Option<String>,
}
