//! Lookups of hosts in the table that is in use.

use std::{
    net::IpAddr,
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

use dbfw_common::{ENTRIES, Entry, Family, TableRef};
use dbfw_core::source::Prefix;

use super::Reader;
use crate::{
    error::DatapathError,
    keys::{HOSTS, family_of},
    maps::{self, for_each_element},
    sets::{
        Probe, bucket_words,
        hosts::{TABLE_PINS, open_table},
        hosts_of,
    },
    sys,
};

/// Attempts to open the table in use: while the agent replaces it, its pin may be that of another
/// for a moment.
const ATTEMPTS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(2);

impl Reader {
    /// The entry of a host, if the table has it.
    ///
    /// # Errors
    /// The map cannot be read.
    pub(crate) fn host(&self, address: IpAddr) -> Result<Option<Entry>, DatapathError> {
        let family = family_of(address);
        let Some((place, table)) = self.table(family)? else { return Ok(None) };
        let probe = Probe::new(address);
        let mut bucket = vec![0; bucket_words(family) as usize * 8];
        sys::array_get(table.as_fd(), probe.bucket(place.bits), &mut bucket)
            .map_err(|error| DatapathError::map("read", HOSTS[family as usize], error))?;
        probe.find(&words_of(&bucket)).map(|id| self.entry(id)).transpose()
    }

    /// Calls `visit` with every host of a family.
    ///
    /// # Errors
    /// The table cannot be read, or `visit` fails.
    pub(crate) fn for_each_host<E: From<DatapathError>>(
        &self,
        family: Family,
        visit: &mut impl FnMut(&'static str, Prefix, Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some((_, table)) = self.table(family)? else { return Ok(()) };
        let (name, size) = (HOSTS[family as usize], bucket_words(family) as usize * 8);
        for_each_element(table.as_fd(), name, size_of::<u32>(), size, &mut |_, bucket| {
            hosts_of(family, &words_of(bucket))
                .try_for_each(|(address, id)| visit(name, Prefix::host(address), self.entry(id)?))
        })
    }

    fn entry(&self, id: u16) -> Result<Entry, DatapathError> {
        let entry = self.maps.entries.get(&u32::from(id), 0);
        entry.map_err(|error| maps::read_error(ENTRIES, error))
    }

    /// The table in use; `None` if there is none yet.
    fn table(&self, family: Family) -> Result<Option<(TableRef, OwnedFd)>, DatapathError> {
        let outer = self.maps.fd(HOSTS[family as usize])?;
        for attempt in 1.. {
            let word = self.front_word(family, 0)?;
            if word == 0 {
                return Ok(None);
            }
            match open_table(&self.directory, outer, family, word, true) {
                Ok(Some((place, fd, _))) => return Ok(Some((place, fd))),
                Ok(None) if attempt < ATTEMPTS => {}
                Ok(None) => break,
                Err(error) => return Err(error),
            }
            std::thread::sleep(PAUSE);
        }
        let path = self.directory.join(TABLE_PINS[family as usize][0]);
        let source = std::io::ErrorKind::NotFound.into();
        Err(DatapathError::pin("find the table of hosts in use at", &path, source))
    }
}

fn words_of(bytes: &[u8]) -> Vec<u64> {
    let words = bytes.as_chunks::<8>().0;
    words.iter().map(|word| u64::from_ne_bytes(*word)).collect()
}
