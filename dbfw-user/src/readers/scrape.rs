//! Values of a scrape, read from the maps and the policy.

use dbfw_common::{Family, HOST};
use dbfw_datapath::DatapathError;
use dbfw_wire::control::InterfaceStatus;

use super::status::View;
use crate::{
    metrics::{DatabaseScrape, PacketCounters, Scrape, SyncCounters},
    traffic::drops::NO_DATABASE,
};

/// Everything a scrape shows, and whether the counters could be read: if not, that shows as
/// `dbfw_up 0`.
pub fn scrape(
    view: &View<'_>,
    interfaces: Vec<InterfaceStatus>,
    sync: SyncCounters,
    reload_ok: bool,
) -> (Scrape, Result<(), DatapathError>) {
    let mut scrape = Scrape {
        version: crate::version().to_owned(),
        revision: crate::revision().to_owned(),
        interfaces,
        sync,
        reload_ok,
        ..Scrape::default()
    };
    let read = read_counters(view, &mut scrape);
    scrape.up = read.is_ok();
    (scrape, read)
}

fn read_counters(view: &View<'_>, scrape: &mut Scrape) -> Result<(), DatapathError> {
    let databases = view.reader.databases()?;
    let mut packets = Vec::new();
    let host = [(HOST as u8, NO_DATABASE.to_owned())];
    let named = databases.iter().map(|database| (database.id, database.name.clone()));
    for (id, database) in host.into_iter().chain(named) {
        let [v4, v6] = Family::ALL.map(|family| view.reader.totals(id, family));
        packets.push(PacketCounters { database, totals: [v4?, v6?] });
    }
    scrape.maps = match view.sizes {
        Some(sizes) => sizes.clone(),
        None => view.reader.sizes()?,
    };
    scrape.packets = packets;
    scrape.databases = databases
        .into_iter()
        .map(|database| DatabaseScrape {
            prefixes: Family::ALL.map(|family| view.policy.prefixes(database.id, family)),
            mode: database.mode,
            name: database.name,
        })
        .collect();
    Ok(())
}
