//! The pinned maps, opened for writing by the agent or read-only by everyone else.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
};

use aya::maps::{Array, LpmTrie, Map, MapData, PerCpuArray, lpm_trie::Key};
use dbfw_common::{
    Budget, Counted, Counter, DATABASES, Database, ENTRIES, Entry, Exempt, Family, MAPS, NETS4,
    NETS6, RULE_STATS, RuleCounter, STATS, Trace, stats_slot,
};

use super::{
    error::{DatapathError, map_io},
    object::map_shapes,
    sys,
    words::{WordReader, Words},
};
use crate::source::Prefix;

/// Every map of the programs.
pub(super) struct Maps {
    pub(super) entries: Array<MapData, Entry>,
    pub(super) nets4: LpmTrie<MapData, u32, Entry>,
    pub(super) nets6: LpmTrie<MapData, [u32; 4], Entry>,
    pub(super) databases: Array<MapData, Database>,
    pub(super) stats: PerCpuArray<MapData, Counter>,
    pub(super) rule_stats: PerCpuArray<MapData, RuleCounter>,
    pub(super) budget: PerCpuArray<MapData, Budget>,
    pub(super) trace: PerCpuArray<MapData, Trace>,
    pub(super) exempt: Array<MapData, Exempt>,
    pub(super) own4: LpmTrie<MapData, u32, u32>,
    pub(super) own6: LpmTrie<MapData, [u32; 4], u32>,
    pub(super) ports: WordReader,
    pub(super) front4: WordReader,
    pub(super) front6: WordReader,
    /// Kernel ids by name, to recognise a pin that somebody replaced.
    pub(super) ids: BTreeMap<&'static str, u32>,
    /// The descriptors by name, to pin again what somebody unlinked.
    pub(super) fds: BTreeMap<&'static str, OwnedFd>,
}

impl std::fmt::Debug for Maps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Maps").field("ids", &self.ids).finish_non_exhaustive()
    }
}

impl Maps {
    /// Opens the maps pinned in `directory`, whose shapes must be this ABI's.
    pub(super) fn open(directory: &Path, read_only: bool) -> Result<Self, DatapathError> {
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
    pub(super) fn foreign(&self, map_ids: &[u32]) -> Option<u32> {
        // With aya-log the programs have two maps more, its ring buffer and its level.
        let ours = |id: &u32| cfg!(feature = "bpf-log") || self.ids.values().any(|own| own == id);
        map_ids.iter().copied().find(|id| !ours(id))
    }

    /// A descriptor of a map.
    pub(super) fn fd(&self, name: &'static str) -> Result<OwnedFd, DatapathError> {
        let fd = self.fds.get(name).ok_or_else(|| DatapathError::Object(name.to_owned()))?;
        fd.try_clone().map_err(|error| DatapathError::map("open", name, error))
    }

    /// The words of PORTS as memory; not for maps opened read-only.
    pub(super) fn words(&self, name: &'static str, len: u32) -> Result<Words, DatapathError> {
        let map = self.fds.get(name).ok_or_else(|| DatapathError::Object(name.to_owned()))?;
        Words::map(map.as_fd(), len)
            .map_err(|error| DatapathError::map("map the memory of", name, error))
    }

    /// Calls `visit` with every entry of a family's trie.
    pub(super) fn for_each_net<E: From<DatapathError>>(
        &self,
        v4: bool,
        visit: &mut impl FnMut(Prefix, Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let (name, key_size) = if v4 { (NETS4, 8) } else { (NETS6, 20) };
        let Some(map) = self.fds.get(name) else { return Ok(()) };
        self.for_each_in(map.as_fd(), name, key_size, size_of::<Entry>(), &mut |key, value| {
            let word = |at| word_of(key, at);
            let address =
                if v4 { address4(word(1)) } else { address6([word(1), word(2), word(3), word(4)]) };
            visit(Prefix::new(address, word(0) as u8), entry_of(value))
        })
    }

    /// Calls `visit` with every key and value of a map, read many at a time.
    pub(super) fn for_each_in<E: From<DatapathError>>(
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
    pub(super) fn net(&self, address: IpAddr) -> Result<Option<Entry>, DatapathError> {
        match address {
            IpAddr::V4(_) => found(self.nets4.get(&Key::new(32, key4(address)), 0), NETS4),
            IpAddr::V6(_) => found(self.nets6.get(&Key::new(128, key6(address)), 0), NETS6),
        }
    }

    /// One counter of STATS, summed over the CPUs.
    pub(super) fn counter(
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
    pub(super) fn rule_counter(&self, slot: u32) -> Result<RuleCounter, DatapathError> {
        let values =
            self.rule_stats.get(&slot, 0).map_err(|error| read_error(RULE_STATS, &error))?;
        Ok(values.iter().fold(RuleCounter::default(), |sum, value| RuleCounter {
            packets: sum.packets.wrapping_add(value.packets),
            last_hit: sum.last_hit.max(value.last_hit),
        }))
    }

    /// A slot of DATABASES.
    pub(super) fn database(&self, id: u32) -> Result<Database, DatapathError> {
        self.databases.get(&id, 0).map_err(|error| read_error(DATABASES, &error))
    }
}

/// The key of an IPv4 address: its octets as they lie in a packet.
pub(super) fn key4(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => u32::from_ne_bytes(address.octets()),
        IpAddr::V6(_) => 0,
    }
}

/// The key of an IPv6 address.
pub(super) fn key6(address: IpAddr) -> [u32; 4] {
    let IpAddr::V6(address) = address else { return [0; 4] };
    let octets = address.octets();
    std::array::from_fn(|i| {
        u32::from_ne_bytes([octets[4 * i], octets[4 * i + 1], octets[4 * i + 2], octets[4 * i + 3]])
    })
}

/// The address of a key.
pub(super) fn address4(key: u32) -> IpAddr {
    IpAddr::from(key.to_ne_bytes())
}

/// The address of a key.
pub(super) fn address6(key: [u32; 4]) -> IpAddr {
    let mut octets = [0; 16];
    for (chunk, word) in octets.chunks_exact_mut(4).zip(key) {
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    IpAddr::from(octets)
}

/// A 32-bit word of a key or value.
pub(super) fn word_of(bytes: &[u8], index: usize) -> u32 {
    let bytes = bytes.get(4 * index..4 * index + 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u32::from_ne_bytes)
}

/// An entry as the kernel gives it.
pub(super) fn entry_of(value: &[u8]) -> Entry {
    Entry { databases: [word_of(value, 0), word_of(value, 1)], rules: word_of(value, 2) }
}

pub(super) fn read_error(map: &'static str, error: &aya::maps::MapError) -> DatapathError {
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
