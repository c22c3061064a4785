//! `dbfw history`: reads the files of the history, without the agent.

use std::{
    collections::VecDeque,
    io::{self, BufRead, BufReader},
};

use anyhow::Context as _;
use dbfw_wire::control::{HistoryEntry, HistoryList};
use jiff::{SignedDuration, Timestamp};

use super::{
    context::Context,
    exit::Exit,
    message::{note, warn},
};
use crate::agent::history::{HistoryFiles, path};

/// Reads the files itself: they are there whether an agent runs or not.
pub(super) fn history(
    context: &Context,
    since: Option<SignedDuration>,
    limit: usize,
) -> anyhow::Result<Exit> {
    let state_dir = context.agent_config().state_dir;
    let path = path(&state_dir);
    let from = since.and_then(|since| Timestamp::now().checked_sub(since).ok());
    let files = HistoryFiles::open(&state_dir)
        .with_context(|| format!("cannot read {}", path.display()))?;
    if files.text().is_empty() {
        note(&format!("{} does not exist: nothing was recorded", path.display()));
    }
    let (mut found, mut reaches_back) = (Vec::new(), false);
    for (path, file) in files.text() {
        let file = last(BufReader::new(file), from.unwrap_or(Timestamp::MIN), limit)
            .with_context(|| format!("cannot read {}", path.display()))?;
        if file.damaged > 0 {
            warn(&format!("{} lines of {} are damaged", file.damaged, path.display()));
        }
        reaches_back |= file.reaches_back;
        found.push(file.entries);
    }
    for (path, error) in files.failed() {
        warn(&format!("cannot read {}: {error}", path.display()));
    }
    let entries = merge(found, limit);
    let compressed = files.compressed().len();
    if compressed > 0 && entries.len() < limit && !reaches_back {
        note(&format!(
            "older entries may be in compressed files in {}, which are not read ({compressed}); \
             zcat shows them",
            state_dir.display()
        ));
    }
    context.show(&HistoryList { entries })?;
    Ok(Exit::Ok)
}

/// The end of one file.
#[derive(Debug, Default)]
struct Found {
    entries: VecDeque<HistoryEntry>,
    /// Lines that are no entry.
    damaged: usize,
    /// There are entries from before the time that was asked for.
    reaches_back: bool,
}

/// The last entries that are not before `from`.
fn last(mut log: impl BufRead, from: Timestamp, limit: usize) -> io::Result<Found> {
    let mut found = Found::default();
    let mut line = Vec::new();
    while log.read_until(b'\n', &mut line)? > 0 {
        match serde_json::from_slice::<HistoryEntry>(&line) {
            Ok(entry) if entry.time >= from => {
                found.entries.push_back(entry);
                if found.entries.len() > limit {
                    found.entries.pop_front();
                }
            }
            Ok(_) => found.reaches_back = true,
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

    fn generations<'a>(entries: impl IntoIterator<Item = &'a HistoryEntry>) -> Vec<u64> {
        entries.into_iter().map(|entry| entry.generation).collect()
    }

    #[test]
    fn the_last_entries_of_a_time() {
        let log = [line("10:00:00", 1), line("11:00:00", 2), line("12:00:00", 3)].concat();
        let read = |from, limit| {
            let found = last(log.as_bytes(), from, limit).unwrap();
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
        let found = last(log.as_bytes(), Timestamp::MIN, 20).unwrap();
        assert_eq!((generations(&found.entries), found.damaged), (vec![1, 2], 2));
        let found = last(cut.as_bytes(), Timestamp::MIN, 20).unwrap();
        assert_eq!((generations(&found.entries), found.damaged), (vec![1], 3));
    }

    #[test]
    fn files_are_merged_by_time() {
        let merged = |logs: &[&[(&str, u64)]], limit| {
            let read = |log: &&[(&str, u64)]| {
                let lines: String = log.iter().map(|(time, n)| line(time, *n)).collect();
                last(lines.as_bytes(), Timestamp::MIN, limit).unwrap().entries
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
