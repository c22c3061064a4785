//! Use of the trusted sources, read from the kernel's counters and written beside the loop.

use std::{
    collections::{HashMap, HashSet},
    future::pending,
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use dbfw_core::policy::{DatabasePolicy, SlotTable};
use dbfw_datapath::{DatapathError, Reader};
use jiff::Timestamp;
use tokio::task::{JoinHandle, spawn_blocking};

use super::kernel::Kernel;
use crate::{
    readers::sources::{count, count_slot},
    state::files::{self, ReadError},
    traffic::{
        drops::Clock,
        uses::{SourceCounters, SourceUses, UsedSource},
    },
};

/// Time between two readings.
const EVERY: Duration = Duration::from_secs(60);

/// The use of every source, and the reading that is under way.
#[derive(Debug)]
pub(super) struct Usage {
    uses: SourceUses,
    /// The number of changes that a reading knows nothing of: one begun before them is dropped.
    changes: u64,
    begun: Instant,
    reading: Option<JoinHandle<Result<UsageReading, UsageError>>>,
    /// The error of the last reading.
    error: Option<String>,
}

/// The result of a reading.
#[derive(Debug)]
pub(super) struct UsageReading {
    uses: SourceUses,
    /// [`Usage::changes`] when it was begun.
    changes: u64,
}

/// Reason why the use of sources was not read or not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum UsageError {
    #[error("cannot read the counters of the sources: {0}")]
    Counters(#[from] DatapathError),
    #[error("cannot save the use of the sources, a reboot would forget it: {0}")]
    Write(#[from] io::Error),
}

impl Usage {
    /// Takes over what an earlier run knew. A file that cannot be used is set aside: it decides
    /// nothing.
    pub(super) fn load(state_dir: &Path) -> Self {
        let uses = match files::read(state_dir.join(SourceUses::FILE), SourceUses::from_json) {
            Ok(uses) => uses,
            Err(ReadError::Missing(_)) => SourceUses::default(),
            Err(error) => {
                let problem = error.set_aside();
                tracing::warn!("{problem}");
                SourceUses::default()
            }
        };
        Self { uses, changes: 0, begun: Instant::now(), reading: None, error: None }
    }

    /// The uses as they were last read.
    pub(super) fn uses(&self) -> &SourceUses {
        &self.uses
    }

    /// Reads the counters now, before a packet can be counted: what an earlier run counted is told
    /// from what counters say that began again.
    pub(super) fn begin(&mut self, kernel: &Kernel, now: Timestamp) {
        match count(&kernel.reader(), kernel.slots(), |_| true) {
            Ok(counted) => self.uses.update(&counted, now),
            Err(error) => self.failed(&error.into()),
        }
    }

    /// Keeps what was counted in slots that are taken from their sources. They hold it until the
    /// next change.
    pub(super) fn slots_changed(&mut self, kernel: &Kernel, before: &SlotTable, now: Timestamp) {
        if before == kernel.slots() {
            return;
        }
        self.changes += 1;
        match moved(&kernel.reader(), before, kernel.slots()) {
            Ok(moved) => self.uses.move_slots(moved, now),
            Err(error) => self.failed(&error.into()),
        }
    }

    /// Moves every moment that is kept, after the clock was set.
    pub(super) fn adjust_times(&mut self, adjust: impl Fn(&mut Timestamp)) {
        self.changes += 1;
        self.uses.adjust_times(adjust);
    }

    /// Begins to read the counters and to write them if it is time.
    pub(super) fn save(&mut self, state_dir: &Path, kernel: &Kernel, now: Timestamp) {
        if self.begun.elapsed() >= EVERY {
            self.begin_save(state_dir, kernel, now);
        }
    }

    fn begin_save(&mut self, state_dir: &Path, kernel: &Kernel, now: Timestamp) {
        if self.reading.is_some() {
            return;
        }
        self.begun = Instant::now();
        let (mut uses, changes) = (self.uses.clone(), self.changes);
        let (reader, slots) = (kernel.reader(), kernel.slots().clone());
        let databases = kernel.policy().databases().to_vec();
        let path = state_dir.join(SourceUses::FILE);
        self.reading = Some(spawn_blocking(move || {
            let counted = count(&reader, &slots, |_| true)?;
            uses.update(&counted, now);
            let in_force = in_force(&databases);
            uses.follow(|source| counted.contains_key(source) || in_force.contains(source), now);
            if uses.is_dirty() {
                let text = uses.to_json()?;
                files::replace(&path, &text, files::Readers::Group)?;
                uses.clean();
            }
            Ok(UsageReading { uses, changes })
        }));
    }

    /// Waits until a reading has ended, for ever if none is under way. Can be cancelled at any
    /// time.
    pub(super) async fn read(&mut self) -> Result<UsageReading, UsageError> {
        let Some(reading) = &mut self.reading else { return pending().await };
        let result = reading.await.unwrap_or_else(|error| Err(io::Error::other(error).into()));
        self.reading = None;
        result
    }

    /// Takes in a reading.
    pub(super) fn saved(&mut self, result: Result<UsageReading, UsageError>) {
        match result {
            Ok(read) => {
                if self.error.take().is_some() {
                    tracing::info!("the use of the sources is saved again");
                }
                if read.changes == self.changes {
                    self.uses = read.uses;
                }
            }
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &UsageError) {
        let error = error.to_string();
        if self.error.as_ref() != Some(&error) {
            tracing::warn!("{error}");
        }
        self.error = Some(error);
    }

    /// Leaves what is known on disk.
    pub(super) async fn finish(&mut self, state_dir: &Path, kernel: &Kernel, now: Timestamp) {
        if self.reading.is_some() {
            let result = self.read().await;
            self.saved(result);
        }
        self.begin_save(state_dir, kernel, now);
        let result = self.read().await;
        self.saved(result);
    }
}

/// The sources in force.
fn in_force(databases: &[DatabasePolicy]) -> HashSet<UsedSource> {
    let rules = databases
        .iter()
        .flat_map(|database| database.rules.iter().map(move |rule| (&database.name, rule)));
    rules.map(|(name, rule)| UsedSource::new(name, &rule.kind.to_string())).collect()
}

/// The sources that lost a slot, with what all slots counted that they had, and what those show
/// that they keep.
fn moved(
    reader: &Arc<Reader>,
    before: &SlotTable,
    after: &SlotTable,
) -> Result<HashMap<UsedSource, [SourceCounters; 2]>, DatapathError> {
    let after: HashMap<u32, _> = after.slots().collect();
    let lost = before.slots().filter(|(slot, key)| after.get(slot) != Some(key));
    let mut moved: HashMap<UsedSource, [SourceCounters; 2]> = lost
        .map(|(_, key)| (UsedSource::new(&key.database, &key.source), Default::default()))
        .collect();
    let clock = Clock::read().ok();
    for (slot, key) in before.slots() {
        let source = UsedSource::new(&key.database, &key.source);
        let Some([all, kept]) = moved.get_mut(&source) else { continue };
        let counted = count_slot(reader, slot, clock)?;
        all.add(counted);
        if after.get(&slot) == Some(&key) {
            kept.add(counted);
        }
    }
    Ok(moved)
}
