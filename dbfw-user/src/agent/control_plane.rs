//! Facts for a control plane, and the agent's memory of it on disk.

use std::{
    collections::BTreeSet,
    io::{BufWriter, Write as _},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use dbfw_core::{
    policy::{Policy, differing},
    source::Prefix,
};
use dbfw_provider::server::{Facts, Kept, Lasting};
use tokio::sync::watch;
use uuid::Uuid;

use super::kernel::Kernel;
use crate::state::{
    checked,
    files::{self, ReadError},
};

const FORMAT: u32 = 1;

/// Time between two looks at what is not about a list.
const EVERY: Duration = Duration::from_secs(5);

/// Addresses that are looked up in the maps after a change.
const MAX_READ_BACK: usize = 512;

/// The agent's side of a control plane.
pub(super) struct ControlPlane {
    facts: watch::Sender<Facts>,
    kept: Arc<Mutex<Kept>>,
    path: PathBuf,
    boot: Uuid,
    /// The reason why the maps do not hold the last change, as far as they were read back.
    not_held: Option<String>,
    /// The time of the last look at what is not about a list.
    looked: Option<Instant>,
    /// Whether there may be something new to tell.
    is_due: bool,
}

impl ControlPlane {
    /// Takes over what an earlier run kept. A file that cannot be used is set aside: the server is
    /// asked for all of it.
    pub(super) fn load(state_dir: &Path) -> Self {
        let path = state_dir.join("server.json");
        let read = files::read(path.clone(), |content| checked::decode(FORMAT, content));
        let kept = match read {
            Ok(kept) => kept,
            Err(ReadError::Missing(_)) => Kept::default(),
            Err(error) => {
                let problem = error.set_aside();
                tracing::warn!("{problem}");
                Kept::default()
            }
        };
        Self {
            facts: watch::Sender::new(Facts::default()),
            kept: Arc::new(Mutex::new(kept)),
            path,
            boot: Uuid::new_v4(),
            not_held: None,
            looked: None,
            is_due: true,
        }
    }

    /// State that the worker of a control plane leaves to the next one.
    pub(super) fn lasting(&self) -> Lasting {
        let path = Mutex::new(self.path.clone());
        Lasting {
            kept: Arc::clone(&self.kept),
            keep: Arc::new(move |kept| {
                // A worker that was started anew may write while the one before it still does.
                let path = path.lock().unwrap_or_else(PoisonError::into_inner);
                files::replace_by(&path, files::Readers::Owner, |file| {
                    let mut out = BufWriter::new(file);
                    checked::write(FORMAT, kept, &mut out)?;
                    out.flush()
                })
            }),
            facts: self.facts.subscribe(),
            boot: self.boot,
        }
    }

    /// Looks up in the maps what a change was about: what is reported as in force was read back.
    pub(super) fn read_back(&mut self, kernel: &Kernel, before: &Policy) {
        self.not_held = read_back(kernel, before, MAX_READ_BACK).err();
        self.is_due = true;
    }

    /// Whether there may be something new to tell; once.
    pub(super) fn take_due(&mut self) -> bool {
        std::mem::take(&mut self.is_due)
    }

    /// Whether it is time to look at what is not about a list; once.
    pub(super) fn take_look(&mut self) -> bool {
        let is_due = self.looked.is_none_or(|looked| looked.elapsed() >= EVERY);
        if is_due {
            self.looked = Some(Instant::now());
        }
        is_due
    }

    /// The facts that were told last.
    pub(super) fn facts(&self) -> Facts {
        self.facts.borrow().clone()
    }

    /// Tells these, if they differ from what was told last.
    pub(super) fn tell(&self, facts: Facts) {
        self.facts.send_if_modified(|current| {
            let differs = *current != facts;
            *current = facts;
            differs
        });
    }

    /// The reason why the maps do not hold the last change, as far as they were read back.
    pub(super) fn not_held(&self) -> Option<&str> {
        self.not_held.as_deref()
    }

    /// A second has passed.
    pub(super) fn tick(&mut self) {
        self.is_due |= self.looked.is_none_or(|looked| looked.elapsed() >= EVERY);
    }
}

/// Looks up in the maps the addresses at the edges of what a change was about, `most` of them.
///
/// # Errors
/// The maps say something else than the policy in force, or cannot be read: in words.
fn read_back(kernel: &Kernel, before: &Policy, most: usize) -> Result<(), String> {
    let mut addresses: BTreeSet<IpAddr> = BTreeSet::new();
    for database in kernel.policy().databases() {
        let old = before.databases().iter().find(|known| known.name == database.name);
        let old = old.map_or(&[][..], |known| &known.rules);
        let (gone, came) = differing(old, &database.rules);
        let prefixes = gone.iter().chain(came).flat_map(|rule| rule.prefixes.iter());
        addresses.extend(prefixes.take(most).map(Prefix::addr));
    }
    let reader = kernel.reader();
    for address in addresses.into_iter().take(most) {
        let wanted = kernel.policy().verdict_mask(address);
        let entry = reader.lookup(address).map_err(|error| error.to_string())?;
        let held = entry.map_or(0, |(_, entry)| {
            u64::from(entry.databases[0]) | u64::from(entry.databases[1]) << 32
        });
        let is_admitted =
            wanted == 0 || reader.front(address).map_err(|error| error.to_string())?;
        if held != wanted || !is_admitted {
            return Err(format!(
                "the maps do not hold what they should for {address}: dbfw doctor looks closer"
            ));
        }
    }
    Ok(())
}
