//! The pinned maps, opened for writing by the agent or read-only by everyone else.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
};

use aya::maps::{Array, Map, MapData, MapError, PerCpuArray};
use dbfw_common::{
    BOUND_PORTS, BOUND4, BOUND6, BUDGET, Bound, Budget, Counted, Counter, DATABASE_SLOTS,
    DATABASES, Database, ENTRIES, ENTRY_IDS, EXEMPT, Entry, Exempt, FRONT4, FRONT6, Family, NETS4,
    NETS6, OWN4, OWN6, PORTS, RULE_STATS, RuleCounter, STATS, TRACE, Trace, stats_slot,
};
use dbfw_core::source::Prefix;

use crate::{
    databases::{DatabaseSlot, Ownership, addressed_ports, database_of},
    error::{DatapathError, map_io},
    keys::{BOUND_NETS, NETS, entry_of, family_of, prefix_of, word_of},
    mmap::Words,
    pins,
    shape::map_shapes,
    sys,
    trie::Tries,
};

/// Every map of the programs.
pub(crate) struct Maps {
    pub(crate) entries: Array<MapData, Entry>,
    pub(crate) nets: Tries<Entry>,
    pub(crate) databases: Array<MapData, Database>,
    pub(crate) stats: PerCpuArray<MapData, Counter>,
    pub(crate) rule_stats: PerCpuArray<MapData, RuleCounter>,
    pub(crate) budget: PerCpuArray<MapData, Budget>,
    pub(crate) trace: PerCpuArray<MapData, Trace>,
    pub(crate) exempt: Array<MapData, Exempt>,
    /// This host's own addresses, each with its routing domains.
    pub(crate) own: Tries<u32>,
    pub(crate) bound_ports: Array<MapData, u64>,
    /// The databases that are bound to addresses.
    pub(crate) bound: Tries<Bound>,
    /// The presence bits, by family.
    pub(crate) front: [Array<MapData, u64>; 2],
    /// Kernel ids by name, to recognise a pin that somebody replaced.
    pub(crate) ids: BTreeMap<&'static str, u32>,
    /// The descriptors by name, to pin again what somebody unlinked.
    pub(crate) fds: BTreeMap<&'static str, OwnedFd>,
}

impl std::fmt::Debug for Maps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Maps").field("ids", &self.ids).finish_non_exhaustive()
    }
}

impl Maps {
    /// Opens the maps pinned in `directory`, whose shapes must be this ABI's.
    ///
    /// # Errors
    /// A map is not pinned, may not be opened, or is not of this ABI.
    pub(crate) fn open(directory: &Path, read_only: bool) -> Result<Self, DatapathError> {
        let mut fds = BTreeMap::new();
        let mut ids = BTreeMap::new();
        for (name, shape) in map_shapes()? {
            let path = directory.join(name);
            let (fd, id) = pins::open_map(&path, read_only, &shape)?;
            ids.insert(name, id);
            fds.insert(name, fd);
        }
        Ok(Self {
            entries: typed(&fds, ENTRIES)?,
            nets: Tries::new(typed(&fds, NETS4)?, typed(&fds, NETS6)?),
            databases: typed(&fds, DATABASES)?,
            stats: typed(&fds, STATS)?,
            rule_stats: typed(&fds, RULE_STATS)?,
            budget: typed(&fds, BUDGET)?,
            trace: typed(&fds, TRACE)?,
            exempt: typed(&fds, EXEMPT)?,
            own: Tries::new(typed(&fds, OWN4)?, typed(&fds, OWN6)?),
            bound_ports: typed(&fds, BOUND_PORTS)?,
            bound: Tries::new(typed(&fds, BOUND4)?, typed(&fds, BOUND6)?),
            front: [typed(&fds, FRONT4)?, typed(&fds, FRONT6)?],
            ids,
            fds,
        })
    }

    /// Whether a program with these maps judges by ours, and by no other.
    pub(crate) fn are_those_of(&self, map_ids: &[u32]) -> bool {
        let has = |name: &str| self.ids.get(name).is_some_and(|id| map_ids.contains(id));
        has(PORTS) && has(DATABASES) && self.foreign(map_ids).is_none()
    }

    /// The first of a program's maps that is none of these.
    pub(crate) fn foreign(&self, map_ids: &[u32]) -> Option<u32> {
        // With aya-log the programs have two maps more, its ring buffer and its level.
        let ours = |id: &u32| cfg!(feature = "bpf-log") || self.ids.values().any(|own| own == id);
        map_ids.iter().copied().find(|id| !ours(id))
    }

    /// The descriptor of a map.
    ///
    /// # Errors
    /// There is no such map.
    pub(crate) fn fd(&self, name: &'static str) -> Result<BorrowedFd<'_>, DatapathError> {
        let fd = self.fds.get(name).ok_or_else(|| DatapathError::Object(name.to_owned()))?;
        Ok(fd.as_fd())
    }

    /// A descriptor of a map for a longer life than that of these.
    ///
    /// # Errors
    /// There is no such map, or no descriptor is left.
    pub(crate) fn owned_fd(&self, name: &'static str) -> Result<OwnedFd, DatapathError> {
        let fd = self.fd(name)?.try_clone_to_owned();
        fd.map_err(|error| DatapathError::map("open", name, error))
    }

    /// The words of a map as memory; not for maps opened read-only.
    ///
    /// # Errors
    /// The map cannot be mapped.
    pub(crate) fn words(&self, name: &'static str, len: u32) -> Result<Words, DatapathError> {
        Words::map(self.fd(name)?, len)
            .map_err(|error| DatapathError::map("map the memory of", name, error))
    }

    /// Calls `visit` with every prefix of a family's trie, and its value as the kernel stores it.
    ///
    /// # Errors
    /// The trie cannot be read, or `visit` fails.
    pub(crate) fn for_each_prefix<E: From<DatapathError>>(
        &self,
        trie: &'static str,
        family: Family,
        value_size: usize,
        visit: &mut impl FnMut(Prefix, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        // A length of 32 bits, and the address.
        let key_size = match family {
            Family::V4 => 8,
            Family::V6 => 20,
        };
        for_each_element(self.fd(trie)?, trie, key_size, value_size, &mut |key, value| {
            visit(prefix_of(family, key), value)
        })
    }

    /// Calls `visit` with every network of a family and its entry.
    ///
    /// # Errors
    /// The trie cannot be read, or `visit` fails.
    pub(crate) fn for_each_net<E: From<DatapathError>>(
        &self,
        family: Family,
        visit: &mut impl FnMut(Prefix, Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let (trie, value_size) = (NETS[family as usize], size_of::<Entry>());
        self.for_each_prefix(trie, family, value_size, &mut |prefix, value| {
            visit(prefix, entry_of(value))
        })
    }

    /// All of ENTRIES, by id.
    ///
    /// # Errors
    /// The map cannot be read.
    pub(crate) fn all_entries(&self) -> Result<Vec<Entry>, DatapathError> {
        let mut entries = Vec::with_capacity(ENTRY_IDS as usize);
        for_each_element(self.fd(ENTRIES)?, ENTRIES, 4, size_of::<Entry>(), &mut |_, value| {
            entries.push(entry_of(value));
            Ok::<(), DatapathError>(())
        })?;
        Ok(entries)
    }

    /// The entry of the longest prefix of the trie that covers `address`.
    ///
    /// # Errors
    /// The trie cannot be read.
    pub(crate) fn net(&self, address: IpAddr) -> Result<Option<Entry>, DatapathError> {
        let trie = NETS[family_of(address) as usize];
        self.nets.longest(address).map_err(|error| DatapathError::map("read", trie, error))
    }

    /// The databases of each port and address.
    ///
    /// # Errors
    /// A map cannot be read.
    pub(crate) fn ownership(&self) -> Result<Ownership, DatapathError> {
        let mut found = Ownership::none();
        found.ports.clear();
        for_each_element(self.fd(PORTS)?, PORTS, 4, 8, &mut |_, value| {
            let bytes = value.try_into().unwrap_or([0; 8]);
            found.ports.push(u64::from_ne_bytes(bytes));
            Ok::<(), DatapathError>(())
        })?;
        for index in addressed_ports(&found.ports) {
            let mask = self.bound_ports.get(&index, 0);
            let mask = mask.map_err(|error| read_error(BOUND_PORTS, error))?;
            found.bound_ports.insert(index, mask);
        }
        for (family, trie) in Family::ALL.into_iter().zip(BOUND_NETS) {
            self.for_each_prefix(trie, family, size_of::<Bound>(), &mut |prefix, value| {
                let mask = Bound { databases: [word_of(value, 0), word_of(value, 1)] }.mask();
                found.bound.insert(prefix, mask);
                Ok::<(), DatapathError>(())
            })?;
        }
        Ok(found)
    }

    /// Every database the maps know, with its ports and destinations.
    ///
    /// # Errors
    /// A map cannot be read.
    pub(crate) fn all_databases(&self) -> Result<Vec<DatabaseSlot>, DatapathError> {
        let mut known = self.ownership()?.by_database();
        let mut found = Vec::new();
        for id in 1..DATABASE_SLOTS {
            let slot = self.database(id)?;
            found.extend(database_of(id as u8, &slot, known.remove(&id).unwrap_or_default()));
        }
        Ok(found)
    }

    /// One counter of STATS, summed over the CPUs.
    ///
    /// # Errors
    /// The map cannot be read.
    pub(crate) fn counter(
        &self,
        database: u32,
        family: Family,
        counted: Counted,
    ) -> Result<Counter, DatapathError> {
        let values = self
            .stats
            .get(&stats_slot(database, family, counted), 0)
            .map_err(|error| read_error(STATS, error))?;
        Ok(values.iter().fold(Counter::default(), |sum, value| Counter {
            packets: sum.packets.wrapping_add(value.packets),
            bytes: sum.bytes.wrapping_add(value.bytes),
        }))
    }

    /// One counter of RULE_STATS, summed over the CPUs; the last hit is the latest.
    ///
    /// # Errors
    /// The map cannot be read.
    pub(crate) fn rule_counter(&self, slot: u32) -> Result<RuleCounter, DatapathError> {
        let values =
            self.rule_stats.get(&slot, 0).map_err(|error| read_error(RULE_STATS, error))?;
        Ok(values.iter().fold(RuleCounter::default(), |sum, value| RuleCounter {
            packets: sum.packets.wrapping_add(value.packets),
            last_hit: sum.last_hit.max(value.last_hit),
        }))
    }

    /// A slot of DATABASES.
    ///
    /// # Errors
    /// The map cannot be read.
    pub(crate) fn database(&self, id: u32) -> Result<Database, DatapathError> {
        self.databases.get(&id, 0).map_err(|error| read_error(DATABASES, error))
    }
}

/// The error of reading `map`.
pub(crate) fn read_error(map: &'static str, error: MapError) -> DatapathError {
    DatapathError::map("read", map, map_io(error))
}

/// Calls `visit` with every key and value of `map`, which is called `name`, read many at a time.
///
/// # Errors
/// The map cannot be read, or `visit` fails.
pub(crate) fn for_each_element<E: From<DatapathError>>(
    map: BorrowedFd<'_>,
    name: &'static str,
    key_size: usize,
    value_size: usize,
    visit: &mut impl FnMut(&[u8], &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    const BATCH: usize = 4_096;
    let (mut keys, mut values) = (vec![0; BATCH * key_size], vec![0; BATCH * value_size]);
    let mut position = sys::Position::default();
    while !position.done {
        let count = sys::lookup_batch(map, &mut position, key_size, &mut keys, &mut values)
            .map_err(|error| DatapathError::map("read", name, error))?;
        let keys = keys.chunks_exact(key_size).take(count);
        for (key, value) in keys.zip(values.chunks_exact(value_size)) {
            visit(key, value)?;
        }
    }
    Ok(())
}

/// The map called `name`, as its type.
///
/// # Errors
/// There is no such map, or it is of another type.
pub(crate) fn typed<T>(
    fds: &BTreeMap<&'static str, OwnedFd>,
    name: &'static str,
) -> Result<T, DatapathError>
where
    T: TryFrom<Map, Error = MapError>,
{
    let open = || {
        let fd = fds.get(name).ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound))?;
        let fd = fd.try_clone()?;
        let data = MapData::from_fd(fd).map_err(map_io)?;
        T::try_from(Map::from_map_data(data).map_err(map_io)?).map_err(map_io)
    };
    open().map_err(|error| DatapathError::map("open", name, error))
}
