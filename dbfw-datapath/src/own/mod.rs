//! This host's own addresses in the maps OWN4 and OWN6, and the filter OWN before them.

mod local_routes;

use std::collections::BTreeMap;

use dbfw_common::{Family, MAX_OWN, OWN, OWN_DOMAINS, OWN_NETS4, OWN_NETS6, OWN_WORDS, own4, own6};
use dbfw_core::source::Prefix;

pub use local_routes::{LocalAddresses, LocalRoutes};

use crate::{
    error::DatapathError,
    keys::{OWN_NETS, key4, key6, word_of},
    maps::Maps,
    mmap::Words,
};

/// The host's own addresses that the maps hold.
#[derive(Debug)]
pub(crate) struct Own {
    filter: Words,
    held: BTreeMap<Prefix, u32>,
}

impl Own {
    /// Reads the addresses that an earlier agent left in the maps.
    ///
    /// # Errors
    /// A map cannot be read.
    pub(crate) fn open(maps: &Maps) -> Result<Self, DatapathError> {
        let mut held = BTreeMap::new();
        for (family, trie) in Family::ALL.into_iter().zip(OWN_NETS) {
            maps.for_each_prefix(trie, family, size_of::<u32>(), &mut |prefix, value| {
                held.insert(prefix, word_of(value, 0));
                Ok::<(), DatapathError>(())
            })?;
        }
        Ok(Self { filter: maps.words(OWN, OWN_WORDS)?, held })
    }

    /// Makes the maps hold `local`, as far as they have room; how many are left out.
    ///
    /// # Errors
    /// A map cannot be written; what was written stands.
    pub(crate) fn set(
        &mut self,
        maps: &mut Maps,
        local: &LocalAddresses,
    ) -> Result<usize, DatapathError> {
        let mut room = [MAX_OWN as usize; 2];
        let mut wanted = BTreeMap::new();
        let mut left_out = 0;
        for (prefix, domains) in local.iter() {
            let room = &mut room[prefix.family() as usize];
            if *room == 0 {
                left_out += 1;
            } else {
                *room -= 1;
                wanted.insert(prefix, domains);
            }
        }
        if wanted == self.held {
            return Ok(left_out);
        }
        // Removals first, so that there is room; the bits are a superset at every moment.
        let gone: Vec<_> =
            self.held.keys().filter(|held| !wanted.contains_key(held)).copied().collect();
        for prefix in gone {
            let trie = OWN_NETS[prefix.family() as usize];
            maps.own.remove(prefix).map_err(|error| {
                DatapathError::map(format!("remove {prefix} from"), trie, error)
            })?;
            self.held.remove(&prefix);
        }
        self.write_filter(sources(&self.held).chain(sources(&wanted)));
        for (prefix, domains) in &wanted {
            if self.held.get(prefix) != Some(domains) {
                let trie = OWN_NETS[prefix.family() as usize];
                maps.own.insert(*prefix, *domains).map_err(|error| {
                    DatapathError::map(format!("write {prefix} to"), trie, error)
                })?;
                self.held.insert(*prefix, *domains);
            }
        }
        self.write_filter(sources(&self.held));
        Ok(left_out)
    }

    fn write_filter<'a>(&self, prefixes: impl Iterator<Item = &'a Prefix>) {
        let words = filter(prefixes);
        for (index, word) in words.into_iter().enumerate() {
            self.filter.set(index as u32, word);
        }
    }
}

/// The prefixes that a packet from this host itself may come from.
fn sources(held: &BTreeMap<Prefix, u32>) -> impl Iterator<Item = &Prefix> {
    held.iter().filter(|(_, value)| **value & OWN_DOMAINS != 0).map(|(prefix, _)| prefix)
}

/// The words of OWN for `prefixes`.
fn filter<'a>(prefixes: impl Iterator<Item = &'a Prefix>) -> [u64; OWN_WORDS as usize] {
    let mut words = [0u64; OWN_WORDS as usize];
    for prefix in prefixes {
        let v4 = prefix.is_v4();
        if prefix.is_host() {
            let address = prefix.addr();
            let (word, bit) = if v4 { own4(key4(address)) } else { own6(key6(address)) };
            words[word as usize] |= 1 << bit;
        } else if !prefix.addr().is_loopback() {
            // Loopback's network needs none: nothing from there gets as far.
            let nets = if v4 { OWN_NETS4 } else { OWN_NETS6 };
            words.iter_mut().for_each(|word| *word |= 1 << nets);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(words: &[u64; OWN_WORDS as usize], address: &str) -> bool {
        let address: std::net::IpAddr = address.parse().unwrap();
        let ((word, bit), nets) = match address {
            address if address.is_ipv4() => (own4(key4(address)), OWN_NETS4),
            address => (own6(key6(address)), OWN_NETS6),
        };
        (words[word as usize] >> bit | words[word as usize] >> nets) & 1 != 0
    }

    #[test]
    fn the_filter_admits_every_own_address_and_few_others() {
        let own: Vec<Prefix> =
            ["192.0.2.1", "192.0.2.100", "2001:db8::1", "fe80::1", "127.0.0.0/8"]
                .map(|text| text.parse().unwrap())
                .into();
        let words = filter(own.iter());
        for address in ["192.0.2.1", "192.0.2.100", "2001:db8::1", "fe80::1"] {
            assert!(admits(&words, address), "{address}");
        }
        let neighbours = (0..=255)
            .flat_map(|last| [format!("192.0.2.{last}"), format!("2001:db8::{last:x}")])
            .filter(|address| admits(&words, address));
        assert!(neighbours.count() < 8, "three of them are own");
    }

    #[test]
    fn a_network_that_is_local_admits_its_family() {
        let words = filter(["2001:db8:5::/64".parse().unwrap()].iter());
        assert!(admits(&words, "2001:db8:5::77") && admits(&words, "2001:db8:6::1"));
        assert!(!admits(&words, "192.0.2.1"));
    }
}
