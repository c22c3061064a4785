//! The tables of hosts of one family: opening, resizing and switching them.
//!
//! Few hosts are in the small table, a map of fixed size. HOSTS4 and HOSTS6 have room for two
//! larger ones. A new table is filled beside the one in use, then one word says that it is the one
//! from now on; the old goes when no program can be looking at it any more. Each large one is
//! pinned by its place, before it is used, so that at every moment the pin of the table in use is
//! there for readers and for the next agent.

use std::{
    io,
    net::IpAddr,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
};

use aya_obj::generated::{BPF_F_INNER_MAP, BPF_F_MMAPABLE, bpf_map_type};
use dbfw_common::{
    ENTRIES, Family, SMALL_TABLE, SMALL_TABLE_BITS, TABLES, TABLES4, TABLES6, TableRef,
};

use super::{
    presence::Presence,
    table::{Probe, Table, bits_for, bucket_words, capacity},
};
use crate::{
    error::DatapathError,
    keys::{FRONT, HOSTS, SMALL_HOSTS},
    maps::Maps,
    mmap::Words,
    pins::Pins,
    sys::{self, MapShape},
};

/// A large table this many times too large is replaced by one that fits.
const OVERSIZE: usize = 32;
/// Most buckets, as a power of two.
const MAX_BITS: u32 = 24;

/// The pins of the large tables, by family.
pub(crate) const TABLE_PINS: [[&str; TABLES as usize]; 2] = [TABLES4, TABLES6];

/// The shape of a table as a map.
fn shape(family: Family, table: TableRef) -> MapShape {
    let inner = if table.slot == SMALL_TABLE { 0 } else { BPF_F_INNER_MAP };
    MapShape {
        map_type: bpf_map_type::BPF_MAP_TYPE_ARRAY as u32,
        key_size: 4,
        value_size: bucket_words(family) * 8,
        max_entries: 1 << table.bits,
        flags: BPF_F_MMAPABLE | inner,
    }
}

/// The place of a large table beside another table.
fn other_place(slot: u32) -> u32 {
    u32::from(slot == 0)
}

/// The pin of the table in a place.
fn pin_of(family: Family, slot: u32) -> Option<&'static str> {
    match slot {
        SMALL_TABLE => Some(SMALL_HOSTS[family as usize]),
        slot => TABLE_PINS[family as usize].get(slot as usize).copied(),
    }
}

/// Opens the table that `word` says is in use, by its pin in `directory`. `None` if there is
/// no table, or if the one that is pinned is not the one in `outer`.
///
/// # Errors
/// The pin cannot be opened, or is no table of this ABI.
pub(crate) fn open_table(
    directory: &Path,
    outer: BorrowedFd<'_>,
    family: Family,
    word: u64,
    read_only: bool,
) -> Result<Option<(TableRef, OwnedFd, u32)>, DatapathError> {
    let place = TableRef::from_word(word);
    let Some(pin) = pin_of(family, place.slot) else { return Ok(None) };
    if !(1..=MAX_BITS).contains(&place.bits) {
        return Ok(None);
    }
    let path = directory.join(pin);
    let fd = match sys::obj_get(&path, read_only) {
        Ok(fd) => fd,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DatapathError::pin("open", &path, error)),
    };
    let expected = shape(family, place);
    let wrong = |found| DatapathError::WrongPin {
        path: path.clone(),
        found,
        expected: expected.to_string(),
    };
    let found = sys::map_info(fd.as_fd()).map_err(|_| wrong("not a map".to_owned()))?;
    let shape = found.shape;
    if shape.map_type != expected.map_type || shape.value_size != expected.value_size {
        return Err(wrong(shape.to_string()));
    }
    let is_in_use = place.slot == SMALL_TABLE
        || sys::inner_id(outer, place.slot)
            .map_err(|error| DatapathError::map("read", HOSTS[family as usize], error))?
            == Some(found.id);
    Ok((is_in_use && shape == expected).then_some((place, fd, found.id)))
}

/// Removes the pins of both families' hosts if one of them is missing: the ids of a table
/// mean nothing without ENTRIES, nor a table without the word that says which it is. What
/// runs keeps the maps it has; the agent's programs get new ones, filled before they are
/// attached.
///
/// # Errors
/// A pin cannot be opened or removed.
pub(crate) fn discard_incomplete(pins: &Pins) -> Result<(), DatapathError> {
    let exists = |name: &str| pins.path(name).exists();
    let fixed = [[ENTRIES].as_slice(), &FRONT, &HOSTS, &SMALL_HOSTS].concat();
    let tables = TABLE_PINS.into_iter().flatten();
    if !fixed.iter().copied().chain(tables.clone()).any(exists) {
        return Ok(());
    }
    let mut complete = fixed.iter().copied().all(exists);
    for (family, front) in Family::ALL.into_iter().zip(FRONT) {
        complete = complete && {
            let open = |name| {
                let path = pins.path(name);
                sys::obj_get(&path, false).map_err(|error| DatapathError::pin("open", &path, error))
            };
            let mut word = [0; 8];
            sys::array_get(open(front)?.as_fd(), 0, &mut word)
                .map_err(|error| DatapathError::map("read", front, error))?;
            let (outer, word) = (open(HOSTS[family as usize])?, u64::from_ne_bytes(word));
            word == 0 || open_table(pins.directory(), outer.as_fd(), family, word, false)?.is_some()
        };
    }
    if !complete {
        tracing::warn!("pins of the tables of hosts were missing: new maps are made");
        fixed.into_iter().chain(tables).try_for_each(|name| pins.remove(name))?;
    }
    Ok(())
}

/// Makes a table and puts it into `outer`, to see whether the kernel takes it.
///
/// # Errors
/// The kernel does not make it, or does not take it.
pub(crate) fn try_table(outer: BorrowedFd<'_>, family: Family) -> Result<(), DatapathError> {
    let table = make(family, SMALL_TABLE_BITS)?;
    sys::inner_set(outer, 0, table.as_fd())
        .map_err(|error| DatapathError::map("put a table into", HOSTS[family as usize], error))
}

/// The hosts of one family, as their one writer has them.
#[derive(Debug)]
pub(crate) struct Hosts {
    family: Family,
    outer: OwnedFd,
    small: OwnedFd,
    /// The index in `outer` of the table in use, or [`SMALL_TABLE`].
    slot: u32,
    current: MappedTable,
}

/// A table with the map it is in.
#[derive(Debug)]
pub(crate) struct MappedTable {
    fd: OwnedFd,
    id: u32,
    pub(super) table: Table,
}

impl Hosts {
    /// Opens the table in use, or makes the first.
    ///
    /// # Errors
    /// The table cannot be opened, made or pinned.
    pub(crate) fn open(
        maps: &Maps,
        pins: &Pins,
        family: Family,
        presence: &Presence,
    ) -> Result<Self, DatapathError> {
        let outer = maps.owned_fd(HOSTS[family as usize])?;
        let small = maps.owned_fd(SMALL_HOSTS[family as usize])?;
        let found =
            open_table(pins.directory(), outer.as_fd(), family, presence.table_word(), false)?;
        if let Some((table, fd, id)) = found {
            let current = MappedTable::new(fd, id, family, table.bits)?;
            let hosts = Self { family, outer, small, slot: table.slot, current };
            // What an agent left that ended while it changed tables.
            for slot in (0..TABLES).filter(|slot| *slot != hosts.slot) {
                hosts.free_place(pins, slot)?;
            }
            if hosts.slot != SMALL_TABLE {
                MappedTable::of(&hosts.small, family)?.table.clear();
            }
            return Ok(hosts);
        }
        let mut current = MappedTable::of(&small, family)?;
        current.table.clear();
        let in_use = TableRef { slot: SMALL_TABLE, bits: SMALL_TABLE_BITS };
        presence.set_table_word(in_use.to_word());
        Ok(Self { family, outer, small, slot: SMALL_TABLE, current })
    }

    /// The table in use.
    pub(crate) fn table(&self) -> &Table {
        &self.current.table
    }

    /// The table in use, to write to.
    pub(crate) fn table_mut(&mut self) -> &mut Table {
        &mut self.current.table
    }

    /// The size, as a power of two of buckets, of the table that `hosts` want instead of the
    /// one there is.
    pub(crate) fn wanted_bits(&self, hosts: usize) -> Option<u32> {
        let (has, fit) = (capacity(self.family, self.table().bits()), bits_for(self.family, hosts));
        let fits_small = hosts <= capacity(self.family, SMALL_TABLE_BITS) / 4 * 3;
        let oversize =
            has > OVERSIZE * capacity(self.family, fit) || self.slot != SMALL_TABLE && fits_small;
        (hosts > has || oversize).then_some(fit.min(MAX_BITS))
    }

    /// A table of another size with the hosts of this one, and those whose buckets in it are full.
    ///
    /// # Errors
    /// The kernel does not make it.
    pub(crate) fn resized(
        &self,
        bits: u32,
    ) -> Result<(MappedTable, Vec<(IpAddr, u16)>), DatapathError> {
        let mut mapped = if bits == SMALL_TABLE_BITS {
            let mut small = MappedTable::of(&self.small, self.family)?;
            small.table.clear();
            small
        } else {
            MappedTable::make(self.family, bits)?
        };
        let mut spilled = Vec::new();
        for (address, id) in self.table().iter() {
            if mapped.table.insert(&Probe::new(address), id).is_err() {
                spilled.push((address, id));
            }
        }
        Ok((mapped, spilled))
    }

    /// Puts a new table in the place of the one in use. A program finds the old one or the
    /// new one, until the old is gone only the new.
    ///
    /// # Errors
    /// The new table cannot be pinned or put in place; the old one stays in use.
    pub(crate) fn switch(
        &mut self,
        pins: &Pins,
        presence: &Presence,
        new: MappedTable,
    ) -> Result<(), DatapathError> {
        let old = self.slot;
        let to_small = new.table.bits() == SMALL_TABLE_BITS;
        let mut before = std::mem::replace(&mut self.current, new);
        self.slot = if to_small { SMALL_TABLE } else { other_place(old) };
        // Programs find the new table whole: the kernel waits for those that run now.
        let ready = match to_small {
            true => self.wait_beside(old),
            false => self.pin(pins).and_then(|()| self.put_in_place()),
        };
        if let Err(error) = ready {
            self.current = before;
            self.slot = old;
            return Err(error);
        }
        let in_use = TableRef { slot: self.slot, bits: self.table().bits() };
        presence.set_table_word(in_use.to_word());
        // From here on the new one counts, whatever becomes of the old.
        let cleared = self.wait_beside(old).and_then(|()| {
            if old == SMALL_TABLE {
                before.table.clear();
                return Ok(());
            }
            self.free_place(pins, old)
        });
        if let Err(error) = cleared {
            tracing::warn!(%error, "the memory of an old table of hosts is not freed");
        }
        Ok(())
    }

    /// Pins a large table again if its pin is gone or something else; its name if so.
    ///
    /// # Errors
    /// The table cannot be pinned.
    pub(crate) fn repair_pin(&self, pins: &Pins) -> Result<Option<&'static str>, DatapathError> {
        let Some(&name) = TABLE_PINS[self.family as usize].get(self.slot as usize) else {
            return Ok(None);
        };
        if pins.has_map(name, self.current.id) {
            return Ok(None);
        }
        self.pin(pins)?;
        Ok(Some(name))
    }

    /// Takes a large table that is not in use out of its place and unpins it.
    ///
    /// # Errors
    /// The system call fails.
    fn free_place(&self, pins: &Pins, slot: u32) -> Result<(), DatapathError> {
        let Some(&pin) = TABLE_PINS[self.family as usize].get(slot as usize) else {
            return Ok(());
        };
        sys::inner_clear(self.outer.as_fd(), slot)
            .map_err(|error| self.failed("clear a place of", error))?;
        pins.remove(pin)
    }

    /// Pins a large table.
    fn pin(&self, pins: &Pins) -> Result<(), DatapathError> {
        let Some(&name) = TABLE_PINS[self.family as usize].get(self.slot as usize) else {
            return Ok(());
        };
        pins.replace(self.current.fd.as_fd(), name)?;
        pins.protect_map(name)
    }

    /// Returns when no program runs any more that runs now: the kernel waits for them where a
    /// place of an array of maps changes.
    ///
    /// # Errors
    /// The system call fails.
    pub(super) fn wait_for_programs(&self) -> Result<(), DatapathError> {
        self.wait_beside(SMALL_TABLE)
    }

    /// The same, while programs may still look at the large table in the place `old`.
    fn wait_beside(&self, old: u32) -> Result<(), DatapathError> {
        if self.slot != SMALL_TABLE {
            return self.put_in_place();
        }
        let (outer, free) = (self.outer.as_fd(), other_place(old));
        let empty = make(self.family, 0)?;
        sys::inner_set(outer, free, empty.as_fd())
            .map_err(|error| self.failed("put a table into", error))?;
        sys::inner_clear(outer, free).map_err(|error| self.failed("clear a place of", error))
    }

    /// Puts a large table into its place, perhaps once more, and waits as
    /// [`Self::wait_for_programs`] does.
    ///
    /// # Errors
    /// The system call fails.
    fn put_in_place(&self) -> Result<(), DatapathError> {
        sys::inner_set(self.outer.as_fd(), self.slot, self.current.fd.as_fd())
            .map_err(|error| self.failed("put a table into", error))
    }

    fn failed(&self, action: &str, error: io::Error) -> DatapathError {
        DatapathError::map(action, HOSTS[self.family as usize], error)
    }
}

impl MappedTable {
    /// An empty large table.
    fn make(family: Family, bits: u32) -> Result<Self, DatapathError> {
        let fd = make(family, bits)?;
        let id = sys::map_info(fd.as_fd())
            .map_err(|error| DatapathError::map("read", HOSTS[family as usize], error))?
            .id;
        Self::new(fd, id, family, bits)
    }

    /// The small table, as it is.
    fn of(small: &OwnedFd, family: Family) -> Result<Self, DatapathError> {
        let failed = |error| DatapathError::map("open", SMALL_HOSTS[family as usize], error);
        let fd = small.try_clone().map_err(failed)?;
        let id = sys::map_info(fd.as_fd()).map_err(failed)?.id;
        Self::new(fd, id, family, SMALL_TABLE_BITS)
    }

    /// The table in a map of `1 << bits` buckets.
    fn new(fd: OwnedFd, id: u32, family: Family, bits: u32) -> Result<Self, DatapathError> {
        let name = HOSTS[family as usize];
        let words = Words::map(fd.as_fd(), bucket_words(family) << bits)
            .map_err(|error| DatapathError::map("map the memory of", name, error))?;
        Ok(Self { fd, id, table: Table::new(words, family, bits) })
    }
}

/// Makes the map of a large table.
fn make(family: Family, bits: u32) -> Result<OwnedFd, DatapathError> {
    let (name, shape) = (HOSTS[family as usize], shape(family, TableRef { slot: 0, bits }));
    sys::array_create(name, shape.value_size, shape.max_entries, shape.flags)
        .map_err(|error| DatapathError::map("make a table for", name, error))
}
