//! A map from prefixes to values, searched by longest match.

use std::{
    net::IpAddr,
    ops::{Index, IndexMut, Range},
};

use super::prefix::Prefix;

/// A sorted map from prefixes to values. A search takes one bisection, and then a step for each
/// prefix near the address that does not hold it.
///
/// ```
/// use dbfw_core::source::{Prefix, PrefixMap};
///
/// let [wide, narrow] = ["10.0.0.0/8", "10.1.0.0/16"].map(|text| text.parse().unwrap());
/// let map: PrefixMap<&str> = [(wide, "all"), (narrow, "office")].into_iter().collect();
/// assert_eq!(map.longest("10.1.2.3".parse().unwrap()), Some((narrow, &"office")));
/// assert_eq!(map.longest("11.0.0.1".parse().unwrap()), None);
/// ```
#[derive(Clone, Debug)]
pub struct PrefixMap<T> {
    /// Sorted by prefix, hence every node after its parent and before its next sibling.
    nodes: Vec<Node<T>>,
}

/// There may be millions of them.
#[derive(Clone, Debug)]
struct Node<T> {
    prefix: Prefix,
    value: T,
    /// The longest prefix that covers this one; [`NONE`]: there is none.
    parent: u32,
}

/// No node.
const NONE: u32 = u32::MAX;

impl<T> PrefixMap<T> {
    /// An empty map with room for so many prefixes.
    pub fn with_capacity(prefixes: usize) -> Self {
        Self { nodes: Vec::with_capacity(prefixes) }
    }

    /// Appends a prefix, and returns its index. It has to sort after every prefix of the map.
    pub(crate) fn push(&mut self, prefix: Prefix, value: T) -> usize {
        let index = self.nodes.len();
        debug_assert!(self.nodes.last().is_none_or(|last| last.prefix < prefix));
        // The prefix before it, or one around that.
        let parent = self.climb(index.checked_sub(1), |around| around.covers(&prefix));
        let parent = parent.and_then(|parent| u32::try_from(parent).ok()).unwrap_or(NONE);
        self.nodes.push(Node { prefix, value, parent });
        index
    }

    /// Number of prefixes in the map.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Every prefix with its value, sorted by prefix.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Prefix, &T)> {
        self.nodes.iter().map(|node| (node.prefix, &node.value))
    }

    /// The longest prefix that holds `addr`. As on the wire: an IPv4-mapped address is IPv6.
    pub fn longest(&self, addr: IpAddr) -> Option<(Prefix, &T)> {
        self.holding(addr).next().map(|index| self.entry(index))
    }

    /// The longest prefix that covers `prefix`, which may be that prefix itself.
    pub fn covering(&self, prefix: &Prefix) -> Option<(Prefix, &T)> {
        let last = self.last_before(prefix.addr());
        self.climb(last, |around| around.covers(prefix)).map(|index| self.entry(index))
    }

    /// The index of exactly this prefix.
    pub(crate) fn find(&self, prefix: &Prefix) -> Option<usize> {
        self.nodes.binary_search_by_key(prefix, |node| node.prefix).ok()
    }

    /// The indices of all prefixes that `prefix` covers.
    pub(crate) fn within(&self, prefix: &Prefix) -> Range<usize> {
        let start = self.nodes.partition_point(|node| node.prefix < *prefix);
        let inside = self.nodes[start..].partition_point(|node| prefix.covers(&node.prefix));
        start..start + inside
    }

    /// The indices of all prefixes that hold `addr`, the longest first.
    pub(crate) fn holding(&self, addr: IpAddr) -> impl Iterator<Item = usize> {
        let longest = self.climb(self.last_before(addr), |prefix| prefix.contains(addr));
        std::iter::successors(longest, |index| self.parent(*index))
    }

    /// The index of the longest prefix around the one at an index.
    pub(crate) fn parent(&self, index: usize) -> Option<usize> {
        let parent = self.nodes[index].parent;
        (parent != NONE).then_some(parent as usize)
    }

    /// The prefix at an index.
    pub(crate) fn prefix(&self, index: usize) -> Prefix {
        self.nodes[index].prefix
    }

    fn entry(&self, index: usize) -> (Prefix, &T) {
        (self.nodes[index].prefix, &self.nodes[index].value)
    }

    /// The index of the last prefix that begins at `addr` or before it. Whatever holds `addr` is
    /// this one or around it: it sorts before `addr`, and covers what sorts between them.
    fn last_before(&self, addr: IpAddr) -> Option<usize> {
        self.nodes.partition_point(|node| node.prefix.addr() <= addr).checked_sub(1)
    }

    /// `index`, or the nearest prefix around it that `wanted` accepts.
    fn climb(&self, index: Option<usize>, wanted: impl Fn(&Prefix) -> bool) -> Option<usize> {
        let mut next = index;
        while let Some(index) = next.filter(|index| !wanted(&self.nodes[*index].prefix)) {
            next = self.parent(index);
        }
        next
    }
}

impl<T> Default for PrefixMap<T> {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl<T> Index<usize> for PrefixMap<T> {
    type Output = T;

    fn index(&self, index: usize) -> &T {
        &self.nodes[index].value
    }
}

impl<T> IndexMut<usize> for PrefixMap<T> {
    fn index_mut(&mut self, index: usize) -> &mut T {
        &mut self.nodes[index].value
    }
}

impl<T> FromIterator<(Prefix, T)> for PrefixMap<T> {
    /// Keeps the first value of a prefix that comes twice.
    fn from_iter<I: IntoIterator<Item = (Prefix, T)>>(entries: I) -> Self {
        let mut entries: Vec<_> = entries.into_iter().collect();
        entries.sort_by_key(|(prefix, _)| *prefix);
        entries.dedup_by_key(|(prefix, _)| *prefix);
        let mut map = Self::with_capacity(entries.len());
        for (prefix, value) in entries {
            map.push(prefix, value);
        }
        map
    }
}

impl FromIterator<Prefix> for PrefixMap<()> {
    fn from_iter<I: IntoIterator<Item = Prefix>>(prefixes: I) -> Self {
        prefixes.into_iter().map(|prefix| (prefix, ())).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{cmp::Reverse, net::Ipv4Addr};

    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// Few enough bits that prefixes meet.
    fn prefix() -> impl Strategy<Value = Prefix> {
        let v4 = |bits: u32, len| Prefix::new(Ipv4Addr::from_bits(bits << 24).into(), len);
        let v6 = |bits: u32, len| {
            Prefix::new(IpAddr::V6(std::net::Ipv6Addr::from_bits(u128::from(bits) << 120)), len)
        };
        (0u32..256, 0u8..=9, any::<bool>())
            .prop_map(move |(bits, len, is_v4)| if is_v4 { v4(bits, len) } else { v6(bits, len) })
    }

    proptest! {
        #[test]
        fn as_brute_force_finds_it(prefixes in vec(prefix(), 0..60), probes in vec(prefix(), 1..30)) {
            let map: PrefixMap<usize> = prefixes.iter().copied().zip(0..).collect();
            prop_assert!(map.iter().is_sorted_by(|a, b| a.0 < b.0));
            prop_assert_eq!(map.is_empty(), prefixes.is_empty());
            let first = |prefix: &Prefix| prefixes.iter().position(|known| known == prefix);
            for probe in probes {
                let longest = |holds: &dyn Fn(&Prefix) -> bool| {
                    prefixes.iter().copied().filter(holds).max_by_key(Prefix::len)
                };
                let addr = probe.addr();
                let expected = longest(&|known| known.contains(addr));
                let found = map.longest(addr);
                prop_assert_eq!(found.map(|(prefix, _)| prefix), expected);
                prop_assert_eq!(found.map(|(_, value)| *value), expected.as_ref().and_then(first));
                let covering = map.covering(&probe).map(|(prefix, _)| prefix);
                prop_assert_eq!(covering, longest(&|known| known.covers(&probe)));
                let mut all: Vec<_> = map.iter().map(|(prefix, _)| prefix).collect();
                all.retain(|known| known.contains(addr));
                all.sort_by_key(|known| Reverse(known.len()));
                let holding: Vec<_> =
                    map.holding(addr).map(|index| map.prefix(index)).collect();
                prop_assert_eq!(holding, all);
            }
        }
    }

    #[test]
    fn an_ipv4_mapped_address_is_ipv6() {
        let map: PrefixMap<()> = [Prefix::ANY4].into_iter().collect();
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        assert!(map.longest(mapped).is_none());
        assert_eq!(map.longest(mapped.to_canonical()), Some((Prefix::ANY4, &())));
    }
}
