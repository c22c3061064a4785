//! Reports to the server: at once what became of a list, and the rest not too often.

use std::{
    collections::{BTreeMap, HashMap},
    future::pending,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use dbfw_core::answers::FetchError;
use dbfw_wire::agent::{
    Applied, Hits, HostAudit, HostFinding, LeftOut, MAX_FINDINGS, REPORT, Refused, Report,
};
use secrecy::SecretString;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use url::Url;
use uuid::Uuid;

use super::{
    facts::{AuditFacts, Facts, ListFacts, RefusedSource, Use},
    kept::Kept,
};
use crate::{
    http::{HttpClient, Options},
    lock::lock,
    stats::Stats,
};

/// Time between two reports of what is not about a list, at least; up to a fifth more.
const EVERY: Duration = Duration::from_secs(10);
/// Time after which a report that failed is tried again.
const AGAIN: Duration = Duration::from_secs(2);
/// Bytes an answer to a report may have.
const MAX_ANSWER: u64 = 64 << 10;

/// A server with an open stream.
#[derive(Clone, Debug)]
pub(crate) struct Up {
    pub(crate) url: Url,
    pub(crate) token: SecretString,
    pub(crate) host: Uuid,
    pub(crate) boot: Uuid,
    /// Another number for each stream: what was reported before counts for nothing.
    pub(crate) stream: u64,
}

/// Facts that were reported on a stream.
#[derive(Debug, Default)]
struct Sent {
    protection: Option<String>,
    problems: Option<Vec<dbfw_wire::agent::HostProblem>>,
    applied: BTreeMap<Arc<str>, ListFacts>,
    refused: HashMap<(Uuid, IpAddr), RefusedSource>,
    hits: HashMap<(Uuid, Uuid), Use>,
    audit: Option<HostAudit>,
}

/// Reports until it is dropped.
pub(crate) struct Reporter {
    pub(crate) http: HttpClient,
    pub(crate) stats: Arc<Stats>,
    pub(crate) kept: Arc<Mutex<Kept>>,
    pub(crate) facts: watch::Receiver<Facts>,
    pub(crate) up: watch::Receiver<Option<Up>>,
}

impl Reporter {
    pub(crate) async fn run(mut self) {
        let (mut sent, mut stream) = (Sent::default(), None);
        let mut next_rest = Instant::now();
        let mut not_before = Instant::now();
        loop {
            let up = self.up.borrow_and_update().clone();
            if stream != up.as_ref().map(|up| up.stream) {
                stream = up.as_ref().map(|up| up.stream);
                sent = Sent::default();
                next_rest = Instant::now();
            }
            let facts = self.facts.borrow_and_update().clone();
            let now = Instant::now();
            let mut wake = None;
            if let Some(up) = &up {
                let with_rest = now >= next_rest;
                let (report, after) = self.report(up, &facts, &sent, with_rest);
                if !with_rest {
                    wake = Some(next_rest);
                }
                if is_empty(&report) {
                    if with_rest {
                        wake = Some(now + EVERY);
                    }
                } else if now < not_before {
                    wake = Some(not_before);
                } else {
                    let result = self.post(up, &report).await;
                    if result.is_ok() {
                        sent = after;
                        if with_rest {
                            next_rest = Instant::now() + EVERY.mul_f64(1.0 + fastrand::f64() / 5.0);
                        }
                        continue;
                    }
                    not_before = Instant::now() + AGAIN;
                    wake = Some(not_before);
                }
            }
            tokio::select! {
                changed = self.facts.changed() => if changed.is_err() { pending::<()>().await },
                changed = self.up.changed() => if changed.is_err() { pending::<()>().await },
                () = sleep_until(wake.unwrap_or(now)), if wake.is_some() => {}
            }
        }
    }

    /// The report that has to be sent, and the facts that were reported afterwards.
    fn report(&self, up: &Up, facts: &Facts, sent: &Sent, with_rest: bool) -> (Report, Sent) {
        let kept = lock(&self.kept).clone();
        let mut report = Report { host: up.host, boot: up.boot, ..Report::default() };
        let mut after = Sent { applied: sent.applied.clone(), ..Sent::default() };
        for (name, list) in &facts.lists {
            let Some(known) = kept.lists.get(name).filter(|_| sent.applied.get(name) != Some(list))
            else {
                continue;
            };
            let ids = if list.left_out.is_empty() { BTreeMap::new() } else { known.ids() };
            let left_out = list.left_out.iter().filter_map(|source| {
                Some(LeftOut {
                    source: *ids.get(&source.key)?,
                    guard: source.guard.to_owned(),
                    prefixes: source.prefixes,
                    message: source.message.clone(),
                })
            });
            report.applied.push(Applied {
                database: known.bundle.database,
                epoch: list.epoch,
                revision: list.revision,
                state: list.state.clone(),
                left_out: left_out.collect(),
                left_out_total: list.left_out_total,
            });
            after.applied.insert(Arc::clone(name), list.clone());
        }
        after.protection.clone_from(&sent.protection);
        after.problems.clone_from(&sent.problems);
        after.refused.clone_from(&sent.refused);
        after.hits.clone_from(&sent.hits);
        after.audit.clone_from(&sent.audit);
        if !with_rest {
            return (report, after);
        }
        if sent.protection.as_ref() != Some(&facts.protection) {
            report.protection = Some(facts.protection.clone());
            after.protection = Some(facts.protection.clone());
        }
        if sent.problems.as_ref() != Some(&facts.problems) {
            report.problems = Some(facts.problems.clone());
            after.problems = Some(facts.problems.clone());
        }
        let audit = facts.audit.as_ref().map(|audit| audited(audit, &kept));
        if audit.is_some() && sent.audit != audit {
            report.audit.clone_from(&audit);
            after.audit = audit;
        }
        for (name, sources) in &facts.refused {
            let Some(database) = kept.lists.get(name).map(|known| known.bundle.database) else {
                continue;
            };
            for source in sources {
                let key = (database, source.address);
                if sent.refused.get(&key) == Some(source) {
                    continue;
                }
                let RefusedSource { address, ports, packets, first_seen, last_seen } =
                    source.clone();
                report.refused.push(Refused {
                    database,
                    address,
                    ports,
                    packets,
                    first_seen,
                    last_seen,
                });
                after.refused.insert(key, source.clone());
            }
        }
        for (name, uses) in &facts.hits {
            let Some(known) = kept.lists.get(name) else { continue };
            let database = known.bundle.database;
            let ids = known.ids();
            for (source, used) in uses {
                let Some(source) = ids.get(source) else { continue };
                if sent.hits.get(&(database, *source)) == Some(used) {
                    continue;
                }
                let Use { packets, last_hit } = *used;
                report.hits.push(Hits { database, source: *source, packets, last_hit });
                after.hits.insert((database, *source), *used);
            }
        }
        (report, after)
    }

    async fn post(&self, up: &Up, report: &Report) -> Result<(), FetchError> {
        post(&self.http, &self.stats, up, report).await
    }
}

fn is_empty(report: &Report) -> bool {
    let Report { host: _, boot: _, protection, problems, applied, refused, hits, audit } = report;
    protection.is_none()
        && problems.is_none()
        && applied.is_empty()
        && refused.is_empty()
        && hits.is_empty()
        && audit.is_none()
}

/// An audit with the server's ids of its databases. Those that the server does not keep are not
/// told of.
fn audited(audit: &AuditFacts, kept: &Kept) -> HostAudit {
    let told = audit.findings.iter().filter_map(|(list, finding)| {
        let database = match list {
            Some(name) => Some(kept.lists.get(name)?.bundle.database),
            None => None,
        };
        Some(HostFinding { database, ..finding.clone() })
    });
    let findings: Vec<HostFinding> = told.take(MAX_FINDINGS).collect();
    let more = audit.more || findings.len() == MAX_FINDINGS && audit.findings.len() > MAX_FINDINGS;
    HostAudit { at: audit.at, level: audit.level.clone(), findings, more }
}

/// Sends a report.
///
/// # Errors
/// The server did not take it.
pub(crate) async fn post(
    http: &HttpClient,
    stats: &Stats,
    up: &Up,
    report: &Report,
) -> Result<(), FetchError> {
    const WHAT: &str = "server: POST /agent/v1/report";
    let body = serde_json::to_vec(report).unwrap_or_default();
    let mut url = up.url.clone();
    url.set_path(REPORT);
    let options = Options {
        bearer: Some(&up.token),
        accept: "application/json",
        max_bytes: MAX_ANSWER,
        validators: None,
    };
    stats.request();
    let answer = http.post(&url, WHAT, options, body).await;
    let answer = answer.and_then(|answer| answer.success(WHAT));
    if let Err(error) = &answer {
        stats.failure(error.cause);
        tracing::debug!(%error, "the report could not be sent");
    }
    answer.map(drop)
}
