//! A pair of longest-prefix tries, one for each family.

use std::{io, net::IpAddr};

use aya::{
    Pod,
    maps::{LpmTrie, MapData, MapError, lpm_trie::Key},
};
use dbfw_core::source::Prefix;

use crate::{
    error::map_io,
    keys::{key4, key6},
};

/// The tries of both families, with values of one type.
pub(crate) struct Tries<V: Pod> {
    v4: LpmTrie<MapData, u32, V>,
    v6: LpmTrie<MapData, [u32; 4], V>,
}

impl<V: Pod> Tries<V> {
    /// These two tries.
    pub(crate) fn new(v4: LpmTrie<MapData, u32, V>, v6: LpmTrie<MapData, [u32; 4], V>) -> Self {
        Self { v4, v6 }
    }

    /// Inserts the value of a prefix, or replaces it.
    ///
    /// # Errors
    /// The system call fails.
    pub(crate) fn insert(&mut self, prefix: Prefix, value: V) -> io::Result<()> {
        let (address, len) = (prefix.addr(), u32::from(prefix.len()));
        let result = if prefix.is_v4() {
            self.v4.insert(&Key::new(len, key4(address)), value, 0)
        } else {
            self.v6.insert(&Key::new(len, key6(address)), value, 0)
        };
        result.map_err(map_io)
    }

    /// Removes a prefix; one that is not there is fine.
    ///
    /// # Errors
    /// The system call fails.
    pub(crate) fn remove(&mut self, prefix: Prefix) -> io::Result<()> {
        let (address, len) = (prefix.addr(), u32::from(prefix.len()));
        found(if prefix.is_v4() {
            self.v4.remove(&Key::new(len, key4(address)))
        } else {
            self.v6.remove(&Key::new(len, key6(address)))
        })
        .map(drop)
    }

    /// The value of the longest prefix that holds `address`.
    ///
    /// # Errors
    /// The system call fails.
    pub(crate) fn longest(&self, address: IpAddr) -> io::Result<Option<V>> {
        found(match address {
            IpAddr::V4(_) => self.v4.get(&Key::new(32, key4(address)), 0),
            IpAddr::V6(_) => self.v6.get(&Key::new(128, key6(address)), 0),
        })
    }
}

fn found<T>(result: Result<T, MapError>) -> io::Result<Option<T>> {
    match result.map_err(map_io) {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}
