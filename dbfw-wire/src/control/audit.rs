//! Documents of `dbfw audit`, as `--output json` prints them.

use dbfw_core::audit;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::drops::Mode;
use crate::words::words;

words! {
    /// The weight of a finding.
    pub enum AuditSeverity from audit::Severity {
        /// To know.
        Info = "info",
        /// To do some day.
        Low = "low",
        /// To plan.
        Medium = "medium",
        /// To do now.
        High = "high",
        /// The data are open to whoever may connect.
        Critical = "critical",
    }
}

words! {
    /// The result of a check.
    pub enum AuditState from audit::State {
        /// The problem is there.
        Fail = "fail",
        /// The check could not be made.
        Unknown = "unknown",
        /// The problem is there, and somebody said that it may be.
        Accepted = "accepted",
        /// The problem is not there.
        Ok = "ok",
    }
}

words! {
    /// The sources of an audit. Each adds to those before it.
    pub enum AuditLevel from audit::Level {
        /// The configuration, listeners, files and counters of this host.
        Host = "host",
        /// Connections without a credential.
        Wire = "wire",
        /// The server's own catalogue, read as a user of it.
        Login = "login",
        /// The first messages of connections that clients open.
        Watch = "watch",
    }
}

/// The result of an audit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// The version of these fields: 1.
    pub schema: u32,
    /// The name of this host.
    pub host: String,
    /// The time of the audit.
    pub at: Timestamp,
    /// The level.
    pub level: AuditLevel,
    /// The seconds for which connections were watched; `null`: they were not.
    pub watched_seconds: Option<u64>,
    /// The databases that were looked at, in the order of the configuration.
    pub databases: Vec<AuditedDatabase>,
    /// The findings, the worst first.
    pub findings: Vec<AuditFinding>,
}

/// A database that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditedDatabase {
    /// Name.
    pub name: String,
    /// "PostgreSQL"; `null`: nobody knows.
    pub engine: Option<String>,
    /// The version, as far as the server says it.
    pub version: Option<String>,
    /// Treatment of packets from untrusted sources.
    pub mode: Mode,
    /// "tcp/5432", "tcp/6432-6440".
    pub ports: Vec<String>,
    /// The number of its trusted sources; `null`: they are not known.
    pub sources: Option<usize>,
    /// The way in to its catalogue, "peer as postgres"; `null`: nobody logged in.
    pub login: Option<String>,
    /// The endpoints that answered.
    pub endpoints: Vec<AuditedEndpoint>,
}

/// An address and port at which a server answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditedEndpoint {
    /// The address, which the probes come from too.
    pub address: String,
    /// The port.
    pub port: u16,
    /// Its TLS; `null`: none.
    pub tls: Option<AuditedTls>,
}

/// The TLS of an endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditedTls {
    /// "TLSv1.3"; `null`: the server broke off.
    pub version: Option<String>,
    /// The name in its certificate.
    pub subject: String,
    /// The host names and addresses that the certificate is for.
    pub names: Vec<String>,
    /// The first moment at which it is good.
    pub not_before: Option<Timestamp>,
    /// The last.
    pub not_after: Option<Timestamp>,
    /// The SHA-256 of the certificate, in hexadecimal.
    pub sha256: String,
    /// Whether the known authorities signed it.
    pub verified: bool,
}

/// The result of a check for one subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditFinding {
    /// The check, "X-5".
    pub id: String,
    /// The weight.
    pub severity: AuditSeverity,
    /// The result.
    pub state: AuditState,
    /// The database; `null`: it is about the host.
    pub database: Option<String>,
    /// The subject: an endpoint, a line, a trusted source; `null`: all of the database.
    pub subject: Option<String>,
    /// The problem that the check looks for.
    pub title: String,
    /// The facts that were found.
    pub text: String,
    /// The reason why it is accepted.
    pub reason: Option<String>,
    /// The remedy; `null` where there is no problem.
    pub fix: Option<String>,
}

/// The answer to `dbfw audit --explain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditCheck {
    /// The check, "X-5".
    pub id: String,
    /// The weight of its findings.
    pub severity: AuditSeverity,
    /// The first level that makes it.
    pub level: AuditLevel,
    /// The engines that it is about.
    pub engines: Vec<String>,
    /// The problem that it looks for.
    pub title: String,
    /// The reason why that is a problem, and how it is looked for.
    pub why: String,
    /// The remedy.
    pub fix: String,
    /// Pages and benchmarks that say more.
    pub refs: Vec<String>,
}
