//! The ids of entries: ENTRIES holds each distinct entry of the hosts once.
//!
//! A program looks an id up after it has read it, so what an id stands for may change only
//! when no program can still hold it: an id that nobody has any more is `retired` until the
//! writer has waited for all programs that run.

use std::collections::HashMap;

use dbfw_common::{ENTRY_IDS, Entry};

/// The ids in use. The caller writes ENTRIES.
#[derive(Debug)]
pub(crate) struct Ids {
    /// By id; id 0 is never given.
    known: Vec<Known>,
    by_entry: HashMap<Entry, u16>,
    /// Ids that no program can hold.
    free: Vec<u16>,
    /// Ids of no host, which a program may still hold.
    retired: Vec<u16>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    entry: Entry,
    hosts: u32,
}

/// An id for an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It stands for this entry already.
    Known(u16),
    /// ENTRIES must hold the entry under this id before a host gets it.
    New(u16),
    /// All are taken; some are if the programs that run now have ended, see [`Ids::release`].
    Wait,
    /// All are taken.
    None,
}

impl Ids {
    /// The ids of the entries that ENTRIES holds. [`Ids::found`] then counts the hosts of each.
    pub(crate) fn new(entries: Vec<Entry>) -> Self {
        let mut known: Vec<Known> =
            entries.into_iter().map(|entry| Known { entry, hosts: 0 }).collect();
        let used = known.iter().rposition(|known| known.entry != NOTHING).map_or(1, |at| at + 1);
        known.truncate(used.max(1));
        Self { known, by_entry: HashMap::new(), free: Vec::new(), retired: Vec::new() }
    }

    /// Counts a host found with this id.
    pub(crate) fn found(&mut self, id: u16) {
        let at = usize::from(id);
        if at >= self.known.len() {
            self.known.resize(at + 1, Known { entry: NOTHING, hosts: 0 });
        }
        let known = &mut self.known[at];
        known.hosts += 1;
        if known.hosts == 1 {
            self.by_entry.insert(known.entry, id);
        }
    }

    /// Ends the counting: what nobody was found with is retired.
    pub(crate) fn all_found(&mut self) {
        let unused = self.known.iter().zip(0..=u16::MAX).skip(1);
        self.retired = unused.filter(|(known, _)| known.hosts == 0).map(|(_, id)| id).collect();
    }

    /// The entry of an id.
    pub(crate) fn entry(&self, id: u16) -> Entry {
        self.known.get(usize::from(id)).map_or(NOTHING, |known| known.entry)
    }

    /// An id for one more host with this entry.
    pub(crate) fn take(&mut self, entry: Entry) -> Taken {
        if let Some(&id) = self.by_entry.get(&entry) {
            self.known[usize::from(id)].hosts += 1;
            return Taken::Known(id);
        }
        let id = match self.free.pop() {
            Some(id) => id,
            None if self.known.len() < ENTRY_IDS as usize => {
                self.known.push(Known { entry: NOTHING, hosts: 0 });
                (self.known.len() - 1) as u16
            }
            None if self.retired.is_empty() => return Taken::None,
            None => return Taken::Wait,
        };
        self.known[usize::from(id)] = Known { entry, hosts: 1 };
        self.by_entry.insert(entry, id);
        Taken::New(id)
    }

    /// One host less has this id.
    pub(crate) fn give_back(&mut self, id: u16) {
        let Some(known) = self.known.get_mut(usize::from(id)) else { return };
        known.hosts = known.hosts.saturating_sub(1);
        if known.hosts == 0 {
            if self.by_entry.get(&known.entry) == Some(&id) {
                self.by_entry.remove(&known.entry);
            }
            self.retired.push(id);
        }
    }

    /// No program that ran when the last id was given back runs any more.
    pub(crate) fn release(&mut self) {
        self.free.append(&mut self.retired);
    }
}

/// The entry of an id that was never taken.
const NOTHING: Entry = Entry::new(0, 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_entries_share_an_id_which_rests_before_it_means_something_else() {
        let mut ids = Ids::new(vec![NOTHING; 3]);
        ids.all_found();
        let entry = |rules| Entry::new(1, rules);
        assert_eq!(ids.take(entry(1)), Taken::New(1));
        assert_eq!(ids.take(entry(1)), Taken::Known(1));
        assert_eq!(ids.entry(1), entry(1));
        for rules in 2..ENTRY_IDS {
            assert_eq!(ids.take(entry(rules)), Taken::New(rules as u16));
        }
        assert_eq!(ids.take(entry(0)), Taken::None);
        ids.give_back(1);
        assert_eq!(ids.take(entry(0)), Taken::None);
        ids.give_back(1);
        assert_eq!(ids.take(entry(0)), Taken::Wait);
        ids.release();
        assert_eq!(ids.take(entry(0)), Taken::New(1));
        assert_eq!(ids.take(entry(1)), Taken::None);
    }

    #[test]
    fn what_an_earlier_agent_left_is_counted() {
        let mut ids = Ids::new(vec![NOTHING, Entry::new(1, 1), Entry::new(2, 2), NOTHING]);
        ids.found(1);
        ids.found(1);
        ids.all_found();
        assert_eq!(ids.take(Entry::new(1, 1)), Taken::Known(1));
        // A program may still hold id 2.
        assert_eq!(ids.take(Entry::new(3, 3)), Taken::New(3));
    }
}
