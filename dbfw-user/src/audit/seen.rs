//! The checks of the connections that clients open while they are watched.

use std::{net::SocketAddr, time::Duration};

use dbfw_core::audit::{
    CheckId, Engine, Finding, SeenConnection, State, Trusted, judge_connections,
};

use super::{
    exposed::{Around, has},
    watch::{WatchResult, Watched, watch},
};
use crate::config::DatabaseConfig;

/// The checks.
const CHECKED: [CheckId; 4] = [CheckId::R5, CheckId::X4, CheckId::X6, CheckId::X7];

/// Watches some databases for so long, or until SIGINT.
pub(super) async fn watch_all(
    databases: &[&DatabaseConfig],
    around: &Around,
    duration: Duration,
) -> Result<WatchResult, String> {
    let engines: Vec<_> =
        databases.iter().map(|database| move |to| engine_at(database, around, to)).collect();
    let watched = databases.iter().zip(&engines);
    let watched: Vec<Watched<'_>> =
        watched.map(|(database, engine)| Watched { ports: &database.ports, engine }).collect();
    let watched = watch(&watched, duration).await;
    watched.map_err(|error| format!("packets cannot be watched (AF_PACKET): {error}"))
}

/// The engine of a database at an address; `None`: the address is not its own, or nobody knows.
fn engine_at(database: &DatabaseConfig, around: &Around, to: SocketAddr) -> Option<Engine> {
    let address = to.ip().to_canonical();
    let is_own = around.addresses.iter().any(|(_, own)| *own == address);
    if !has(database, to.port()) || !database.destinations.include(address, is_own) {
        return None;
    }
    let listeners = around.listeners.as_deref().unwrap_or_default().iter();
    let mut here = listeners.filter(|listener| listener.port == to.port());
    here.find_map(|listener| listener.engine()).or_else(|| Engine::of_port(to.port()))
}

/// Adds the findings about connections that were watched, those of the database with this number. The
/// connections that the server listed count as well, and findings about them alone make place.
pub(super) fn judge_watched(
    findings: &mut Vec<Finding>,
    (watched, number): (&Result<WatchResult, String>, usize),
    listed: Vec<SeenConnection>,
    trusted: Result<&[Trusted], &str>,
    around: &Around,
) {
    let (connections, trusted) = match (seen(watched, number), trusted) {
        (Ok(connections), Ok(trusted)) => (connections, trusted),
        (Err(why), _) => return add_unknown(findings, &why),
        (_, Err(why)) => return add_unknown(findings, why),
    };
    let connections: Vec<SeenConnection> = connections.into_iter().chain(listed).collect();
    let own: Vec<_> = around.reachable().collect();
    let mut found = judge_connections(&connections, trusted, &own);
    if let Some(why) = watched.as_ref().ok().and_then(unseen) {
        // What is there was found; what is not may be among the rest.
        for finding in found.iter_mut().filter(|finding| finding.state() == State::Ok) {
            *finding = Finding::unknown(finding.check(), &why);
        }
    }
    findings.retain(|finding| !CHECKED.contains(&finding.check()));
    findings.extend(found);
}

/// The connections of a database, if there was any.
fn seen(
    watched: &Result<WatchResult, String>,
    number: usize,
) -> Result<Vec<SeenConnection>, String> {
    let watched = watched.as_ref().map_err(String::clone)?;
    let own = watched.connections.iter().filter(|(of, _)| *of == number);
    let own: Vec<SeenConnection> = own.map(|(_, connection)| connection.clone()).collect();
    if own.is_empty() {
        let seconds = watched.took.as_secs();
        let rest = unseen(watched).map(|why| format!(", and {why}")).unwrap_or_default();
        return Err(format!("no client connected in the {seconds} s of the watch{rest}"));
    }
    Ok(own)
}

/// The reason why something may have gone unseen.
fn unseen(watched: &WatchResult) -> Option<String> {
    match (watched.missed, watched.lost) {
        (0, 0) => None,
        (0, lost) => Some(format!("{lost} packets came too fast to be watched")),
        (missed, _) => Some(format!("{missed} connections were not understood")),
    }
}

fn add_unknown(findings: &mut Vec<Finding>, why: &str) {
    for check in CHECKED {
        if !findings.iter().any(|finding| finding.check() == check) {
            findings.push(Finding::unknown(check, why));
        }
    }
}
