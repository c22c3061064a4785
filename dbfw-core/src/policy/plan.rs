//! [`Plan`]: the changes from the entries that the kernel holds to those it should hold.

use std::{cmp::Reverse, collections::BTreeMap};

use dbfw_common::Entry;

use crate::source::{Prefix, PrefixMap};

/// Entries by prefix, as the kernel holds them or should hold them.
pub type Entries = BTreeMap<Prefix, Entry>;

/// Current entries by prefix, from which a plan starts.
pub trait CurrentEntries {
    /// The entry of exactly this prefix.
    fn entry(&self, prefix: &Prefix) -> Option<Entry>;
    /// Every prefix, in any order.
    fn prefixes(&self) -> impl Iterator<Item = Prefix>;
}

impl CurrentEntries for Entries {
    fn entry(&self, prefix: &Prefix) -> Option<Entry> {
        self.get(prefix).copied()
    }

    fn prefixes(&self) -> impl Iterator<Item = Prefix> {
        self.keys().copied()
    }
}

/// The changes from one set of entries to another, each to be made in one atomic operation
/// on one prefix, in this order: all writes, the longest prefix first, then all removals, the
/// shortest prefix first.
///
/// The order is what keeps a change from disturbing anybody. The longest match decides, so
/// take any address, the longest prefix `old` that covers it before, and the longest, `new`,
/// that covers it afterwards:
///
/// - `new` is at least as long as `old`: no prefix longer than `new` covers the address, neither
///   before nor afterwards, so `new` is the first step the address can notice. Once it is
///   written it is the longest match, whatever comes later.
/// - `new` is shorter than `old`, or there is none: `old` is to be removed, and while it stands
///   nothing else shows. Of the removals the address could notice it is the last, being the
///   longest; it uncovers `new`, which was written before any removal.
///
/// So each address goes from its old verdict to its new one in one step and never through a
/// third; who is trusted before and after is trusted throughout, and nobody is trusted who is
/// trusted neither before nor after. To take back the first steps, the last of them first, is as
/// safe, and each finds the room in the maps that the step it takes back found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Entries to insert or replace, the longest prefix first.
    pub writes: Vec<(Prefix, Entry)>,
    /// Prefixes to remove, the shortest first.
    pub removals: Vec<Prefix>,
}

/// The plan that takes `current` to `desired`.
///
/// ```
/// use dbfw_common::Entry;
/// use dbfw_core::policy::{Entries, diff};
///
/// let old = Entries::from([("10.0.0.0/8".parse().unwrap(), Entry::new(0b1, 0))]);
/// let new = Entries::from([("10.1.0.0/16".parse().unwrap(), Entry::new(0b1, 0))]);
/// let plan = diff(&old, &new);
/// assert_eq!((plan.writes.len(), plan.removals.len()), (1, 1));
/// assert_eq!(plan.result(&old), new);
/// ```
pub fn diff(current: &impl CurrentEntries, desired: &Entries) -> Plan {
    let writes = desired
        .iter()
        .filter(|(prefix, entry)| current.entry(prefix).as_ref() != Some(entry))
        .map(|(prefix, entry)| (*prefix, *entry))
        .collect();
    let removals = current.prefixes().filter(|prefix| !desired.contains_key(prefix)).collect();
    Plan::new(writes, removals)
}

/// Entries by which every address reaches the databases that it reaches by `old` or by `new`.
/// Those that differ from `new` count for no rule.
pub fn union(old: &Entries, new: &Entries) -> Entries {
    let masks = |entries: &Entries| -> PrefixMap<u64> {
        entries.iter().map(|(prefix, entry)| (*prefix, entry.mask())).collect()
    };
    let (old_masks, new_masks) = (masks(old), masks(new));
    let mut entries = new.clone();
    for prefix in old.keys().chain(new.keys()) {
        let mask = |masks: &PrefixMap<u64>| masks.covering(prefix).map_or(0, |(_, mask)| *mask);
        let both = mask(&old_masks) | mask(&new_masks);
        if new.get(prefix).is_none_or(|entry| entry.mask() != both) {
            entries.insert(*prefix, Entry::new(both, 0));
        }
    }
    entries
}

impl Plan {
    /// The plan of these steps, in its order.
    pub(super) fn new(mut writes: Vec<(Prefix, Entry)>, mut removals: Vec<Prefix>) -> Self {
        writes.sort_unstable_by_key(|(prefix, _)| (Reverse(prefix.len()), *prefix));
        removals.sort_unstable_by_key(|prefix| (prefix.len(), *prefix));
        Self { writes, removals }
    }

    /// The entries after it was applied to `current`.
    pub fn result(&self, current: &Entries) -> Entries {
        let mut entries = current.clone();
        entries.extend(self.writes.iter().copied());
        for prefix in &self.removals {
            entries.remove(prefix);
        }
        entries
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of steps.
    pub fn len(&self) -> usize {
        self.writes.len() + self.removals.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::support::prefix;

    fn entries(list: &[(&str, u64)]) -> Entries {
        list.iter().map(|(text, mask)| (prefix(text), Entry::new(*mask, 0))).collect()
    }

    #[test]
    fn long_writes_first_then_short_removals() {
        let current = entries(&[("10.0.0.0/8", 1), ("10.1.0.0/16", 3), ("::/0", 1), ("::/8", 1)]);
        let desired = entries(&[("10.0.0.0/8", 2), ("10.1.2.0/24", 3), ("2001:db8::/32", 1)]);
        let plan = diff(&current, &desired);
        let writes: Vec<_> = plan.writes.iter().map(|(p, e)| (p.to_string(), e.mask())).collect();
        let expected = [("2001:db8::/32", 1), ("10.1.2.0/24", 3), ("10.0.0.0/8", 2)];
        assert_eq!(writes, expected.map(|(text, mask)| (text.to_owned(), mask)));
        let removals: Vec<_> = plan.removals.iter().map(ToString::to_string).collect();
        assert_eq!(removals, ["::/0", "::/8", "10.1.0.0/16"]);
        assert_eq!(plan.len(), 6);
        assert!(!plan.is_empty());
        assert!(diff(&current, &current).is_empty());
    }

    #[test]
    fn a_change_of_slots_alone_is_a_write() {
        let with = |rules| Entries::from([(prefix("10.0.0.0/8"), Entry::new(1, rules))]);
        let plan = diff(&with(1), &with(2));
        assert_eq!(plan.writes, [(prefix("10.0.0.0/8"), Entry::new(1, 2))]);
    }
}
