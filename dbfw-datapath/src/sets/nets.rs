//! The tries of networks: writing and removing entries.

use std::{io, time::Duration};

use dbfw_common::{Entry, Family};
use dbfw_core::source::Prefix;

use crate::{error::DatapathError, keys::NETS, maps::Maps, sys};

/// A fresh trie can run out of cached nodes for a moment (ENOMEM at the second element, seen
/// on 6.18); a real shortage lasts longer than this many attempts.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(1);
/// Most entries in one call.
const BATCH: usize = 4_096;

/// Inserts one entry, or replaces it.
///
/// # Errors
/// The kernel refuses the entry.
pub(crate) fn insert(maps: &mut Maps, prefix: Prefix, entry: Entry) -> Result<(), DatapathError> {
    retry_shortage(|| maps.nets.insert(prefix, entry)).map_err(|error| failed(prefix, error))
}

/// Inserts or replaces entries of one family, in this order and in as few calls as can be. On
/// an error, how many were written before it.
///
/// # Errors
/// The kernel refuses an entry; the number of those that were written before it.
pub(crate) fn insert_all(
    maps: &Maps,
    family: Family,
    entries: &[(Prefix, Entry)],
) -> Result<(), (usize, DatapathError)> {
    let mut done = 0;
    let map = maps.fd(NETS[family as usize]).map_err(|error| (0, error))?;
    for chunk in entries.chunks(BATCH) {
        let mut keys = Vec::with_capacity(chunk.len() * 20);
        let mut values = Vec::with_capacity(chunk.len() * size_of::<Entry>());
        for (prefix, entry) in chunk {
            keys.extend(u32::from(prefix.len()).to_ne_bytes());
            match prefix.addr() {
                std::net::IpAddr::V4(address) => keys.extend(address.octets()),
                std::net::IpAddr::V6(address) => keys.extend(address.octets()),
            }
            let words = [entry.databases[0], entry.databases[1], entry.rules];
            values.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        }
        let key_size = keys.len() / chunk.len().max(1);
        let mut written = 0;
        let result = retry_shortage(|| {
            let (keys, values) =
                (&keys[written * key_size..], &values[written * size_of::<Entry>()..]);
            sys::update_batch(map, keys, values, chunk.len() - written).map_err(|(count, error)| {
                written += count.min(chunk.len() - written);
                error
            })
        });
        if let Err(error) = result {
            let prefix = chunk.get(written).map_or(chunk[0].0, |(prefix, _)| *prefix);
            return Err((done + written, failed(prefix, error)));
        }
        done += chunk.len();
    }
    Ok(())
}

/// Removes one entry; one that is not there is fine.
///
/// # Errors
/// The kernel does not remove it.
pub(crate) fn remove(maps: &mut Maps, prefix: Prefix) -> Result<(), DatapathError> {
    let trie = NETS[prefix.family() as usize];
    maps.nets
        .remove(prefix)
        .map_err(|error| DatapathError::map(format!("remove {prefix} from"), trie, error))
}

/// Tries again while the kernel is short of memory for a moment.
fn retry_shortage(mut attempt: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    let mut attempts = 1;
    loop {
        match attempt() {
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && attempts < ATTEMPTS => {
                attempts += 1;
                std::thread::sleep(PAUSE);
            }
            result => return result,
        }
    }
}

fn failed(prefix: Prefix, error: io::Error) -> DatapathError {
    DatapathError::map(format!("write {prefix} to"), NETS[prefix.family() as usize], error)
}
