//! Values of a scrape, read from the maps and the policy.

use std::collections::BTreeMap;

use dbfw_common::{Family, HOST, HOSTS4, HOSTS6, MAX_HOSTS, MAX_NETS};

use super::status::View;
use crate::{
    datapath::DatapathError,
    metrics::{InterfaceScrape, MapFill, PacketCounters, PrefixCount, Scrape, SyncCounters},
    traffic::drops::NO_DATABASE,
};

/// Everything a scrape shows. What cannot be read shows as `dbfw_up 0`.
pub fn scrape(
    view: &View<'_>,
    interfaces: Vec<InterfaceScrape>,
    sync: SyncCounters,
    reload_ok: bool,
) -> Scrape {
    let mut scrape = Scrape {
        version: crate::version().to_owned(),
        revision: crate::revision().to_owned(),
        up: false,
        interfaces,
        sync,
        reload_ok,
        ..Scrape::default()
    };
    match read_counters(view) {
        Ok((packets, prefixes, maps)) => {
            scrape.up = true;
            scrape.packets = packets;
            scrape.prefixes = prefixes;
            scrape.maps = maps;
        }
        Err(error) => tracing::error!(%error, "the counters cannot be read"),
    }
    scrape
}

type Counters = (Vec<PacketCounters>, Vec<PrefixCount>, Vec<MapFill>);

fn read_counters(view: &View<'_>) -> Result<Counters, DatapathError> {
    let databases = view.reader.databases()?;
    let mut packets = Vec::new();
    let host = [(HOST as u8, NO_DATABASE.to_owned())];
    let named = databases.iter().map(|database| (database.id, database.name.clone()));
    for (id, name) in host.into_iter().chain(named) {
        let mut totals = BTreeMap::new();
        for family in Family::ALL {
            totals.insert(family, view.reader.totals(id, family)?);
        }
        packets.push(PacketCounters::new(name, |family, counted| {
            totals.get(&family).map(|totals| totals.get(counted)).unwrap_or_default()
        }));
    }
    let prefixes = databases
        .iter()
        .map(|database| PrefixCount {
            database: database.name.clone(),
            prefixes: Family::ALL.map(|family| view.policy.prefixes(database.id, family)),
        })
        .collect();
    let counted;
    let sizes = match view.sizes {
        Some(sizes) => sizes,
        None => {
            counted = view.reader.sizes()?;
            &counted
        }
    };
    let maps = sizes
        .iter()
        .map(|(map, entries)| MapFill {
            map: (*map).to_owned(),
            entries: *entries,
            max_entries: u64::from(if matches!(*map, HOSTS4 | HOSTS6) {
                MAX_HOSTS
            } else {
                MAX_NETS
            }),
        })
        .collect();
    Ok((packets, prefixes, maps))
}
