//! The pinned maps, opened for writing by the agent or read-only by everyone else.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
};

use aya::maps::{Array, LpmTrie, Map, MapData, PerCpuArray, lpm_trie::Key};
use dbfw_common::{
    Budget, Counted, Counter, DATABASES, Database, ENTRIES, ENTRY_IDS, Entry, Exempt, Family, MAPS,
    NETS4, NETS6, RULE_STATS, RuleCounter, STATS, Trace, stats_slot,
};
use dbfw_core::source::Prefix;

use crate::{
    error::{DatapathError, map_io},
    keys::{entry_of, key4, key6, prefix_of},
    mmap::{WordReader, Words},
    shape::map_shapes,
    sys,
};

/// Every map of the programs.
pub(crate) struct Maps {
    pub(crate) entries: Array<MapData, Entry>,
    pub(crate) nets4: LpmTrie<MapData, u32, Entry>,
    pub(crate) nets6: LpmTrie<MapData, [u32; 4], Entry>,
    pub(crate) databases: Array<MapData, Database>,
    pub(crate) stats: PerCpuArray<MapData, Counter>,
    pub(crate) rule_stats: PerCpuArray<MapData, RuleCounter>,
    pub(crate) budget: PerCpuArray<MapData, Budget>,
    pub(crate) trace: PerCpuArray<MapData, Trace>,
    pub(crate) exempt: Array<MapData, Exempt>,
    pub(crate) own4: LpmTrie<MapData, u32, u32>,
    pub(crate) own6: LpmTrie<MapData, [u32; 4], u32>,
    pub(crate) ports: WordReader,
    pub(crate) front4: WordReader,
    pub(crate) front6: WordReader,
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
        let shapes = map_shapes()?;
        let mut fds = BTreeMap::new();
        let mut ids = BTreeMap::new();
        for name in MAPS {
            let path = directory.join(name);
            // The ring buffer's consumer position lives in memory its reader writes.
            let fd = sys::obj_get(&path, read_only)
                .map_err(|error| DatapathError::pin("open", &path, error))?;
            let info = sys::map_info(fd.as_fd())
                .map_err(|error| DatapathError::pin("inspect", &path, error))?;
            let expected = shapes.get(name).copied();
            if expected.is_none_or(|expected| sys::MapInfo { id: info.id, ..expected } != info) {
                return Err(DatapathError::WrongPin {
                    path,
                    found: format!("type {}", info.map_type),
                    expected: "this version's map".to_owned(),
                });
            }
            ids.insert(name, info.id);
            fds.insert(name, fd);
        }
        Ok(Self {
            entries: typed(&fds, ENTRIES)?,
            nets4: typed(&fds, NETS4)?,
            nets6: typed(&fds, NETS6)?,
            databases: typed(&fds, DATABASES)?,
            stats: typed(&fds, STATS)?,
            rule_stats: typed(&fds, RULE_STATS)?,
            budget: typed(&fds, dbfw_common::BUDGET)?,
            trace: typed(&fds, dbfw_common::TRACE)?,
            exempt: typed(&fds, dbfw_common::EXEMPT)?,
            own4: typed(&fds, dbfw_common::OWN4)?,
            own6: typed(&fds, dbfw_common::OWN6)?,
            ports: WordReader::new(typed(&fds, dbfw_common::PORTS)?),
            front4: WordReader::new(typed(&fds, dbfw_common::FRONT4)?),
            front6: WordReader::new(typed(&fds, dbfw_common::FRONT6)?),
            ids,
            fds,
        })
    }

    /// The first of a program's maps that is none of these.
    pub(crate) fn foreign(&self, map_ids: &[u32]) -> Option<u32> {
        // With aya-log the programs have two maps more, its ring buffer and its level.
        let ours = |id: &u32| cfg!(feature = "bpf-log") || self.ids.values().any(|own| own == id);
        map_ids.iter().copied().find(|id| !ours(id))
    }

    /// A descriptor of a map.
    ///
    /// # Errors
    /// There is no such map, or no descriptor is left.
    pub(crate) fn fd(&self, name: &'static str) -> Result<OwnedFd, DatapathError> {
        let fd = self.fds.get(name).ok_or_else(|| DatapathError::Object(name.to_owned()))?;
        fd.try_clone().map_err(|error| DatapathError::map("open", name, error))
    }

    /// The words of PORTS as memory; not for maps opened read-only.
    ///
    /// # Errors
    /// The map cannot be mapped.
    pub(crate) fn words(&self, name: &'static str, len: u32) -> Result<Words, DatapathError> {
        let map = self.fds.get(name).ok_or_else(|| DatapathError::Object(name.to_owned()))?;
        Words::map(map.as_fd(), len)
            .map_err(|error| DatapathError::map("map the memory of", name, error))
    }

    /// Calls `visit` with every entry of a family's trie.
    ///
    /// # Errors
    /// The trie cannot be read, or `visit` fails.
    pub(crate) fn for_each_net<E: From<DatapathError>>(
        &self,
        family: Family,
        visit: &mut impl FnMut(Prefix, Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let (name, key_size) = match family {
            Family::V4 => (NETS4, 8),
            Family::V6 => (NETS6, 20),
        };
        let Some(map) = self.fds.get(name) else { return Ok(()) };
        self.for_each_in(map.as_fd(), name, key_size, size_of::<Entry>(), &mut |key, value| {
            visit(prefix_of(family, key), entry_of(value))
        })
    }

    /// All of ENTRIES, by id.
    ///
    /// # Errors
    /// The map cannot be read.
    pub(crate) fn all_entries(&self) -> Result<Vec<Entry>, DatapathError> {
        let mut entries = Vec::with_capacity(ENTRY_IDS as usize);
        let Some(map) = self.fds.get(ENTRIES) else { return Ok(entries) };
        self.for_each_in(map.as_fd(), ENTRIES, 4, size_of::<Entry>(), &mut |_, value| {
            entries.push(entry_of(value));
            Ok::<(), DatapathError>(())
        })?;
        Ok(entries)
    }

    /// Calls `visit` with every key and value of a map, read many at a time.
    ///
    /// # Errors
    /// The map cannot be read, or `visit` fails.
    pub(crate) fn for_each_in<E: From<DatapathError>>(
        &self,
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

    /// The entry of the longest prefix of the trie that covers `address`.
    ///
    /// # Errors
    /// The trie cannot be read.
    pub(crate) fn net(&self, address: IpAddr) -> Result<Option<Entry>, DatapathError> {
        match address {
            IpAddr::V4(_) => found(self.nets4.get(&Key::new(32, key4(address)), 0), NETS4),
            IpAddr::V6(_) => found(self.nets6.get(&Key::new(128, key6(address)), 0), NETS6),
        }
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
            .map_err(|error| read_error(STATS, &error))?;
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
            self.rule_stats.get(&slot, 0).map_err(|error| read_error(RULE_STATS, &error))?;
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
        self.databases.get(&id, 0).map_err(|error| read_error(DATABASES, &error))
    }
}

/// The error of reading `map`.
pub(crate) fn read_error(map: &'static str, error: &aya::maps::MapError) -> DatapathError {
    DatapathError::map("read", map, map_io(error))
}

fn found<T>(
    result: Result<T, aya::maps::MapError>,
    map: &'static str,
) -> Result<Option<T>, DatapathError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(aya::maps::MapError::KeyNotFound) => Ok(None),
        Err(error) if map_io(&error).raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(read_error(map, &error)),
    }
}

fn typed<T>(fds: &BTreeMap<&'static str, OwnedFd>, name: &'static str) -> Result<T, DatapathError>
where
    T: TryFrom<Map, Error = aya::maps::MapError>,
{
    let open = || {
        let fd = fds.get(name).ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound))?;
        let fd = fd.try_clone()?;
        let data = MapData::from_fd(fd).map_err(|error| map_io(&error))?;
        let map = Map::from_map_data(data).map_err(|error| map_io(&error))?;
        T::try_from(map).map_err(|error| map_io(&error))
    };
    open().map_err(|error| DatapathError::map("open", name, error))
}
