//! `dbfw history`: reads the files of the history, without the agent.

use std::{
    collections::VecDeque,
    io::{self, BufRead, BufReader},
    net::IpAddr,
};

use anyhow::Context as _;
use dbfw_core::source::{Prefix, TrustedSource};
use dbfw_wire::control::{HistoryEntry, HistoryList};
use jiff::Timestamp;

use super::{
    context::Context,
    exit::Exit,
    message::{note, warn},
};
use crate::agent::history::{HistoryFiles, path};

/// The entries that are asked for.
#[derive(Debug)]
pub(super) struct Query {
    /// The earliest time.
    pub(super) from: Timestamp,
    /// Most entries: the newest.
    pub(super) limit: usize,
    /// Only of this database.
    pub(super) database: Option<String>,
    /// Only those that let this address in, or keep it out.
    pub(super) address: Option<IpAddr>,
}

impl Query {
    fn asks_for(&self, entry: &HistoryEntry) -> bool {
        let is_of = |database: &String| entry.database.as_ref() == Some(database);
        self.database.as_ref().is_none_or(is_of)
            && self
                .address
                .is_none_or(|address| concerns(entry, address) || may_concern(entry, address))
    }
}

/// Whether one of the prefixes that an entry names, or its source, covers an address.
fn concerns(entry: &HistoryEntry, address: IpAddr) -> bool {
    covers(&entry.added, address) || covers(&entry.removed, address) || is_of(entry, address)
}

/// Whether an entry may be about an address: it names only some of its prefixes, and not by its source
/// either.
pub(super) fn may_concern(entry: &HistoryEntry, address: IpAddr) -> bool {
    let is_short =
        entry.prefixes_in > entry.added.len() || entry.prefixes_out > entry.removed.len();
    let source = entry.source.as_ref().and_then(|text| text.parse::<TrustedSource>().ok());
    let names_addresses = source.is_some_and(|source| source.key().prefixes().is_some());
    is_short && !names_addresses && !concerns(entry, address)
}

/// Whether an entry took an address away: by a prefix that it names, or by its source where it names
/// only the first.
pub(super) fn took_away(entry: &HistoryEntry, address: IpAddr) -> bool {
    covers(&entry.removed, address)
        || entry.prefixes_out > entry.removed.len()
            && is_of(entry, address)
            && !covers(&entry.added, address)
}

fn covers(prefixes: &[String], address: IpAddr) -> bool {
    prefixes.iter().any(|prefix| prefix.parse().is_ok_and(|p: Prefix| p.contains(address)))
}

/// Whether the source of an entry names an address itself.
fn is_of(entry: &HistoryEntry, address: IpAddr) -> bool {
    let source: Option<TrustedSource> = entry.source.as_ref().and_then(|text| text.parse().ok());
    source.is_some_and(|source| {
        let prefixes = source.key().prefixes();
        prefixes.is_some_and(|prefixes| prefixes.iter().any(|p| p.contains(address)))
    })
}

/// Reads the files itself: they are there whether an agent runs or not.
pub(super) fn history(context: &Context, query: &Query) -> anyhow::Result<Exit> {
    let MatchingEntries { entries, left_out, notes } = read(context, query)?;
    notes.iter().for_each(|text| note(text));
    if left_out > 0 {
        note(&format!(
            "{left_out} older entries are not shown: --limit {}",
            query.limit + left_out
        ));
    }
    context.show(&HistoryList { entries })?;
    Ok(Exit::Ok)
}

/// The entries that were found, the newest last.
pub(super) struct MatchingEntries {
    pub(super) entries: Vec<HistoryEntry>,
    /// Older ones beyond the limit.
    left_out: usize,
    /// What else a reader of all of them should know.
    notes: Vec<String>,
}

/// Reads the entries that `query` asks for. Warns of what cannot be read.
pub(super) fn read(context: &Context, query: &Query) -> anyhow::Result<MatchingEntries> {
    let state_dir = context.agent_config().state_dir;
    let path = path(&state_dir);
    let files = HistoryFiles::open(&state_dir)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let mut notes = Vec::new();
    if files.text().is_empty() {
        notes.push(format!("{} does not exist: nothing was recorded", path.display()));
        notes.extend(context.config_doubt());
    }
    let (mut found, mut reaches_back, mut matching) = (Vec::new(), false, 0);
    for (path, file) in files.text() {
        let file = last(BufReader::new(file), query)
            .with_context(|| format!("cannot read {}", path.display()))?;
        if file.damaged > 0 {
            warn(&format!("{} lines of {} are damaged", file.damaged, path.display()));
        }
        reaches_back |= file.reaches_back;
        matching += file.matching;
        found.push(file.entries);
    }
    for (path, error) in files.failed() {
        warn(&format!("cannot read {}: {error}", path.display()));
    }
    let entries = merge(found, query.limit);
    if let Some(address) = query.address {
        let unclear = entries.iter().filter(|entry| may_concern(entry, address)).count();
        if unclear > 0 {
            notes.push(format!(
                "{unclear} of the entries name only some of their prefixes: they may be about \
                 {address} or not"
            ));
        }
    }
    let compressed = files.compressed().len();
    if compressed > 0 && entries.len() < query.limit && !reaches_back {
        notes.push(format!(
            "older entries may be in compressed files in {}, which are not read ({compressed}); \
             zcat shows them",
            state_dir.display()
        ));
    }
    Ok(MatchingEntries { left_out: matching - entries.len(), entries, notes })
}

/// The end of one file.
#[derive(Debug, Default)]
struct Tail {
    entries: VecDeque<HistoryEntry>,
    /// Entries that were asked for, also those beyond the limit.
    matching: usize,
    /// Lines that are no entry.
    damaged: usize,
    /// There are entries from before the time that was asked for.
    reaches_back: bool,
}

/// The last entries that `query` asks for.
fn last(mut log: impl BufRead, query: &Query) -> io::Result<Tail> {
    let mut found = Tail::default();
    let mut line = Vec::new();
    while log.read_until(b'\n', &mut line)? > 0 {
        match serde_json::from_slice::<HistoryEntry>(&line) {
            Ok(entry) if entry.time < query.from => found.reaches_back = true,
            Ok(entry) if query.asks_for(&entry) => {
                found.matching += 1;
                found.entries.push_back(entry);
                if found.entries.len() > query.limit {
                    found.entries.pop_front();
                }
            }
            Ok(_) => {}
            Err(_) if line.trim_ascii().is_empty() => {}
            Err(_) => found.damaged += 1,
        }
        line.clear();
    }
    Ok(found)
}

/// The last entries of several files by time; those of one file stay in their order.
fn merge(mut files: Vec<VecDeque<HistoryEntry>>, limit: usize) -> Vec<HistoryEntry> {
    let mut merged = Vec::new();
    while let Some(oldest) = files
        .iter_mut()
        .filter(|file| !file.is_empty())
        .min_by_key(|file| file.front().map(|entry| entry.time))
    {
        merged.extend(oldest.pop_front());
    }
    merged.split_off(merged.len().saturating_sub(limit))
}

#[cfg(test)]
mod tests {
    use dbfw_wire::control::HistoryKind;

    use super::*;

    fn at(time: &str) -> Timestamp {
        format!("2026-03-01T{time}Z").parse().unwrap()
    }

    fn line(time: &str, generation: u64) -> String {
        let (time, kind) = (at(time), HistoryKind::Applied);
        let entry = HistoryEntry { time, kind, generation, ..HistoryEntry::default() };
        serde_json::to_string(&entry).unwrap() + "\n"
    }

    fn since(from: Timestamp, limit: usize) -> Query {
        Query { from, limit, database: None, address: None }
    }

    #[test]
    fn entries_about_an_address_or_a_database() {
        let entry = |generation, database: &str, source: &str, removed: &[&str]| {
            let entry = HistoryEntry {
                time: at("10:00:00"),
                kind: HistoryKind::Applied,
                generation,
                database: Some(database.to_owned()),
                source: Some(source.to_owned()),
                removed: removed.iter().map(|&prefix| prefix.to_owned()).collect(),
                ..HistoryEntry::default()
            };
            serde_json::to_string(&entry).unwrap() + "\n"
        };
        let log = [
            entry(1, "orders", "tag:backend", &["10.0.0.0/24"]),
            entry(2, "orders", "ip_addr:10.0.0.7", &[]),
            entry(3, "reports", "ip_addr:10.0.0.0/8", &[]),
            entry(4, "reports", "tag:backend", &["10.0.1.0/24", "2001:db8::/32"]),
            entry(5, "reports", "not a source", &["not a prefix"]),
        ]
        .concat();
        let read = |database: Option<&str>, address: Option<&str>, limit| {
            let query = Query {
                from: Timestamp::MIN,
                limit,
                database: database.map(str::to_owned),
                address: address.map(|address| address.parse().unwrap()),
            };
            let found = last(log.as_bytes(), &query).unwrap();
            (generations(&found.entries), found.matching)
        };
        assert_eq!(read(None, Some("10.0.0.7"), 9), (vec![1, 2, 3], 3));
        assert_eq!(read(Some("orders"), Some("10.0.0.7"), 1), (vec![2], 2));
        assert_eq!(read(None, Some("10.0.1.7"), 9), (vec![3, 4], 2));
        assert_eq!(read(None, Some("2001:db8::1"), 9), (vec![4], 1));
        assert_eq!(read(Some("reports"), None, 2), (vec![4, 5], 3));
        assert_eq!(read(Some("nobody"), None, 2), (vec![], 0));
    }

    fn generations<'a>(entries: impl IntoIterator<Item = &'a HistoryEntry>) -> Vec<u64> {
        entries.into_iter().map(|entry| entry.generation).collect()
    }

    #[test]
    fn the_last_entries_of_a_time() {
        let log = [line("10:00:00", 1), line("11:00:00", 2), line("12:00:00", 3)].concat();
        let read = |from, limit| {
            let found = last(log.as_bytes(), &since(from, limit)).unwrap();
            (generations(&found.entries), found.reaches_back)
        };
        assert_eq!(read(Timestamp::MIN, 20), (vec![1, 2, 3], false));
        assert_eq!(read(Timestamp::MIN, 2), (vec![2, 3], false));
        assert_eq!(read(at("11:00:00"), 20), (vec![2, 3], true));
        assert_eq!(read(at("12:00:01"), 20), (vec![], true));
    }

    #[test]
    fn a_damaged_line_hides_no_other() {
        let log =
            format!("{{\"time\":\n\n{}not JSON\n{}", line("10:00:00", 1), line("11:00:00", 2));
        let cut = &log[..log.len() - 4];
        let found = last(log.as_bytes(), &since(Timestamp::MIN, 20)).unwrap();
        assert_eq!((generations(&found.entries), found.damaged), (vec![1, 2], 2));
        let found = last(cut.as_bytes(), &since(Timestamp::MIN, 20)).unwrap();
        assert_eq!((generations(&found.entries), found.damaged), (vec![1], 3));
    }

    #[test]
    fn files_are_merged_by_time() {
        let merged = |logs: &[&[(&str, u64)]], limit| {
            let read = |log: &&[(&str, u64)]| {
                let lines: String = log.iter().map(|(time, n)| line(time, *n)).collect();
                last(lines.as_bytes(), &since(Timestamp::MIN, limit)).unwrap().entries
            };
            generations(&merge(logs.iter().map(read).collect(), limit))
        };
        let rotated: &[_] = &[("08:00:00", 1), ("09:00:00", 2)];
        let current: &[_] = &[("10:00:00", 3), ("12:00:00", 5)];
        let between: &[_] = &[("11:00:00", 4)];
        assert_eq!(merged(&[rotated, current], 20), [1, 2, 3, 5]);
        assert_eq!(merged(&[current, rotated], 3), [2, 3, 5]);
        assert_eq!(merged(&[rotated, between, current], 20), [1, 2, 3, 4, 5]);
        assert_eq!(merged(&[rotated, between, current], 2), [4, 5]);
        assert_eq!(merged(&[], 20), [0; 0]);
        // The clock was set back: one file keeps its order.
        let set_back: &[_] = &[("12:00:00", 1), ("11:00:00", 2), ("11:30:00", 3)];
        assert_eq!(merged(&[set_back], 20), [1, 2, 3]);
        // Of the same moment, rotated ones come first.
        assert_eq!(merged(&[&[("10:00:00", 1)], &[("10:00:00", 2)]], 20), [1, 2]);
    }
}
