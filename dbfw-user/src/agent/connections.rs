//! The live connections to a database's ports that a refused change would cut.

use std::{collections::BTreeSet, io, net::IpAddr};

use dbfw_core::{
    Destinations,
    source::{Prefix, PrefixMap, PrefixSet},
    trust::Enforced,
};
use dbfw_datapath::{
    Routes,
    connections::{Connection, established},
};
use dbfw_wire::control::LiveConnection;
use jiff::Timestamp;

use super::connection_watch::from_elsewhere;
use crate::config::DatabaseConfig;

/// The question which connections a refused plan would cut, to be asked on another thread.
#[derive(Clone, Debug)]
pub(super) struct CutQuery {
    /// The TCP ports of the database.
    ports: BTreeSet<u16>,
    destinations: Destinations,
    lost: Vec<Prefix>,
    /// Interfaces whose open connections go on: only new ones are judged there.
    without_hook: BTreeSet<u32>,
    /// The addresses that the plan keeps, and those the operator wrote.
    kept: [PrefixSet; 2],
}

impl CutQuery {
    /// The question about the refused plan of a database; `None` if there is no such plan, or
    /// it takes nothing away.
    pub(super) fn of_refused(
        database: &DatabaseConfig,
        enforced: &Enforced,
        without_hook: BTreeSet<u32>,
        now: Timestamp,
    ) -> Option<Self> {
        let refused = enforced.refused().filter(|refused| !refused.lost().is_empty())?;
        Some(Self {
            ports: database.ports.tcp().collect(),
            destinations: database.destinations.clone(),
            lost: refused.lost().to_vec(),
            without_hook,
            kept: [refused.kept().clone(), enforced.plain_prefixes(now).copied().collect()],
        })
    }

    /// The connections that are open now and would be cut. Takes 0.2 s for 100,000
    /// connections, and four seconds where the kernel does not answer.
    ///
    /// # Errors
    ///
    /// The kernel does not list its connections, or opens no socket for its routes.
    pub(super) fn run(&self) -> io::Result<Vec<LiveConnection>> {
        let mut live = from_elsewhere(established(&self.ports)?);
        let mut routes = Routes::open()?;
        live.retain(|connection| {
            self.destinations.include(connection.local.ip(), true)
                && !routes.lead_by(connection, &self.without_hook)
        });
        let kept: PrefixMap<()> = self.kept.iter().flat_map(|part| part.iter().copied()).collect();
        Ok(cut(&live, &self.lost, |address| kept.longest(address).is_some()))
    }
}

/// The connections whose peer is in a prefix that is lost and that nothing else keeps. Loopback
/// is never judged, and so never cut.
fn cut(
    connections: &[Connection],
    lost: &[Prefix],
    kept: impl Fn(IpAddr) -> bool,
) -> Vec<LiveConnection> {
    let lost: PrefixMap<()> = lost.iter().copied().collect();
    let cut = |connection: &Connection| {
        let peer = connection.peer.ip();
        let (prefix, ()) = lost.longest(peer)?;
        (!peer.is_loopback() && !kept(peer)).then(|| LiveConnection {
            peer: connection.peer.to_string(),
            port: connection.local.port(),
            source_prefix: prefix.to_string(),
        })
    };
    connections.iter().filter_map(cut).collect()
}

#[cfg(test)]
mod tests;
