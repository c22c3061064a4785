//! The pinned maps, opened for writing by the agent or read-only by everyone else.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use aya::maps::{Array, HashMap, LpmTrie, Map, MapData, PerCpuArray, lpm_trie::Key};
use dbfw_common::{
    Budget, Counted, Counter, DATABASES, Database, Entry, Exempt, Family, HOSTS4, HOSTS6, MAPS,
    NETS4, NETS6, RULE_STATS, RuleCounter, STATS, Trace, stats_slot,
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
    pub(super) hosts4: HashMap<MapData, u32, Entry>,
    pub(super) hosts6: HashMap<MapData, [u32; 4], Entry>,
    pub(super) nets4: LpmTrie<MapData, u32, Entry>,
    pub(super) nets6: LpmTrie<MapData, [u32; 4], Entry>,
    pub(super) databases: Array<MapData, Database>,
    pub(super) stats: PerCpuArray<MapData, Counter>,
    pub(super) rule_stats: PerCpuArray<MapData, RuleCounter>,
    pub(super) budget: PerCpuArray<MapData, Budget>,
    pub(super) trace: PerCpuArray<MapData, Trace>,
    pub(super) exempt: Array<MapData, Exempt>,
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
            hosts4: typed(&fds, HOSTS4)?,
            hosts6: typed(&fds, HOSTS6)?,
            nets4: typed(&fds, NETS4)?,
            nets6: typed(&fds, NETS6)?,
            databases: typed(&fds, DATABASES)?,
            stats: typed(&fds, STATS)?,
            rule_stats: typed(&fds, RULE_STATS)?,
            budget: typed(&fds, dbfw_common::BUDGET)?,
            trace: typed(&fds, dbfw_common::TRACE)?,
            exempt: typed(&fds, dbfw_common::EXEMPT)?,
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

    /// The words of PORTS, FRONT4 or FRONT6 as memory; not for maps opened read-only.
    pub(super) fn words(&self, name: &'static str, len: u32) -> Result<Words, DatapathError> {
        let map = self.fds.get(name).ok_or_else(|| DatapathError::Object(name.to_owned()))?;
        Words::map(map.as_fd(), len)
            .map_err(|error| DatapathError::map("map the memory of", name, error))
    }

    /// Calls `visit` with every entry of the sets and the map it is in.
    pub(super) fn for_each_entry<E: From<DatapathError>>(
        &self,
        mut visit: impl FnMut(&'static str, Prefix, Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        for item in self.hosts4.iter() {
            let (key, entry) = item.map_err(|error| read_error(HOSTS4, &error))?;
            visit(HOSTS4, Prefix::new(address4(key), 32), entry)?;
        }
        for item in self.nets4.iter() {
            let (key, entry) = item.map_err(|error| read_error(NETS4, &error))?;
            visit(NETS4, Prefix::new(address4(key.data()), key.prefix_len() as u8), entry)?;
        }
        for item in self.hosts6.iter() {
            let (key, entry) = item.map_err(|error| read_error(HOSTS6, &error))?;
            visit(HOSTS6, Prefix::new(address6(key), 128), entry)?;
        }
        for item in self.nets6.iter() {
            let (key, entry) = item.map_err(|error| read_error(NETS6, &error))?;
            visit(NETS6, Prefix::new(address6(key.data()), key.prefix_len() as u8), entry)?;
        }
        Ok(())
    }

    /// The entry that decides for `address`, found as the programs find it but without the
    /// presence bits, and the map it is in.
    pub(super) fn lookup(
        &self,
        address: IpAddr,
    ) -> Result<Option<(&'static str, Entry)>, DatapathError> {
        let (host, host_map, net_map) = match address {
            IpAddr::V4(_) => (self.hosts4.get(&key4(address), 0), HOSTS4, NETS4),
            IpAddr::V6(_) => (self.hosts6.get(&key6(address), 0), HOSTS6, NETS6),
        };
        if let Some(entry) = found(host, host_map)? {
            return Ok(Some((host_map, entry)));
        }
        let net = match address {
            IpAddr::V4(_) => self.nets4.get(&Key::new(32, key4(address)), 0),
            IpAddr::V6(_) => self.nets6.get(&Key::new(128, key6(address)), 0),
        };
        Ok(found(net, net_map)?.map(|entry| (net_map, entry)))
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
