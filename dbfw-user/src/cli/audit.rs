//! `dbfw audit`.

use std::{
    collections::VecDeque,
    fs,
    io::{self, BufRead, BufReader},
};

use anyhow::Context as _;
use jiff::Timestamp;

use super::{context::Context, duration::Lifetime, exit::Exit, note, warn};
use crate::control::wire::{AUDIT_LOG, AuditEntry, AuditTrail};

/// Reads the file itself: it is there whether an agent runs or not.
pub(super) fn audit(
    context: &Context,
    since: Option<Lifetime>,
    limit: usize,
) -> anyhow::Result<Exit> {
    let path = context.agent_config().state_dir.join(AUDIT_LOG);
    let from = since.map_or(Timestamp::MIN, |since| before(Timestamp::now(), since));
    let mut found = Found::default();
    match fs::File::open(&path) {
        Ok(file) => {
            found = last(BufReader::new(file), from, limit)
                .with_context(|| format!("cannot read {}", path.display()))?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            note(&format!("{} does not exist: nothing was recorded", path.display()));
        }
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
    }
    if found.unreadable > 0 {
        warn(&format!("{} lines of {} are damaged", found.unreadable, path.display()));
    }
    context.show(&AuditTrail { entries: found.entries.into() })?;
    Ok(Exit::Ok)
}

#[derive(Debug, Default)]
struct Found {
    entries: VecDeque<AuditEntry>,
    /// Lines that are no entry.
    unreadable: usize,
}

/// The last entries that are not before `from`.
fn last(mut log: impl BufRead, from: Timestamp, limit: usize) -> io::Result<Found> {
    let mut found = Found::default();
    let mut line = Vec::new();
    while log.read_until(b'\n', &mut line)? > 0 {
        match serde_json::from_slice::<AuditEntry>(&line) {
            Ok(entry) if entry.time >= from => {
                found.entries.push_back(entry);
                if found.entries.len() > limit {
                    found.entries.pop_front();
                }
            }
            Ok(_) => {}
            Err(_) if line.trim_ascii().is_empty() => {}
            Err(_) => found.unreadable += 1,
        }
        line.clear();
    }
    Ok(found)
}

fn before(now: Timestamp, since: Lifetime) -> Timestamp {
    let epoch = Timestamp::UNIX_EPOCH;
    let length = since.after(epoch).unwrap_or(Timestamp::MAX).duration_since(epoch);
    now.checked_sub(length).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::duration::lifetime, control::wire::AuditKind};

    fn at(time: &str) -> Timestamp {
        format!("2026-03-01T{time}Z").parse().unwrap()
    }

    fn line(time: &str, generation: u64) -> String {
        let entry = AuditEntry::new(at(time), AuditKind::Applied, generation);
        serde_json::to_string(&entry).unwrap() + "\n"
    }

    fn generations(found: &Found) -> Vec<u64> {
        found.entries.iter().map(|entry| entry.generation).collect()
    }

    #[test]
    fn the_last_entries_of_a_time() {
        let log = [line("10:00:00", 1), line("11:00:00", 2), line("12:00:00", 3)].concat();
        let read = |from, limit| generations(&last(log.as_bytes(), from, limit).unwrap());
        assert_eq!(read(Timestamp::MIN, 20), [1, 2, 3]);
        assert_eq!(read(Timestamp::MIN, 2), [2, 3]);
        assert_eq!(read(at("11:00:00"), 20), [2, 3]);
        assert_eq!(read(at("12:00:01"), 20), [0; 0]);
    }

    #[test]
    fn a_damaged_line_hides_no_other() {
        let log =
            format!("{{\"time\":\n\n{}not JSON\n{}", line("10:00:00", 1), line("11:00:00", 2));
        let cut = &log[..log.len() - 4];
        let found = last(log.as_bytes(), Timestamp::MIN, 20).unwrap();
        assert_eq!((generations(&found), found.unreadable), (vec![1, 2], 2));
        let found = last(cut.as_bytes(), Timestamp::MIN, 20).unwrap();
        assert_eq!((generations(&found), found.unreadable), (vec![1], 3));
    }

    #[test]
    fn since_is_counted_back_from_now() {
        assert_eq!(before(at("12:00:00"), lifetime("1h").unwrap()), at("11:00:00"));
        assert_eq!(before(Timestamp::MIN, lifetime("1h").unwrap()), Timestamp::MIN);
    }
}
