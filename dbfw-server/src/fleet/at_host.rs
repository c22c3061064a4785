//! [`AtHost`]: what a host says of a database.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use dbfw_wire::agent::{Applied, AppliedState, Hits, LeftOut, MAX_LEFT_OUT, MAX_SOURCES, Refused};
use jiff::Timestamp;
use uuid::Uuid;

use super::text::{clean, is_port};

/// Characters of a message.
const MAX_MESSAGE: usize = 500;
/// Characters of a word: a guard, an id.
const MAX_WORD: usize = 40;
/// Refused sources of a database that one host is heard with.
const MAX_REFUSED: usize = 100;
/// Ports of a refused source.
const MAX_PORTS: usize = 16;

/// A host's reports about a database.
#[derive(Clone, Debug, Default)]
pub(super) struct AtHost {
    /// Its ports there.
    pub(super) ports: Vec<String>,
    /// Its mode there.
    pub(super) mode: String,
    /// The list that it enforces, and since when.
    pub(super) applied: Option<(Applied, Timestamp)>,
    /// The sources that it refused most.
    pub(super) refused: Vec<Refused>,
    /// The use of trusted sources: packets, and the last one's time.
    pub(super) hits: HashMap<Uuid, (u64, Option<Timestamp>)>,
}

/// The state of a list at a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// In force.
    InForce,
    /// Refused or failed.
    Refused,
    /// Not heard of yet.
    Unheard,
}

impl AtHost {
    /// The state of a revision of the list, or of a later one, here.
    pub(super) fn standing(&self, epoch: u64, revision: u64) -> Standing {
        match &self.applied {
            Some((applied, _)) if applied.epoch == epoch && applied.revision >= revision => {
                match applied.state {
                    AppliedState::Applied { .. } | AppliedState::Observing { .. } => {
                        Standing::InForce
                    }
                    AppliedState::Refused { .. } | AppliedState::Failed { .. } => Standing::Refused,
                }
            }
            _ => Standing::Unheard,
        }
    }

    /// Takes what a host enforces, unless it said something later already. Returns whether it did.
    pub(super) fn apply(&mut self, applied: Applied, now: Timestamp) -> bool {
        if let Some((known, _)) = &self.applied
            && known.epoch == applied.epoch
            && known.revision > applied.revision
        {
            return false;
        }
        let applied = plain(applied);
        let since = match &self.applied {
            Some((known, since)) if *known == applied => *since,
            _ => now,
        };
        self.applied = Some((applied, since));
        true
    }

    /// Takes refused sources, which are all that the host names now.
    pub(super) fn refuse(&mut self, sources: Vec<Refused>) {
        self.refused = sources.into_iter().take(MAX_REFUSED).collect();
        for source in &mut self.refused {
            source.ports.retain(|port| is_port(port));
            source.ports.truncate(MAX_PORTS);
        }
    }

    /// Takes the use of a source.
    pub(super) fn hit(&mut self, hits: &Hits) {
        if self.hits.len() < MAX_SOURCES || self.hits.contains_key(&hits.source) {
            self.hits.insert(hits.source, (hits.packets, hits.last_hit));
        }
    }
}

/// A state with texts that can be shown.
fn plain(applied: Applied) -> Applied {
    let state = match applied.state {
        AppliedState::Refused { guard, plan, message } => AppliedState::Refused {
            guard: clean(&guard, MAX_WORD),
            plan: plan.map(|plan| clean(&plan, MAX_WORD)),
            message: clean(&message, MAX_MESSAGE),
        },
        AppliedState::Failed { message } => {
            AppliedState::Failed { message: clean(&message, MAX_MESSAGE) }
        }
        state => state,
    };
    let left_out = applied.left_out.into_iter().take(MAX_LEFT_OUT).map(|left_out| LeftOut {
        guard: clean(&left_out.guard, MAX_WORD),
        message: clean(&left_out.message, MAX_MESSAGE),
        ..left_out
    });
    Applied { state, left_out: left_out.collect(), ..applied }
}

/// The times that hosts took from a commit to their report of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Delays(Vec<Duration>);

impl Delays {
    /// Adds the time of a host.
    pub(super) fn add(&mut self, committed: Instant, now: Instant) {
        self.0.push(now.saturating_duration_since(committed));
    }

    /// Begins anew, for another commit.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The time within which this part of the hosts was done, in percent.
    pub(super) fn percentile(&self, percent: usize) -> Option<Duration> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = (sorted.len() * percent).div_ceil(100).max(1) - 1;
        sorted.get(at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(epoch: u64, revision: u64, state: AppliedState) -> Applied {
        let database = Uuid::nil();
        Applied { database, epoch, revision, state, left_out: Vec::new(), left_out_total: 0 }
    }

    #[test]
    fn a_later_revision_is_good_for_an_earlier_and_an_earlier_report_changes_nothing() {
        let observing = AppliedState::Observing { prefixes: 1 };
        let mut at = AtHost::default();
        assert_eq!(at.standing(1, 5), Standing::Unheard);
        assert!(at.apply(applied(1, 6, observing.clone()), Timestamp::UNIX_EPOCH));
        assert_eq!(at.standing(1, 5), Standing::InForce);
        assert_eq!(at.standing(1, 7), Standing::Unheard);
        assert_eq!(at.standing(2, 5), Standing::Unheard);
        let failed = AppliedState::Failed { message: "x\n".repeat(1000) };
        assert!(!at.apply(applied(1, 5, failed.clone()), Timestamp::UNIX_EPOCH));
        assert!(at.apply(applied(1, 6, failed), Timestamp::UNIX_EPOCH));
        assert_eq!(at.standing(1, 6), Standing::Refused);
        let Some((Applied { state: AppliedState::Failed { message }, .. }, _)) = &at.applied else {
            panic!("{at:?}")
        };
        assert!(message.chars().count() == MAX_MESSAGE && !message.contains('\n'));
        assert!(at.apply(applied(2, 1, observing), Timestamp::UNIX_EPOCH));
    }

    #[test]
    fn percentiles() {
        let mut delays = Delays::default();
        assert_eq!(delays.percentile(50), None);
        let start = Instant::now();
        for ms in (1..=200).rev() {
            delays.add(start, start + Duration::from_millis(ms));
        }
        let of = |percent| delays.percentile(percent).unwrap().as_millis();
        assert_eq!([of(50), of(99), of(100)], [100, 198, 200]);
    }
}
