//! [`SavedAudit`]: the audit that was saved last, as far as the agent passes it on.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufWriter, Write},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use dbfw_wire::control::{Audit, AuditLevel, AuditSeverity, AuditState};
use jiff::Timestamp;

use super::files::{self, ReadError, Readers};

/// The version of the document.
pub(crate) const SCHEMA: u32 = 1;
/// Bytes of the file.
const MAX_BYTES: u64 = 16 << 20;
/// Series that findings are counted in.
const MAX_SERIES: usize = 2000;
/// Findings that are kept one by one.
const MAX_FINDINGS: usize = 200;
/// Characters of a check's id.
const MAX_ID: usize = 8;

/// The audit that was saved last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedAudit {
    /// The time of the audit.
    pub at: Timestamp,
    /// Its level.
    pub level: AuditLevel,
    /// The number of problems by database, check and severity; 0: the check found none. A check that
    /// could not be made is left out.
    pub counts: BTreeMap<CountedBy, u64>,
    /// The end of the first certificate of a database that ends.
    pub expiries: BTreeMap<String, Timestamp>,
    /// The first problems, the worst first.
    pub problems: Vec<Problem>,
    /// The number of all problems.
    pub total: u64,
}

/// A series of findings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CountedBy {
    /// The database; `None`: they are about the host.
    pub database: Option<String>,
    /// The check.
    pub check: String,
    /// The weight.
    pub severity: &'static str,
}

/// A problem that the audit found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The database; `None`: it is about the host.
    pub database: Option<String>,
    /// The check.
    pub check: String,
    /// The weight.
    pub severity: AuditSeverity,
    /// The subject; `None`: all of the database, or of the host.
    pub subject: Option<String>,
}

/// A version of the file: another one is another file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version([i64; 4]);

impl Version {
    /// The version that is there; `None`: there is none that can be looked at.
    pub(crate) fn read(state_dir: &Path) -> Option<Self> {
        let found = fs::symlink_metadata(path(state_dir)).ok()?;
        let identity = [found.dev(), found.ino()].map(u64::cast_signed);
        Some(Self([identity[0], identity[1], found.ctime(), found.ctime_nsec()]))
    }
}

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("audit.json")
}

/// Writes an audit, for root alone: it says where this host is weak.
///
/// # Errors
/// The system's reason, or the audit is too large; what was there before stays.
pub(crate) fn save(state_dir: &Path, audit: &Audit) -> io::Result<()> {
    let bytes = serde_json::to_vec(audit)?;
    if bytes.len() as u64 >= MAX_BYTES {
        return Err(io::Error::other(format!("the result has {} bytes", bytes.len())));
    }
    files::make_directory(state_dir)?;
    files::replace_by(&path(state_dir), Readers::Owner, |file| {
        let mut out = BufWriter::new(file);
        out.write_all(&bytes)?;
        out.write_all(b"\n")?;
        out.flush()
    })
}

/// Reads the audit that was saved last.
///
/// # Errors
/// There is none, or it cannot be used.
pub(crate) fn load(state_dir: &Path) -> Result<SavedAudit, ReadError> {
    files::read_at_most(MAX_BYTES, path(state_dir), parse)
}

fn parse(content: &[u8]) -> Result<SavedAudit, String> {
    let audit: Audit = serde_json::from_slice(content).map_err(|error| error.to_string())?;
    if audit.schema != SCHEMA {
        return Err(format!("its schema is {}, and this version reads {SCHEMA}", audit.schema));
    }
    let mut counts: BTreeMap<CountedBy, u64> = BTreeMap::new();
    let mut problems = Vec::new();
    let mut total = 0;
    for finding in audit.findings {
        let is_of_id = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if finding.id.len() > MAX_ID || !finding.id.chars().all(is_of_id) {
            return Err("a finding has no check's id".to_owned());
        }
        let found = match finding.state {
            AuditState::Fail => 1,
            AuditState::Ok | AuditState::Accepted => 0,
            AuditState::Unknown => continue,
        };
        let series = CountedBy {
            database: finding.database.clone(),
            check: finding.id.clone(),
            severity: finding.severity.as_str(),
        };
        if counts.len() < MAX_SERIES || counts.contains_key(&series) {
            *counts.entry(series).or_default() += found;
        }
        total += found;
        if found > 0 && problems.len() < MAX_FINDINGS {
            problems.push(Problem {
                database: finding.database,
                check: finding.id,
                severity: finding.severity,
                subject: finding.subject,
            });
        }
    }
    let mut expiries = BTreeMap::new();
    for database in audit.databases {
        let ends = database.endpoints.iter().filter_map(|one| one.tls.as_ref()?.not_after);
        if let Some(first) = ends.min() {
            expiries.insert(database.name, first);
        }
    }
    Ok(SavedAudit { at: audit.at, level: audit.level, counts, expiries, problems, total })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::{Value, json};

    use super::*;

    fn finding(id: &str, severity: &str, state: &str, database: Option<&str>) -> Value {
        json!({
            "id": id, "severity": severity, "state": state, "database": database,
            "subject": "s", "title": "t", "text": "x", "reason": null, "fix": null,
        })
    }

    fn document(findings: &[Value]) -> Value {
        let tls = |until: &str| {
            json!({ "address": "10.0.0.1", "port": 1, "tls": {
                "version": null, "subject": "", "names": [], "not_before": null,
                "not_after": until, "sha256": "", "verified": false,
            }})
        };
        json!({
            "schema": 1, "host": "h", "at": "2026-11-28T12:00:00Z", "level": "wire",
            "databases": [{
                "name": "orders", "engine": null, "version": null, "mode": "enforce", "ports": [],
                "sources": null,
                "endpoints": [tls("2027-02-01T00:00:00Z"), tls("2027-01-01T00:00:00Z")],
            }],
            "findings": findings,
        })
    }

    fn read(document: &Value) -> Result<SavedAudit, String> {
        parse(document.to_string().as_bytes())
    }

    #[test]
    fn problems_are_counted_and_what_is_unknown_is_not() {
        let read = read(&document(&[
            finding("X-1", "medium", "fail", Some("orders")),
            finding("X-1", "medium", "fail", Some("orders")),
            finding("E-1", "high", "fail", None),
            finding("T-1", "high", "accepted", Some("orders")),
            finding("T-2", "high", "ok", Some("orders")),
            finding("T-4", "high", "unknown", Some("orders")),
        ]));
        let read = read.unwrap();
        let counts: Vec<_> = read
            .counts
            .iter()
            .map(|(by, count)| (by.database.as_deref(), &*by.check, by.severity, *count))
            .collect();
        let orders = Some("orders");
        assert_eq!(
            counts,
            [
                (None, "E-1", "high", 1),
                (orders, "T-1", "high", 0),
                (orders, "T-2", "high", 0),
                (orders, "X-1", "medium", 2),
            ]
        );
        assert_eq!((read.total, read.problems.len()), (3, 3));
        assert_eq!(read.expiries["orders"].to_string(), "2027-01-01T00:00:00Z");
    }

    #[test]
    fn more_than_is_kept_is_still_counted_in_the_total() {
        let many: Vec<Value> = (0..MAX_SERIES + 10)
            .map(|at| finding("X-1", "medium", "fail", Some(&format!("d{at}"))))
            .collect();
        let read = read(&document(&many)).unwrap();
        assert_eq!(read.counts.len(), MAX_SERIES);
        assert_eq!(read.problems.len(), MAX_FINDINGS);
        assert_eq!(read.total, many.len() as u64);
    }

    #[test]
    fn what_is_no_audit_is_refused() {
        let mut other = document(&[]);
        other["schema"] = 2.into();
        assert_eq!(read(&other), Err("its schema is 2, and this version reads 1".to_owned()));
        for id in ["X\"1", "X 1", "X-1234567", "X\n"] {
            assert!(read(&document(&[finding(id, "low", "fail", None)])).is_err(), "{id}");
        }
        for (key, value) in [("severity", "worst"), ("state", "maybe")] {
            let mut odd = finding("X-1", "low", "fail", None);
            odd[key] = value.into();
            assert!(read(&document(&[odd])).is_err(), "{key}");
        }
        for text in ["", "{", "[]", "null", "{\"schema\": 1}"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn it_is_saved_whole_for_root_alone_and_read_only_if_nobody_else_could_write_it() {
        let directory = tempfile::tempdir().unwrap();
        let state_dir = directory.path().join("state");
        assert!(matches!(load(&state_dir), Err(ReadError::Io { .. } | ReadError::Missing(_))));
        assert_eq!(Version::read(&state_dir), None);
        let audit: Audit = serde_json::from_value(document(&[])).unwrap();
        save(&state_dir, &audit).unwrap();
        let first = Version::read(&state_dir);
        let mode = fs::metadata(path(&state_dir)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert_eq!(load(&state_dir).unwrap().total, 0);
        save(&state_dir, &audit).unwrap();
        assert_ne!(Version::read(&state_dir), first);
        let others = fs::Permissions::from_mode(0o666);
        fs::set_permissions(path(&state_dir), others).unwrap();
        let refused = load(&state_dir).unwrap_err().to_string();
        assert!(refused.contains("is writable by others"), "{refused}");
        fs::remove_file(path(&state_dir)).unwrap();
        let huge = fs::File::create(path(&state_dir)).unwrap();
        huge.set_len(MAX_BYTES + 1).unwrap();
        let refused = load(&state_dir).unwrap_err().to_string();
        assert!(refused.contains("larger than"), "{refused}");
    }
}
