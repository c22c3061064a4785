//! The openings of the databases: each is told when it begins and when it ends.

use super::kernel::Kernel;
use crate::{
    config::{Config, ConfigChange},
    protection::Opening,
};

/// The openings as they were last told. A mode is not among them: changes of the configuration tell
/// those.
#[derive(Debug, Default)]
pub(super) struct Openings(Vec<KnownOpening>);

/// An opening of a database.
#[derive(Clone, Debug)]
pub(super) struct KnownOpening {
    database: String,
    ports: Vec<String>,
    opening: Opening,
    /// The problem, in words.
    problem: String,
}

impl KnownOpening {
    /// Whether it is the same opening: the share of a family may grow.
    fn is(&self, other: &Self) -> bool {
        let is_same = match (&self.opening, &other.opening) {
            (Opening::Share { family, .. }, Opening::Share { family: other, .. }) => {
                family == other
            }
            (opening, other) => opening == other,
        };
        is_same && (&self.database, &self.ports) == (&other.database, &other.ports)
    }
}

impl Openings {
    /// The openings that there are now.
    pub(super) fn find(config: &Config, kernel: &Kernel) -> Vec<KnownOpening> {
        let unjudged = kernel.unjudged(&config.agent);
        let policy = kernel.policy();
        let mut all = Vec::new();
        for database in &config.databases {
            let of_database = policy.databases().iter().find(|known| known.name == database.name);
            let ports: Vec<String> = database.ports.texts();
            let openings = Opening::of(database.mode.into(), policy, of_database, &unjudged);
            let told = openings.into_iter().filter(|opening| !matches!(opening, Opening::Mode(_)));
            all.extend(told.map(|opening| KnownOpening {
                problem: opening.problem(&database.name, &ports),
                database: database.name.clone(),
                ports: ports.clone(),
                opening,
            }));
        }
        all
    }

    /// Logs those that began and those that ended.
    pub(super) fn follow(&mut self, now: Vec<KnownOpening>) {
        for found in now.iter().filter(|found| !self.has(found)) {
            tracing::warn!(name: "opened", database = found.database, "{}", found.problem);
        }
        for found in self.0.iter().filter(|before| !now.iter().any(|found| found.is(before))) {
            tracing::info!(database = found.database, "no longer so: {}", found.problem);
        }
        self.0 = now;
    }

    /// Takes those that there are now for told, and returns the changes by trusted sources among
    /// them.
    pub(super) fn take_over(&mut self, now: Vec<KnownOpening>) -> Vec<ConfigChange> {
        let change = |found: &KnownOpening, began| ConfigChange::Sources {
            database: found.database.clone(),
            opening: found.problem.clone(),
            began,
        };
        let is_share = |found: &&KnownOpening| matches!(found.opening, Opening::Share { .. });
        let began = now.iter().filter(is_share).filter(|found| !self.has(found));
        let ended = self.0.iter().filter(is_share);
        let ended = ended.filter(|before| !now.iter().any(|found| found.is(before)));
        let changes = began
            .map(|found| change(found, true))
            .chain(ended.map(|found| change(found, false)))
            .collect();
        self.0 = now;
        changes
    }

    fn has(&self, found: &KnownOpening) -> bool {
        self.0.iter().any(|before| before.is(found))
    }
}

#[cfg(test)]
mod tests {
    use dbfw_common::Family;

    use super::*;
    use crate::protection::{Unjudged, WhyUnjudged};

    fn share(database: &str, family: Family, percent: u8) -> KnownOpening {
        found(database, "tcp/1", Opening::Share { family, percent, sources: Vec::new() })
    }

    fn found(database: &str, port: &str, opening: Opening) -> KnownOpening {
        let ports = vec![port.to_owned()];
        let problem = opening.problem(database, &ports);
        KnownOpening { database: database.to_owned(), ports, opening, problem }
    }

    #[test]
    fn changes_by_sources_are_told_once() {
        let mut openings = Openings::default();
        let mut told = |now: &[KnownOpening]| -> Vec<(String, bool)> {
            let changes = openings.take_over(now.to_vec());
            let told = changes.into_iter().filter_map(|change| match change {
                ConfigChange::Sources { database, began, .. } => Some((database, began)),
                _ => None,
            });
            told.collect()
        };
        let change = |database: &str, began| (database.to_owned(), began);
        assert_eq!(told(&[]), []);
        assert_eq!(told(&[share("a", Family::V4, 50)]), [change("a", true)]);
        // It may grow, and interfaces are told by another change.
        let way_in = Opening::WayIn(Unjudged {
            names: vec!["eth1".to_owned()],
            why: WhyUnjudged::NoBackstop,
        });
        assert_eq!(told(&[share("a", Family::V4, 100), found("a", "tcp/1", way_in)]), []);
        let both = [share("a", Family::V4, 100), share("a", Family::V6, 60)];
        assert_eq!(told(&both), [change("a", true)]);
        assert_eq!(
            told(&[share("b", Family::V6, 60)]),
            [change("b", true), change("a", false), change("a", false)]
        );
        // Another port is open to everyone now.
        let moved = Opening::Share { family: Family::V6, percent: 60, sources: Vec::new() };
        let moved = found("b", "tcp/2", moved);
        assert_eq!(told(&[moved]), [change("b", true), change("b", false)]);
        assert_eq!(told(&[]), [change("b", false)]);
    }
}
