//! Databases, their ports and their destinations, as the maps hold them.

use std::collections::BTreeMap;

use dbfw_common::{
    BOUND_TO_ADDRESSES, BOUND_TO_LOCAL, Database, FLAG_ALL_BOUND, FLAG_ANY_LOCAL, HOST,
    MAX_DATABASES, MAX_NAME, Mode, PORT_WORDS, port_index, port_slot,
};
use dbfw_core::{
    Destinations, Port, Ports,
    source::{Prefix, PrefixMap},
};

/// A database as the kernel knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseSlot {
    /// 1..=64.
    pub id: u8,
    /// At most [`MAX_NAME`] bytes.
    pub name: String,
    /// The treatment of packets from untrusted sources.
    pub mode: Mode,
    /// Protected ports.
    pub ports: Ports,
    /// The destinations whose packets are judged. No two databases of a port overlap.
    pub destinations: Destinations,
}

impl DatabaseSlot {
    /// Whether a packet may be one of both by its port and destination.
    pub fn meets(&self, other: &Self) -> bool {
        self.ports.overlap(&other.ports) && self.destinations.overlap(&other.destinations)
    }
}

/// The bit of a database's id in a mask; 0 for [`HOST`].
pub(crate) fn bit(id: u32) -> u64 {
    if (1..=MAX_DATABASES).contains(&id) { 1 << (id - 1) } else { 0 }
}

/// The mask of the databases that are not bound to written-out addresses alone.
pub(crate) fn not_addressed(databases: &[DatabaseSlot]) -> u64 {
    let others = databases
        .iter()
        .filter(|database| database.destinations.is_every() || database.destinations.has_local());
    others.fold(0, |mask, database| mask | bit(u32::from(database.id)))
}

/// The slots of DATABASES that are in use.
pub(crate) fn database_slots(
    databases: &[DatabaseSlot],
    flags: u32,
    backstop: bool,
) -> BTreeMap<u32, Database> {
    let strictest = databases.iter().map(|database| database.mode).max();
    let mut judging = databases.iter().filter(|database| database.mode != Mode::Off);
    let mut flags = flags;
    let is_bound = |database: &DatabaseSlot| {
        !database.destinations.is_every() && (backstop || !database.destinations.has_local())
    };
    if judging.clone().all(is_bound) {
        flags |= FLAG_ALL_BOUND;
    }
    if judging.any(|database| database.destinations.has_local()) {
        flags |= FLAG_ANY_LOCAL;
    }
    let mut slots = BTreeMap::from([(
        HOST,
        Database { mode: strictest.unwrap_or(Mode::Off) as u32, flags, name: [0; MAX_NAME] },
    )]);
    for database in databases {
        let mut name = [0; MAX_NAME];
        let bytes = database.name.as_bytes();
        let len = bytes.len().min(MAX_NAME);
        name[..len].copy_from_slice(&bytes[..len]);
        slots.insert(
            u32::from(database.id),
            Database { mode: database.mode as u32, flags: 0, name },
        );
    }
    slots
}

/// The databases of each port and address, as PORTS, BOUND_PORTS, BOUND4 and BOUND6 hold them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ownership {
    /// The words of PORTS.
    pub(crate) ports: Vec<u64>,
    /// The words of BOUND_PORTS that are not 0, by their index.
    pub(crate) bound_ports: BTreeMap<u32, u64>,
    /// The values of BOUND4 and BOUND6.
    pub(crate) bound: BTreeMap<Prefix, u64>,
}

impl Ownership {
    /// That of nobody.
    pub(crate) fn none() -> Self {
        Self {
            ports: vec![0; PORT_WORDS as usize],
            bound_ports: BTreeMap::new(),
            bound: BTreeMap::new(),
        }
    }

    /// That of these databases, whatever their modes. Unless a `backstop` judges what the hooks pass,
    /// databases that are bound to this host's own addresses judge every destination: the hooks
    /// learn of an address only after it came up.
    pub(crate) fn of(databases: &[DatabaseSlot], backstop: bool) -> Self {
        let mut all = Self::none();
        let mut bound = BTreeMap::<Prefix, u64>::new();
        for database in databases {
            let (id, destinations) = (u32::from(database.id), &database.destinations);
            let is_addressed = !destinations.is_every() && !destinations.has_local();
            let named = if is_addressed {
                BOUND_TO_ADDRESSES
            } else if destinations.has_local() && backstop {
                id + BOUND_TO_LOCAL
            } else {
                id
            };
            for port in database.ports.iter() {
                all.name(port, named);
                if is_addressed {
                    let index = port_index(port.udp, port.port);
                    *all.bound_ports.entry(index).or_default() |= bit(id);
                }
            }
            for prefix in destinations.prefixes() {
                *bound.entry(*prefix).or_default() |= bit(id);
            }
        }
        all.bound = inherited(bound);
        all
    }

    fn name(&mut self, port: Port, named: u32) {
        let (word, byte) = port_slot(port.udp, port.port);
        let word = &mut self.ports[word as usize];
        *word &= !(0xff << (byte * 8));
        *word |= u64::from(named) << (byte * 8);
    }

    /// This one without what is nobody's in `after`: ports, and databases of a port or address,
    /// except those of the mask `kept`.
    pub(crate) fn without_gone(&self, after: &Self, kept: u64) -> Self {
        let ports = self.ports.iter().zip(&after.ports);
        let of = |map: &BTreeMap<u32, u64>, key| map.get(key).copied().unwrap_or(0);
        // A prefix that only the other has is part of a wider one here.
        let widest: PrefixMap<u64> = self.bound.iter().map(|(at, mask)| (*at, *mask)).collect();
        let after_widest: PrefixMap<u64> =
            after.bound.iter().map(|(at, mask)| (*at, *mask)).collect();
        let mask =
            |map: &PrefixMap<u64>, at: &Prefix| map.covering(at).map_or(0, |(_, mask)| *mask);
        let prefixes = self.bound.keys().chain(after.bound.keys());
        Self {
            ports: ports.map(|(before, after)| still_protected(*before, *after)).collect(),
            bound_ports: self
                .bound_ports
                .iter()
                .map(|(index, mask)| (*index, mask & (of(&after.bound_ports, index) | kept)))
                .filter(|(_, mask)| *mask != 0)
                .collect(),
            bound: prefixes
                .map(|at| (*at, mask(&widest, at) & (mask(&after_widest, at) | kept)))
                .collect(),
        }
    }

    /// The prefixes of both, each with the databases of either.
    pub(crate) fn bound_with(&self, other: &Self) -> BTreeMap<Prefix, u64> {
        let mut both = self.bound.clone();
        for (prefix, mask) in &other.bound {
            *both.entry(*prefix).or_default() |= mask;
        }
        inherited(both)
    }

    /// The ports and destinations of each database, by its id.
    pub(crate) fn by_database(&self) -> BTreeMap<u32, (Ports, Destinations)> {
        let mut ports: BTreeMap<u32, Vec<Port>> = BTreeMap::new();
        let (mut local, mut every) = (0, 0);
        for (word, ids) in (0u32..).zip(&self.ports).filter(|(_, ids)| **ids != 0) {
            for (byte, named) in (0u32..).zip(ids.to_le_bytes()).filter(|(_, named)| *named != 0) {
                let index = word * 8 + byte;
                let port = Port { udp: index >> 16 != 0, port: index as u16 };
                match u32::from(named) {
                    BOUND_TO_ADDRESSES => {
                        let mask = self.bound_ports.get(&index).copied().unwrap_or(0);
                        let of_port = (1..=MAX_DATABASES).filter(|id| mask & bit(*id) != 0);
                        of_port.for_each(|id| ports.entry(id).or_default().push(port));
                    }
                    named if named > BOUND_TO_LOCAL => {
                        local |= bit(named - BOUND_TO_LOCAL);
                        ports.entry(named - BOUND_TO_LOCAL).or_default().push(port);
                    }
                    id => {
                        every |= bit(id);
                        ports.entry(id).or_default().push(port);
                    }
                }
            }
        }
        ports
            .into_iter()
            .map(|(id, ports)| {
                let of_it = |mask: &u64| mask & !every & bit(id) != 0;
                let bound = self.bound.iter().filter(|(_, mask)| of_it(mask));
                let prefixes = bound.map(|(prefix, _)| *prefix).collect();
                let is_local = local & bit(id) != 0;
                (id, (ports.into_iter().collect(), Destinations::new(is_local, prefixes)))
            })
            .collect()
    }
}

/// The same prefixes, each with the databases of those around it as well: the kernel finds the
/// longest only.
fn inherited(prefixes: BTreeMap<Prefix, u64>) -> BTreeMap<Prefix, u64> {
    let mut around: Vec<(Prefix, u64)> = Vec::new();
    // A prefix sorts before those inside it.
    prefixes
        .into_iter()
        .map(|(prefix, mask)| {
            while around.last().is_some_and(|(outer, _)| !outer.covers(&prefix)) {
                around.pop();
            }
            let mask = mask | around.last().map_or(0, |(_, mask)| *mask);
            around.push((prefix, mask));
            (prefix, mask)
        })
        .collect()
}

/// `before` without the bytes that are zero in `after`.
fn still_protected(before: u64, after: u64) -> u64 {
    let mut kept = before.to_le_bytes();
    for (kept, after) in kept.iter_mut().zip(after.to_le_bytes()) {
        if after == 0 {
            *kept = 0;
        }
    }
    u64::from_le_bytes(kept)
}

/// The indexes of BOUND_PORTS whose port PORTS leaves to the destination.
pub(crate) fn addressed_ports(ports: &[u64]) -> impl Iterator<Item = u32> {
    (0..).zip(ports).filter(|(_, ids)| **ids != 0).flat_map(|(word, ids)| {
        let named = (0..).zip(ids.to_le_bytes());
        let addressed = named.filter(|(_, named)| u32::from(*named) == BOUND_TO_ADDRESSES);
        addressed.map(move |(byte, _)| word * 8 + byte)
    })
}

/// The database in a slot of DATABASES; `None` if the slot is free.
pub(crate) fn database_of(
    id: u8,
    slot: &Database,
    (ports, destinations): (Ports, Destinations),
) -> Option<DatabaseSlot> {
    let name = name_of(slot);
    let mode = Mode::from_u8(slot.mode as u8).unwrap_or(Mode::Off);
    (!name.is_empty()).then_some(DatabaseSlot { id, name, mode, ports, destinations })
}

/// The name in a slot of DATABASES; empty if the slot is free.
pub(crate) fn name_of(database: &Database) -> String {
    let len = database.name.iter().position(|&byte| byte == 0).unwrap_or(MAX_NAME);
    String::from_utf8_lossy(&database.name[..len]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(id: u8, mode: Mode, ports: &[&str], to: &[&str]) -> DatabaseSlot {
        let prefixes = to.iter().filter(|text| **text != "local");
        DatabaseSlot {
            id,
            name: format!("database-{id}"),
            mode,
            ports: ports.iter().map(|text| text.parse::<Port>().unwrap()).collect(),
            destinations: Destinations::new(
                to.contains(&"local"),
                prefixes.map(|text| text.parse().unwrap()).collect(),
            ),
        }
    }

    fn mask_at(ownership: &Ownership, address: &str) -> u64 {
        let address: Prefix = address.parse().unwrap();
        let around = ownership.bound.iter().filter(|(prefix, _)| prefix.covers(&address));
        around.max_by_key(|(prefix, _)| prefix.len()).map_or(0, |(_, mask)| *mask)
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut longest = slot(64, Mode::Enforce, &["tcp/65535", "udp/1"], &["local", "10.0.0.1"]);
        longest.name = "b".repeat(MAX_NAME);
        let databases = [
            slot(1, Mode::Observe, &["udp/1234", "tcp/65534"], &[]),
            slot(2, Mode::Off, &["tcp/7", "udp/7"], &["10.0.0.1", "2001:db8::/32"]),
            slot(3, Mode::Enforce, &["tcp/7", "tcp/8"], &["10.0.0.0/30"]),
            longest,
        ];
        let slots = database_slots(&databases, 0, true);
        assert_eq!(slots[&HOST].mode, Mode::Enforce as u32);
        let mut known = Ownership::of(&databases, true).by_database();
        for database in databases {
            let id = u32::from(database.id);
            let found = database_of(database.id, &slots[&id], known.remove(&id).unwrap());
            assert_eq!(found, Some(database));
        }
        assert!(known.is_empty());
    }

    #[test]
    fn without_a_backstop_local_is_every_address() {
        let databases = [
            slot(1, Mode::Enforce, &["tcp/1"], &["local", "10.0.0.1"]),
            slot(2, Mode::Enforce, &["tcp/2"], &["10.0.0.2"]),
        ];
        let known = Ownership::of(&databases, false).by_database();
        assert!(known[&1].1.is_every() && !known[&2].1.is_every());
        assert_eq!(database_slots(&databases, 0, false)[&HOST].flags & FLAG_ALL_BOUND, 0);
    }

    #[test]
    fn the_host_is_bound_if_every_database_that_judges_is() {
        let flags = |databases: &[DatabaseSlot]| database_slots(databases, 0, true)[&HOST].flags;
        let local = slot(1, Mode::Enforce, &["tcp/1"], &["local"]);
        let addressed = slot(2, Mode::Observe, &["tcp/2"], &["10.0.0.1"]);
        let every = slot(3, Mode::Enforce, &["tcp/3"], &[]);
        assert_eq!(flags(&[local.clone(), addressed.clone()]), FLAG_ALL_BOUND | FLAG_ANY_LOCAL);
        assert_eq!(flags(std::slice::from_ref(&addressed)), FLAG_ALL_BOUND);
        assert_eq!(flags(&[local.clone(), every.clone()]), FLAG_ANY_LOCAL);
        assert_eq!(flags(&[local, DatabaseSlot { mode: Mode::Off, ..every }]), 3 << 1);
    }

    #[test]
    fn an_address_in_several_networks_is_of_the_databases_of_all() {
        let all = Ownership::of(
            &[
                slot(1, Mode::Enforce, &["tcp/1"], &["10.0.0.0/8"]),
                slot(2, Mode::Enforce, &["tcp/2"], &["10.1.0.0/16", "192.0.2.1"]),
                slot(3, Mode::Enforce, &["tcp/3"], &["10.1.2.3", "10.2.0.0/16"]),
            ],
            true,
        );
        for (address, mask) in [
            ("10.0.0.1", 0b1),
            ("10.1.0.1", 0b11),
            ("10.1.2.3", 0b111),
            ("10.2.0.1", 0b101),
            ("192.0.2.1", 0b10),
            ("192.0.2.2", 0),
        ] {
            assert_eq!(mask_at(&all, address), mask, "{address}");
        }
    }

    #[test]
    fn what_stays_is_kept_while_others_go() {
        assert_eq!(still_protected(0x0201, 0x0003), 0x0001);
        assert_eq!(still_protected(0, u64::MAX), 0);

        let before = Ownership::of(
            &[
                slot(1, Mode::Enforce, &["tcp/1", "tcp/2"], &["10.0.0.0/8"]),
                slot(2, Mode::Enforce, &["tcp/1"], &["192.0.2.1", "192.0.2.2"]),
            ],
            true,
        );
        let after = Ownership::of(&[slot(1, Mode::Enforce, &["tcp/1"], &["10.1.0.0/16"])], true);
        let narrowed = before.without_gone(&after, 0);
        assert_eq!(narrowed.bound_ports, BTreeMap::from([(1, 0b1)]));
        for (address, mask) in [("10.1.0.1", 0b1), ("10.2.0.1", 0), ("192.0.2.1", 0)] {
            assert_eq!(mask_at(&narrowed, address), mask, "{address}");
        }
        // One that will judge every destination, or all local ones, judges what it has until then.
        for to in [&[][..], &["local"]] {
            let every = [slot(1, Mode::Enforce, &["tcp/1"], to)];
            let kept = before.without_gone(&Ownership::of(&every, true), not_addressed(&every));
            assert_eq!(kept.bound_ports, BTreeMap::from([(1, 0b1), (2, 0b1)]));
            assert_eq!((mask_at(&kept, "10.2.0.1"), mask_at(&kept, "192.0.2.1")), (0b1, 0));
        }
        let moving = before.without_gone(&after, 0b10);
        assert_eq!(moving.bound_ports, BTreeMap::from([(1, 0b11)]));
        assert_eq!(mask_at(&moving, "192.0.2.1"), 0b10);
    }
}
