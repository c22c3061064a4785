//! [`Scrape`]: the values of all metrics at one time.

use std::collections::BTreeMap;

use dbfw_metrics::Durations;
use dbfw_wire::api::HostState;

use crate::{
    api::{App, Login, Route, STATUSES},
    fleet::Standings,
    model::Via,
    resolve::AccountStatus,
    store::{Operation, Operations},
};

/// The values of all metrics at one time.
#[derive(Debug)]
pub(super) struct Scrape {
    /// Whether the store answered.
    pub(super) up: bool,
    /// The number of hosts by the state of a database's list there.
    pub(super) hosts: BTreeMap<String, Vec<(HostState, usize)>>,
    pub(super) used_twice: usize,
    pub(super) streams: usize,
    pub(super) max_streams: usize,
    pub(super) propagation: Durations,
    pub(super) sent: u64,
    /// The accounts that sources are asked of.
    pub(super) accounts: Vec<AccountStatus>,
    pub(super) changes: Vec<(Via, u64)>,
    pub(super) merges: u64,
    pub(super) requests: Vec<(Route, [u64; STATUSES.len()])>,
    pub(super) logins_refused: Vec<(Login, u64)>,
    pub(super) sessions: usize,
    pub(super) store: [(Operation, Operations); 2],
    pub(super) resyncs: u64,
    pub(super) is_leader: bool,
    /// Seconds since 1970; `None` without TLS.
    pub(super) certificate_end: Option<u64>,
}

impl Scrape {
    pub(super) async fn read(app: &App, certificate_end: Option<u64>) -> Self {
        let sessions = app.service.sessions().await;
        let Standings { hosts, used_twice, propagation } = app.fleet.standings();
        Self {
            up: sessions.is_ok(),
            hosts,
            used_twice,
            streams: app.fleet.streams(),
            max_streams: app.fleet.max_streams(),
            propagation,
            sent: app.fleet.sent(),
            accounts: app.resolver.accounts(),
            changes: app.service.changes_made().collect(),
            merges: app.service.merges_made(),
            requests: app.tally.requests(),
            logins_refused: app.tally.logins_refused(),
            sessions: sessions.unwrap_or_default(),
            store: app.service.store().tally(),
            resyncs: app.service.store().resyncs(),
            is_leader: app.leader.is_leader(),
            certificate_end,
        }
    }
}
