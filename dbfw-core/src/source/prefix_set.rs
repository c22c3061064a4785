//! [`PrefixSet`] and [`PrefixUnion`]: prefixes that several parts share and none changes.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::Deref,
    sync::Arc,
};

use dbfw_common::Family;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::prefix::Prefix;

/// Prefixes from which on a set is shared as it is, and its summary is kept: merging smaller
/// ones with others costs less than to look at each. Few in tests, so that small cases meet it.
pub(crate) const LARGE: usize = if cfg!(test) { 3 } else { 1_024 };

/// Unique local and link-local addresses: the IPv6 ranges that mean what 10.0.0.0/8 and
/// 169.254.0.0/16 mean in IPv4. Nobody out on the internet has one.
const PRIVATE6: [Prefix; 2] = [
    Prefix::v6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
    Prefix::v6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
];

/// Whether a prefix is in a private range of IPv6.
pub(crate) fn is_private6(prefix: &Prefix) -> bool {
    PRIVATE6.iter().any(|own| own.covers(prefix))
}

/// Prefixes, sorted and none twice. Cheap to clone: a list of a million is in memory once, whoever
/// holds it.
///
/// ```
/// use dbfw_core::source::{Prefix, PrefixSet};
///
/// let [wide, narrow] = ["10.0.0.0/8", "10.1.0.0/16"].map(|text| text.parse().unwrap());
/// let set = PrefixSet::from(vec![narrow, wide, narrow]);
/// assert_eq!(*set, [wide, narrow]);
/// ```
#[derive(Clone)]
pub struct PrefixSet(Arc<Shared>);

struct Shared {
    prefixes: Box<[Prefix]>,
    /// Of a large set.
    summary: Option<Box<Summary>>,
}

/// The facts about a set that would take a look at every prefix of it.
#[derive(Clone, Copy, Debug)]
struct Summary {
    /// The lengths that occur, by family: a bit for each.
    lengths: [[u64; 3]; 2],
    extents: [Extent; 2],
    /// Of IPv6 without the private ranges.
    public6: Extent,
}

/// The addresses of one family in a set, each counted once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The shortest length; [`u8::MAX`]: there is none.
    pub(crate) shortest: u8,
    /// All of IPv6 is one address more than the type holds, so the sum saturates.
    pub(crate) addresses: u128,
}

impl Extent {
    const NONE: Self = Self { shortest: u8::MAX, addresses: 0 };

    /// The extent of sorted prefixes.
    fn of(prefixes: impl Iterator<Item = Prefix>) -> Self {
        let mut extent = Self::NONE;
        let mut end = None;
        for prefix in prefixes {
            extent.shortest = extent.shortest.min(prefix.len());
            let (first, last) = prefix.bounds();
            // What another covers comes after it.
            if end.is_none_or(|end| first > end) {
                let addresses = (last - first).saturating_add(1);
                extent.addresses = extent.addresses.saturating_add(addresses);
                end = Some(last);
            }
        }
        extent
    }

    /// The most that both can be together.
    fn at_most_with(self, other: Self) -> Self {
        Self {
            shortest: self.shortest.min(other.shortest),
            addresses: self.addresses.saturating_add(other.addresses),
        }
    }
}

impl Summary {
    fn of(prefixes: &[Prefix]) -> Self {
        let mut lengths = [[0; 3]; 2];
        for prefix in prefixes {
            lengths[prefix.family() as usize][usize::from(prefix.len() / 64)] |=
                1 << (prefix.len() % 64);
        }
        // IPv4 sorts before IPv6.
        let (v4, v6) = prefixes.split_at(prefixes.partition_point(Prefix::is_v4));
        Self {
            lengths,
            extents: [v4, v6].map(|of_family| Extent::of(of_family.iter().copied())),
            public6: Extent::of(v6.iter().copied().filter(|prefix| !is_private6(prefix))),
        }
    }
}

impl PrefixSet {
    fn shared(prefixes: Box<[Prefix]>) -> Self {
        debug_assert!(prefixes.is_sorted_by(|a, b| a < b));
        let summary = (prefixes.len() >= LARGE).then(|| Summary::of(&prefixes).into());
        Self(Arc::new(Shared { prefixes, summary }))
    }

    /// Whether both are the same in memory. What is not may be equal all the same.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether the prefix is one of them.
    pub fn has(&self, prefix: &Prefix) -> bool {
        self.binary_search(prefix).is_ok()
    }

    /// Those that another set does not have.
    pub fn minus(&self, other: &Self) -> Vec<Prefix> {
        if self.is_same(other) { Vec::new() } else { minus(self, other) }
    }

    /// Those that hold an address, the longest first. As on the wire: an IPv4-mapped address is
    /// IPv6.
    pub fn around(&self, addr: IpAddr) -> impl Iterator<Item = Prefix> {
        let is_v4 = addr.is_ipv4();
        let lengths = self.summary().lengths[usize::from(!is_v4)];
        let occurs = move |len: &u8| lengths[usize::from(len / 64)] >> (len % 64) & 1 != 0;
        let longest = if is_v4 { 32 } else { 128 };
        let around = (0..=longest).rev().filter(occurs).map(move |len| Prefix::new(addr, len));
        // The canonical form of an IPv4-mapped prefix is IPv4, which is another's address.
        around.filter(move |prefix| prefix.is_v4() == is_v4 && self.has(prefix))
    }

    /// Those that a prefix covers.
    pub fn within(&self, prefix: &Prefix) -> &[Prefix] {
        let rest = &self[self.partition_point(|own| own < prefix)..];
        &rest[..rest.partition_point(|own| prefix.covers(own))]
    }

    /// The addresses of a family, or of IPv6 those outside its private ranges.
    pub(crate) fn extent(&self, family: Family, with_private6: bool) -> Extent {
        let summary = self.summary();
        match family {
            Family::V6 if !with_private6 => summary.public6,
            _ => summary.extents[family as usize],
        }
    }

    fn summary(&self) -> Summary {
        self.0.summary.as_deref().copied().unwrap_or_else(|| Summary::of(self))
    }
}

/// Sorts prefixes. Those of IPv4 as numbers, which takes half the time: a list may have a million.
fn sort(prefixes: &mut [Prefix]) {
    if prefixes.len() < LARGE || prefixes.is_sorted() {
        return prefixes.sort_unstable();
    }
    let mut numbers = Vec::with_capacity(prefixes.len());
    // Others go to the end, in any order.
    let mut others = prefixes.len();
    let mut at = 0;
    while at < others {
        match prefixes[at].addr() {
            IpAddr::V4(addr) => {
                numbers.push(u64::from(addr.to_bits()) << 8 | u64::from(prefixes[at].len()));
                at += 1;
            }
            IpAddr::V6(_) => {
                others -= 1;
                prefixes.swap(at, others);
            }
        }
    }
    numbers.sort_unstable();
    for (prefix, number) in prefixes.iter_mut().zip(numbers) {
        *prefix = Prefix::v4(Ipv4Addr::from_bits((number >> 8) as u32), number as u8);
    }
    prefixes[others..].sort_unstable();
}

/// The prefixes of one sorted list that another lacks.
fn minus(from: &[Prefix], what: &[Prefix]) -> Vec<Prefix> {
    let mut what = what.iter().peekable();
    let is_missing = |prefix: &&Prefix| {
        while what.next_if(|other| other < prefix).is_some() {}
        what.next_if(|other| other == prefix).is_none()
    };
    from.iter().filter(is_missing).copied().collect()
}

/// The prefixes of several sets together.
#[derive(Clone, Debug, Default)]
pub struct PrefixUnion {
    /// Large ones as they are, and the others merged into one.
    sets: Vec<PrefixSet>,
}

impl PrefixUnion {
    /// Whether there is no prefix.
    pub fn is_empty(&self) -> bool {
        self.sets.iter().all(|set| set.is_empty())
    }

    /// All of them in one set.
    pub fn flatten(&self) -> PrefixSet {
        match &self.sets[..] {
            [one] => one.clone(),
            sets => sets.iter().flat_map(|set| set.iter().copied()).collect(),
        }
    }

    /// Those that are in no set of another union, sorted.
    fn minus(&self, other: &Self) -> Vec<Prefix> {
        let mut found = Vec::new();
        for set in &self.sets {
            if other.sets.iter().any(|other| set.is_same(other)) {
                continue;
            }
            let mut rest = other.sets.iter();
            let first = rest.next().map_or_else(|| set.to_vec(), |other| set.minus(other));
            found.extend(rest.fold(first, |left, other| minus(&left, other)));
        }
        if self.sets.len() > 1 {
            found.sort_unstable();
            found.dedup();
        }
        found
    }

    /// The prefixes of which another union does not hold each address, in whatever pieces; sorted.
    pub fn lost_in(&self, new: &Self) -> Vec<Prefix> {
        let mut missing = self.minus(new);
        missing.retain(|prefix| !new.holds(prefix));
        missing
    }

    /// Whether it holds each address of a prefix, in whatever pieces.
    pub fn holds(&self, prefix: &Prefix) -> bool {
        let covers = |set: &PrefixSet| set.around(prefix.addr()).any(|own| own.covers(prefix));
        if self.sets.iter().any(covers) {
            return true;
        }
        if prefix.is_host() {
            return false;
        }
        let pieces = self.sets.iter().flat_map(|set| set.within(prefix)).copied();
        let pieces: PrefixSet = pieces.collect();
        let (first, last) = prefix.bounds();
        pieces.extent(prefix.family(), true).addresses == (last - first).saturating_add(1)
    }

    /// The most addresses of a family that it can hold, and the shortest length: exact if it is
    /// one set.
    pub(crate) fn extent_at_most(&self, family: Family, with_private6: bool) -> Extent {
        let extents = self.sets.iter().map(|set| set.extent(family, with_private6));
        extents.fold(Extent::NONE, Extent::at_most_with)
    }
}

impl<'s> FromIterator<&'s PrefixSet> for PrefixUnion {
    fn from_iter<I: IntoIterator<Item = &'s PrefixSet>>(sets: I) -> Self {
        let (mut shared, mut small) = (Vec::<PrefixSet>::new(), Vec::new());
        for set in sets {
            if set.len() < LARGE {
                small.extend_from_slice(set);
            } else if !shared.iter().any(|known| known.is_same(set)) {
                shared.push(set.clone());
            }
        }
        if !small.is_empty() {
            shared.push(small.into());
        }
        Self { sets: shared }
    }
}

impl From<Vec<Prefix>> for PrefixSet {
    fn from(mut prefixes: Vec<Prefix>) -> Self {
        sort(&mut prefixes);
        prefixes.dedup();
        Self::shared(prefixes.into())
    }
}

impl<const N: usize> From<[Prefix; N]> for PrefixSet {
    fn from(prefixes: [Prefix; N]) -> Self {
        Vec::from(prefixes).into()
    }
}

impl FromIterator<Prefix> for PrefixSet {
    fn from_iter<I: IntoIterator<Item = Prefix>>(prefixes: I) -> Self {
        Vec::from_iter(prefixes).into()
    }
}

impl Default for PrefixSet {
    fn default() -> Self {
        Self::shared(Box::default())
    }
}

impl Deref for PrefixSet {
    type Target = [Prefix];

    fn deref(&self) -> &[Prefix] {
        &self.0.prefixes
    }
}

impl fmt::Debug for PrefixSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for PrefixSet {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || **self == **other
    }
}

impl Eq for PrefixSet {}

impl PartialOrd for PrefixSet {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PrefixSet {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl Hash for PrefixSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl Serialize for PrefixSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PrefixSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<Prefix>::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// A prefix of few enough addresses that each can be counted, of either family.
    fn prefix() -> impl Strategy<Value = Prefix> {
        (0u32..32, 27u8..=32, any::<bool>()).prop_map(|(host, len, is_v4)| {
            let v6 = |len: u8| Prefix::new(Ipv6Addr::from_bits(host.into()).into(), 96 + len);
            if is_v4 { Prefix::new(IpAddr::V4(host.into()), len) } else { v6(len) }
        })
    }

    fn addresses(prefixes: &[Prefix]) -> BTreeSet<(bool, u128)> {
        let of = |prefix: &Prefix| {
            let ((first, last), is_v4) = (prefix.bounds(), prefix.is_v4());
            (first..=last).map(move |address| (is_v4, address))
        };
        prefixes.iter().flat_map(of).collect()
    }

    proptest! {
        #[test]
        fn a_set_answers_as_brute_force_does(
            prefixes in vec(prefix(), 0..12),
            other in vec(prefix(), 0..12),
            probe in prefix(),
        ) {
            let (set, others) = (PrefixSet::from(prefixes.clone()), PrefixSet::from(other));
            let sorted: Vec<Prefix> = BTreeSet::from_iter(prefixes).into_iter().collect();
            prop_assert_eq!(&*set, &*sorted);
            let missing: Vec<_> = sorted.iter().filter(|p| !others.contains(p)).copied().collect();
            prop_assert_eq!(set.minus(&others), missing);
            let within: Vec<_> = sorted.iter().filter(|p| probe.covers(p)).copied().collect();
            prop_assert_eq!(set.within(&probe), within);
            let addr = probe.last_addr();
            let mut around: Vec<_> = sorted.iter().filter(|p| p.contains(addr)).copied().collect();
            around.reverse();
            prop_assert_eq!(set.around(addr).collect::<Vec<_>>(), around);
            prop_assert_eq!(set.has(&probe), sorted.contains(&probe));
            for family in Family::ALL {
                let of_family = |prefix: &&Prefix| prefix.family() == family;
                let own: Vec<_> = sorted.iter().filter(of_family).copied().collect();
                let extent = set.extent(family, true);
                prop_assert_eq!(extent.addresses, addresses(&own).len() as u128);
                let shortest = own.iter().map(Prefix::len).min();
                prop_assert_eq!(extent.shortest, shortest.unwrap_or(u8::MAX));
                prop_assert_eq!(set.extent(family, false), extent);
            }
        }

        #[test]
        fn a_union_loses_what_no_piece_holds(
            old in vec(vec(prefix(), 0..6), 0..4),
            mut new in vec(vec(prefix(), 0..6), 0..4),
            shared in vec(prefix(), 0..6),
        ) {
            new.push(shared.clone());
            let shared = PrefixSet::from(shared);
            let sets = |lists: &[Vec<Prefix>]| -> Vec<PrefixSet> {
                let sets = lists.iter().map(|list| PrefixSet::from(list.clone()));
                sets.chain([shared.clone()]).collect()
            };
            let [before, after] = [&old, &new].map(|lists| sets(lists));
            let [before, after] = [&before, &after].map(PrefixUnion::from_iter);
            let held = addresses(&after.flatten());
            let all: PrefixSet = old.concat().into_iter().chain(shared.iter().copied()).collect();
            prop_assert_eq!(&before.flatten(), &all);
            prop_assert_eq!(before.is_empty(), all.is_empty());
            let is_lost = |prefix: &&Prefix| !addresses(&[**prefix]).is_subset(&held);
            let lost: Vec<_> = all.iter().filter(is_lost).copied().collect();
            prop_assert_eq!(before.lost_in(&after), lost);
            for family in Family::ALL {
                let (most, exact) =
                    (before.extent_at_most(family, true), all.extent(family, true));
                prop_assert_eq!(most.shortest, exact.shortest);
                prop_assert!(most.addresses >= exact.addresses);
            }
        }
    }

    #[test]
    fn an_ipv4_mapped_address_is_ipv6() {
        let set = PrefixSet::from([Prefix::ANY4, Prefix::ANY6]);
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(set.around(mapped).collect::<Vec<_>>(), [Prefix::ANY6]);
        let only4 = PrefixSet::from([Prefix::ANY4]);
        assert_eq!(only4.around(mapped).next(), None);
    }

    #[test]
    fn private_addresses_are_counted_apart() {
        let texts = ["fd00::/8", "fe80::1", "2001:db8::/127", "10.0.0.0/8"];
        let set: PrefixSet = texts.map(|text| text.parse().unwrap()).into();
        assert_eq!(set.extent(Family::V6, false), Extent { shortest: 127, addresses: 2 });
        assert_eq!(set.extent(Family::V6, true).shortest, 8);
        assert_eq!(set.extent(Family::V4, false).addresses, 1 << 24);
    }
}
