//! Values of a scrape, read from the maps and the policy.

use dbfw_common::{Family, HOST, HOSTS4, HOSTS6, MAX_HOSTS, MAX_NETS};
use dbfw_datapath::DatapathError;
use dbfw_wire::control::InterfaceStatus;

use super::status::View;
use crate::{
    metrics::{DatabaseScrape, MapFill, PacketCounters, Scrape, SyncCounters},
    traffic::drops::NO_DATABASE,
};

/// Everything a scrape shows. What cannot be read shows as `dbfw_up 0`.
pub fn scrape(
    view: &View<'_>,
    interfaces: Vec<InterfaceStatus>,
    sync: SyncCounters,
    reload_ok: bool,
) -> Scrape {
    let mut scrape = Scrape {
        version: crate::version().to_owned(),
        revision: crate::revision().to_owned(),
        interfaces,
        sync,
        reload_ok,
        ..Scrape::default()
    };
    match read_counters(view, &mut scrape) {
        Ok(()) => scrape.up = true,
        Err(error) => tracing::error!(%error, "the counters cannot be read"),
    }
    scrape
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
    let counted;
    let sizes = match view.sizes {
        Some(sizes) => sizes,
        None => {
            counted = view.reader.sizes()?;
            &counted
        }
    };
    let max = |map| if matches!(map, HOSTS4 | HOSTS6) { MAX_HOSTS } else { MAX_NETS };
    let fill = |(map, entries): (&&'static str, &u64)| MapFill {
        map: (*map).to_owned(),
        entries: *entries,
        max_entries: max(*map).into(),
    };
    scrape.maps = sizes.iter().map(fill).collect();
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
