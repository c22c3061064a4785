//! What goes over the control socket, one JSON document a line. The documents are also
//! what `--output json` prints, so their fields are a promise: add, never rename.

use std::{fmt, net::IpAddr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// One [`Status`].
    Status {},
    /// One [`Sources`].
    Sources {},
    /// Many [`MapEntry`], then the end.
    MapDump {},
    /// One [`Lookup`].
    MapLookup { address: IpAddr },
    /// One [`Explanation`] for every database and port asked about.
    Explain { address: IpAddr, port: Option<u16> },
    /// One [`Drops`]; with `follow` then many [`DropEvent`] until the client goes.
    Drops { follow: bool, limit: usize },
    /// One [`Text`]: the metrics in the Prometheus text format.
    Metrics {},
    /// One [`TrustList`].
    TrustList {},
    /// Root only. One [`TrustList`] with what was added.
    TrustAdd {
        database: String,
        source: String,
        expires_at: Option<Timestamp>,
        why: Option<String>,
    },
    /// Root only. One [`TrustList`] with what was removed.
    TrustRemove { database: String, source: String },
    /// Root only. One [`Reloaded`].
    Reload { confirm: bool },
    /// Root only. One [`Text`].
    Detach {},
}

impl Request {
    /// Whether it changes what is enforced or trusted, which only root may do.
    pub fn changes(&self) -> bool {
        match self {
            Self::Status {}
            | Self::Sources {}
            | Self::MapDump {}
            | Self::MapLookup { .. }
            | Self::Explain { .. }
            | Self::Drops { .. }
            | Self::Metrics {}
            | Self::TrustList {} => false,
            Self::TrustAdd { .. }
            | Self::TrustRemove { .. }
            | Self::Reload { .. }
            | Self::Detach {} => true,
        }
    }
}

/// A line of the answer: any number of `data`, then `end`, or `error` and nothing more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// A document of the request's type.
    Data(serde_json::Value),
    /// Nothing more follows.
    End {},
    /// It was not done.
    Error(ControlError),
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ControlError {
    /// What kind of failure, for the exit code.
    pub kind: ControlErrorKind,
    /// What happened and what to do next.
    pub message: String,
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ControlError {}

/// Kinds of [`ControlError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlErrorKind {
    /// The request could not be read, or names something that does not exist.
    Invalid,
    /// The peer may not do this.
    NotPermitted,
    /// The new configuration is bad; the old one stands.
    BadConfig,
    /// It was tried and failed.
    Failed,
}

/// `dbfw status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the program that answered.
    pub version: String,
    /// Every covered interface and every database is enforced as configured: `protection`
    /// is yes.
    pub protected: bool,
    /// The same, where it can be told.
    pub protection: Protection,
    /// What is wrong, in words, most serious first; empty when all is well.
    pub problems: Vec<String>,
    /// The running agent; absent when the answer was read from the pins.
    pub agent: Option<AgentStatus>,
    /// Covered interfaces; none where protection is unknown.
    pub interfaces: Vec<InterfaceStatus>,
    /// The sk_lookup program; absent when it is off, and where protection is unknown.
    pub backstop: Option<BackstopStatus>,
    /// Databases in the order of the configuration.
    pub databases: Vec<DatabaseStatus>,
}

/// Whether the host is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protection {
    /// It was read back from the kernel.
    Yes,
    /// Something is not enforced as configured.
    No,
    /// No agent answers, and the reader may not look at what is attached.
    Unknown,
}

impl Protection {
    /// The name used in the documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }
}

impl From<bool> for Protection {
    fn from(protected: bool) -> Self {
        if protected { Self::Yes } else { Self::No }
    }
}

/// The running agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// Process id.
    pub pid: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// Protection was read back from the kernel within the last seconds.
    pub ready: bool,
    /// The operator detached the programs; `dbfw reload` attaches them again.
    pub detached: bool,
    /// Number of the policy in force; it grows with every change.
    pub generation: u64,
    /// Whether the last reload of the configuration succeeded.
    pub config_ok: bool,
}

/// One covered interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Name.
    pub name: String,
    /// Its index; 0: it is gone.
    pub ifindex: u32,
    /// native, tcx, generic; none if nothing is attached.
    pub mode: String,
    /// Read back from the kernel: our program, with our maps.
    pub healthy: bool,
    /// What is wrong, if anything.
    pub detail: Option<String>,
}

/// The backstop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackstopStatus {
    /// Read back from the kernel: our program, with our maps.
    pub healthy: bool,
    /// Interfaces it lets through.
    pub exempt: Vec<String>,
    /// What is wrong, if anything.
    pub detail: Option<String>,
}

/// One database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatabaseStatus {
    /// Name.
    pub name: String,
    /// "tcp/5432".
    pub ports: Vec<String>,
    /// off, observe, enforce.
    pub mode: String,
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
}

/// Where a database's list comes from, and how it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProviderStatus {
    /// "file:/etc/dbfw/orders.list".
    pub name: String,
    /// ok, stale (the last try failed, or the list is from the snapshot), refused (by a
    /// guard), never (no list yet).
    pub state: String,
    /// When the list in force was read.
    pub last_success: Option<Timestamp>,
    /// Seconds since then.
    pub age_seconds: Option<u64>,
    /// Why the last try failed or was refused, and what to do.
    pub error: Option<String>,
}

/// `dbfw sources`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sources {
    /// Every trusted source of every database.
    pub sources: Vec<SourceStatus>,
}

/// One trusted source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// The database it is trusted by.
    pub database: String,
    /// "ip_addr:10.0.0.0/8".
    pub source: String,
    /// config, local, or the provider's name.
    pub origin: String,
    /// For people.
    pub description: Option<String>,
    /// When it stops being trusted.
    pub expires_at: Option<Timestamp>,
    /// What it resolved to.
    pub prefixes: Vec<String>,
    /// Packets it let in, as the most specific source of their address.
    pub packets: u64,
    /// When it last let one in.
    pub last_hit: Option<Timestamp>,
}

/// A line of `dbfw map dump`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapEntry {
    /// HOSTS4, HOSTS6, NETS4 or NETS6.
    pub map: String,
    /// The prefix.
    pub prefix: String,
    /// The databases it may reach.
    pub databases: Vec<String>,
    /// First slot of its rules.
    pub rules: u32,
}

/// `dbfw map lookup`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lookup {
    /// The address looked up.
    pub address: IpAddr,
    /// Whether the presence bits let the lookup go on to the sets.
    pub front: bool,
    /// The longest match; absent: untrusted by all.
    pub entry: Option<MapEntry>,
}

/// `dbfw explain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The source address asked about.
    pub address: IpAddr,
    /// "tcp/5432".
    pub port: String,
    /// The database the port belongs to; absent: none.
    pub database: Option<String>,
    /// Its mode.
    pub mode: Option<String>,
    /// What the loaded program decided: pass, allow, observe, drop.
    pub verdict: String,
    /// Why: trusted, untrusted, other_port, …
    pub reason: String,
    /// The program that was run: dbfw_xdp, …
    pub program: String,
    /// The longest prefix in the maps that covers the address.
    pub prefix: Option<String>,
    /// Every trusted source of this database that covers it, most specific first.
    pub sources: Vec<CoveringSource>,
}

/// A trusted source that covers an address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CoveringSource {
    /// "ip_addr:10.0.0.0/8".
    pub source: String,
    /// Which of its prefixes covers the address.
    pub prefix: String,
    /// config, local, or the provider's name.
    pub origin: String,
    /// For people.
    pub description: Option<String>,
    /// When it stops being trusted.
    pub expires_at: Option<Timestamp>,
}

/// `dbfw drops`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drops {
    /// Since when sources are remembered.
    pub since: Timestamp,
    /// Most drops first.
    pub sources: Vec<DropSource>,
}

/// A refused source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DropSource {
    /// Its address.
    pub source: IpAddr,
    /// The database it wanted; "*" where the port could not be read.
    pub database: String,
    /// Destination port; 0 where it could not be read.
    pub port: u16,
    /// untrusted, port_hidden, …
    pub reason: String,
    /// Dropped, or only observed.
    pub verdict: String,
    /// Packets, estimated from the sampled events.
    pub estimated_packets: u64,
    /// First event.
    pub first_seen: Timestamp,
    /// Last event.
    pub last_seen: Timestamp,
}

/// A line of `dbfw drops --follow`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DropEvent {
    /// When.
    pub time: Timestamp,
    /// From where.
    pub source: IpAddr,
    /// The database it wanted; "*" where the port could not be read.
    pub database: String,
    /// Destination port; 0 where it could not be read.
    pub port: u16,
    /// tcp, udp, or the protocol's number.
    pub protocol: String,
    /// Interface it came in on.
    pub interface: String,
    /// untrusted, port_hidden, …
    pub reason: String,
    /// drop or observe.
    pub verdict: String,
    /// Drops this event stands for.
    pub weight: u64,
}

/// `dbfw trust list`, and what `add` and `rm` changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrustList {
    /// Local temporary sources.
    pub sources: Vec<LocalSource>,
}

/// A source added by hand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LocalSource {
    /// The database it is trusted by.
    pub database: String,
    /// "ip_addr:203.0.113.7".
    pub source: String,
    /// Why it was added.
    pub why: Option<String>,
    /// When.
    pub added_at: Timestamp,
    /// When it stops being trusted; absent: when it is removed.
    pub expires_at: Option<Timestamp>,
}

/// `dbfw reload`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Number of the policy now in force.
    pub generation: u64,
    /// Prefixes added.
    pub added: usize,
    /// Prefixes removed.
    pub removed: usize,
    /// Changes a guard refuses, in words; `dbfw reload --confirm` lets them through.
    pub refused: Vec<String>,
    /// Lists that could not be read, and why; what they held before stays in force.
    #[serde(default)]
    pub failed: Vec<String>,
}

/// An answer in words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Text {
    /// The words.
    pub text: String,
}

/// `dbfw check`: what a valid configuration would enforce.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// The files it was read from, in the order they were read.
    pub files: Vec<String>,
    /// Names or globs; "auto": every interface with hardware behind it.
    pub interfaces: Vec<String>,
    /// auto, native, tcx, generic.
    pub attach: String,
    /// Whether the sk_lookup program stands behind the hooks.
    pub backstop: bool,
    /// Databases in the order of the files.
    pub databases: Vec<CheckedDatabase>,
    /// What is legal but probably not meant.
    pub warnings: Vec<String>,
}

/// One database of a valid configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckedDatabase {
    /// Name.
    pub name: String,
    /// "tcp/5432".
    pub ports: Vec<String>,
    /// off, observe, enforce.
    pub mode: String,
    /// The sources listed in the configuration itself, "ip_addr:10.0.0.0/8".
    pub sources: Vec<String>,
    /// Where more of them come from: "file:/etc/dbfw/orders.list".
    pub provider: Option<String>,
}

/// `dbfw check` of a bad configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigProblems {
    /// Everything that is wrong, by file and line.
    pub problems: Vec<ConfigProblem>,
}

/// One thing wrong in the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigProblem {
    /// The file.
    pub file: String,
    /// The line, from 1; absent: it concerns the whole file.
    pub line: Option<usize>,
    /// The key with its path, as in `database.orders.ports[0]`; absent: no key.
    pub key: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do about it; absent: the message says it.
    pub fix: Option<String>,
}

/// `dbfw doctor`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// One for every check, in the order they were made.
    pub findings: Vec<Finding>,
}

/// What a check of `dbfw doctor` found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What was checked.
    pub check: String,
    /// ok, warn, fail.
    pub state: String,
    /// What was found.
    pub detail: String,
    /// The command that mends it.
    pub fix: Option<String>,
}
