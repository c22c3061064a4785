//! The history: what changed who may connect, written by a thread of its own.
//!
//! A slow disk must not stop the loop.

mod files;
mod log;

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
};

use crate::{
    policy::DatabasePolicy,
    source::{Origin, Prefix, Rule, TrustedSource},
};

use self::log::HistoryLog;

pub(crate) use self::files::{HistoryFiles, path};
pub(super) use self::log::with_prefixes;
pub(super) use crate::control::wire::{HistoryEntry as Entry, HistoryKind as Kind};

/// Sources of one change that get an entry of their own; the rest share one.
const MAX_SOURCES: usize = 100;

/// The writer of the history.
pub(super) struct History {
    sender: Option<Sender<Vec<Entry>>>,
    /// Until the writer is started.
    waiting: Option<(PathBuf, Receiver<Vec<Entry>>)>,
    writer: Option<JoinHandle<()>>,
    trouble: Arc<Mutex<Option<String>>>,
    errors: Arc<AtomicU64>,
}

impl History {
    /// Collects entries for the history in a state directory.
    pub(super) fn new(state_dir: &Path) -> Self {
        let (sender, entries) = channel();
        Self {
            sender: Some(sender),
            waiting: Some((state_dir.to_owned(), entries)),
            writer: None,
            trouble: Arc::default(),
            errors: Arc::default(),
        }
    }

    /// Starts to write. A thread keeps the capabilities it is started with: this is for after
    /// they were dropped.
    pub(super) fn start(&mut self) {
        let Some((state_dir, entries)) = self.waiting.take() else { return };
        let (trouble, errors) = (Arc::clone(&self.trouble), Arc::clone(&self.errors));
        self.writer = Some(std::thread::spawn(move || {
            files::rename_former(&state_dir);
            let mut log = HistoryLog::open(&state_dir);
            for batch in entries {
                let mut failed = None;
                for entry in &batch {
                    if let Err(error) = log.record(entry) {
                        errors.fetch_add(1, Ordering::Relaxed);
                        failed = Some(error);
                    }
                }
                if let Ok(mut trouble) = trouble.lock() {
                    *trouble =
                        failed.map(|error| format!("the history cannot be written: {error}"));
                }
            }
        }));
    }

    /// Has entries written.
    pub(super) fn record(&self, entries: Vec<Entry>) {
        if let Some(sender) = self.sender.as_ref().filter(|_| !entries.is_empty()) {
            // Fails only if the writer panicked; its thread has said so.
            let _ = sender.send(entries);
        }
    }

    /// Entries that could not be written.
    pub(super) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Why the last entries were not written.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().ok()?.clone()
    }
}

impl Drop for History {
    /// Waits until everything is written.
    fn drop(&mut self) {
        self.sender = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// What a change did to one source of one database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SourceChange {
    pub(super) database: String,
    /// `None`: of all further sources of the change together.
    pub(super) source: Option<(Arc<TrustedSource>, Origin)>,
    pub(super) added: Vec<Prefix>,
    pub(super) removed: Vec<Prefix>,
}

/// What differs between two policies, source by source.
pub(super) fn changes(old: &[DatabasePolicy], new: &[DatabasePolicy]) -> Vec<SourceChange> {
    let by_name = |databases: &[DatabasePolicy]| -> BTreeMap<String, Vec<Rule>> {
        databases.iter().map(|database| (database.name.clone(), database.rules.clone())).collect()
    };
    let (mut before, after) = (by_name(old), by_name(new));
    let mut all = Vec::new();
    for (name, rules) in after {
        let gone = before.remove(&name).unwrap_or_default();
        all.extend(of_database(&name, &gone, &rules));
    }
    for (name, rules) in before {
        all.extend(of_database(&name, &rules, &[]));
    }
    all
}

fn of_database(name: &str, old: &[Rule], new: &[Rule]) -> Vec<SourceChange> {
    type Prefixes = Arc<[Prefix]>;
    let mut before: HashMap<(&str, u8, &Origin), (&Rule, Prefixes)> = HashMap::new();
    let key = |rule: &'_ Rule| rule.source.kind as u8;
    for rule in old {
        let prefixes = Arc::clone(&rule.prefixes);
        before.insert((&rule.source.value, key(rule), &rule.origin), (rule, prefixes));
    }
    let mut changed = Vec::new();
    let mut push = |rule: &Rule, added: Vec<Prefix>, removed: Vec<Prefix>| {
        if !added.is_empty() || !removed.is_empty() {
            let source = Some((Arc::clone(&rule.source), rule.origin.clone()));
            changed.push(SourceChange { database: name.to_owned(), source, added, removed });
        }
    };
    for rule in new {
        let was = before.remove(&(&*rule.source.value, key(rule), &rule.origin));
        let was = was.map_or_else(|| Arc::from([]), |(_, prefixes)| prefixes);
        if was != rule.prefixes {
            push(rule, minus(&rule.prefixes, &was), minus(&was, &rule.prefixes));
        }
    }
    for (rule, prefixes) in before.into_values() {
        push(rule, Vec::new(), prefixes.to_vec());
    }
    if changed.len() > MAX_SOURCES {
        let rest = changed.split_off(MAX_SOURCES);
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        for change in rest {
            added.extend(change.added);
            removed.extend(change.removed);
        }
        changed.push(SourceChange { database: name.to_owned(), source: None, added, removed });
    }
    changed
}

/// Both sorted.
fn minus(from: &[Prefix], what: &[Prefix]) -> Vec<Prefix> {
    from.iter().filter(|prefix| what.binary_search(prefix).is_err()).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceKey;

    fn rule(text: &str, prefixes: &[&str]) -> Rule {
        let source: TrustedSource = text.parse().unwrap();
        let prefixes: Vec<Prefix> = prefixes.iter().map(|text| text.parse().unwrap()).collect();
        Rule::of_source(source.into(), Origin::Config, prefixes)
    }

    fn policy(name: &str, rules: Vec<Rule>) -> DatabasePolicy {
        DatabasePolicy { id: 1, name: name.to_owned(), rules }
    }

    fn told(old: &[DatabasePolicy], new: &[DatabasePolicy]) -> Vec<String> {
        let line = |change: SourceChange| {
            let key: Option<SourceKey> = change.source.map(|(source, _)| source.key());
            let source = key.map_or_else(|| "rest".to_owned(), |key| key.to_string());
            format!(
                "{} {source} +{} -{}",
                change.database,
                change.added.len(),
                change.removed.len()
            )
        };
        let mut lines: Vec<String> = changes(old, new).into_iter().map(line).collect();
        lines.sort_unstable();
        lines
    }

    #[test]
    fn tells_what_came_and_went_by_source() {
        let old = [
            policy(
                "a",
                vec![rule("tag:x", &["10.0.0.1", "10.0.0.2"]), rule("tag:y", &["10.0.0.9"])],
            ),
            policy("b", vec![rule("ip_addr:10.1.0.0/16", &["10.1.0.0/16"])]),
        ];
        let new = [policy("a", vec![rule("tag:x", &["10.0.0.2", "10.0.0.3", "10.0.0.4"])])];
        assert_eq!(
            told(&old, &new),
            ["a tag:x +2 -1", "a tag:y +0 -1", "b ip_addr:10.1.0.0/16 +0 -1"]
        );
        assert_eq!(told(&new, &new), [""; 0]);
    }

    #[test]
    fn a_long_list_is_summed_up() {
        let rules = |range: std::ops::Range<u32>| {
            range
                .map(|i| {
                    let address = std::net::Ipv4Addr::from(0x0a00_0000 + i).to_string();
                    rule(&format!("ip_addr:{address}"), &[&address])
                })
                .collect()
        };
        let told = told(&[], &[policy("a", rules(0..5000))]);
        assert_eq!(told.len(), 101);
        assert!(told.contains(&"a rest +4900 -0".to_owned()), "{told:?}");
    }
}
