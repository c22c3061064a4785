//! Looking hosts up as a reader: in the table that is in use at that moment.

use std::{
    net::IpAddr,
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

use dbfw_common::{ENTRIES, Entry, Table as Place};

use super::{
    error::DatapathError,
    hosts::{open_table, outer_name, table_pins},
    maps,
    reader::Reader,
    sys,
    table::{Probe, bucket_words, hosts_of},
};
use crate::source::Prefix;

/// How often the pin of the table in use is looked for: while the agent puts a new one in
/// place, it may be another for a moment.
const ATTEMPTS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(2);

impl Reader {
    /// The entry of a host, if the table has it.
    pub(super) fn host(&self, address: IpAddr) -> Result<Option<Entry>, DatapathError> {
        let v4 = address.is_ipv4();
        let Some((place, table)) = self.table(v4)? else { return Ok(None) };
        let probe = Probe::new(address);
        let mut bucket = vec![0; bucket_words(v4) as usize * 8];
        sys::array_get(table.as_fd(), probe.bucket(place.bits), &mut bucket)
            .map_err(|error| DatapathError::map("read", outer_name(v4), error))?;
        probe.find(&words_of(&bucket)).map(|id| self.entry(id)).transpose()
    }

    /// Calls `visit` with every host of a family.
    pub(super) fn for_each_host<E: From<DatapathError>>(
        &self,
        v4: bool,
        visit: &mut impl FnMut(&'static str, Prefix, Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some((_, table)) = self.table(v4)? else { return Ok(()) };
        let (name, size) = (outer_name(v4), bucket_words(v4) as usize * 8);
        self.maps().for_each_in(table.as_fd(), name, size_of::<u32>(), size, &mut |_, bucket| {
            hosts_of(v4, &words_of(bucket))
                .try_for_each(|(address, id)| visit(name, Prefix::host(address), self.entry(id)?))
        })
    }

    fn entry(&self, id: u16) -> Result<Entry, DatapathError> {
        let entry = self.maps().entries.get(&u32::from(id), 0);
        entry.map_err(|error| maps::read_error(ENTRIES, &error))
    }

    /// The table in use; `None` if there is none yet.
    fn table(&self, v4: bool) -> Result<Option<(Place, OwnedFd)>, DatapathError> {
        let name = outer_name(v4);
        let outer = self.maps().fds.get(name);
        let outer = outer.ok_or_else(|| DatapathError::Object(name.to_owned()))?;
        for attempt in 1.. {
            let word = self.front_word(v4, 0)?;
            if word == 0 {
                return Ok(None);
            }
            match open_table(self.directory(), outer, v4, word, true) {
                Ok(Some((place, fd, _))) => return Ok(Some((place, fd))),
                Ok(None) if attempt < ATTEMPTS => {}
                Ok(None) => break,
                Err(error) => return Err(error),
            }
            std::thread::sleep(PAUSE);
        }
        let path = self.directory().join(table_pins(v4)[0]);
        let source = std::io::ErrorKind::NotFound.into();
        Err(DatapathError::pin("find the table of hosts in use at", &path, source))
    }
}

fn words_of(bytes: &[u8]) -> Vec<u64> {
    let words = bytes.as_chunks::<8>().0;
    words.iter().map(|word| u64::from_ne_bytes(*word)).collect()
}
