//! The protection of the host, and the problems that stand against it.
//!
//! The one evaluation, for the agent and for those who look without it. Pure.

mod coverage;
mod degradation;
mod failure;

pub use coverage::Coverage;
use dbfw_wire::control as wire;
pub use degradation::Degradation;
pub use failure::Failure;

/// Whether what the configuration asks for is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protection {
    /// All of it.
    Protected,
    /// All that could be filtered is; something that the configuration asks for is not there,
    /// or somebody else has a hand in it.
    Degraded(Vec<Degradation>),
    /// Something that should be in force is not.
    NotProtected {
        /// Failures, most serious first; there is at least one.
        failures: Vec<Failure>,
        /// Degradations besides.
        degradations: Vec<Degradation>,
    },
    /// It may not be looked at.
    Unknown,
}

impl Protection {
    /// The evaluation of everything that was found, each most serious first.
    pub fn of(failures: Vec<Failure>, degradations: Vec<Degradation>) -> Self {
        match (failures.is_empty(), degradations.is_empty()) {
            (false, _) => Self::NotProtected { failures, degradations },
            (true, false) => Self::Degraded(degradations),
            (true, true) => Self::Protected,
        }
    }

    /// As the documents and the metric say it.
    pub const fn state(&self) -> wire::Protection {
        match self {
            Self::Protected => wire::Protection::Yes,
            Self::Degraded(_) => wire::Protection::Degraded,
            Self::NotProtected { .. } => wire::Protection::No,
            Self::Unknown => wire::Protection::Unknown,
        }
    }

    /// Whether everything that can be enforced is: what "ready" means.
    ///
    /// # Errors
    /// The most serious reason why not.
    pub fn ready(&self) -> Result<(), String> {
        match self {
            Self::Protected | Self::Degraded(_) => Ok(()),
            Self::NotProtected { failures, .. } => {
                Err(failures.first().map(ToString::to_string).unwrap_or_default())
            }
            Self::Unknown => Err("this user may not see what is attached".to_owned()),
        }
    }

    /// Degradations.
    pub fn degradations(&self) -> &[Degradation] {
        match self {
            Self::Protected | Self::Unknown => &[],
            Self::Degraded(degradations) | Self::NotProtected { degradations, .. } => degradations,
        }
    }

    /// Problems in words, most serious first.
    pub fn problems(&self) -> Vec<String> {
        let failures = match self {
            Self::NotProtected { failures, .. } => failures.as_slice(),
            _ => &[],
        };
        let failures = failures.iter().map(ToString::to_string);
        failures.chain(self.degradations().iter().map(ToString::to_string)).collect()
    }
}

/// Degradations that were reported, so that each change is reported once.
#[derive(Debug, Default)]
pub struct Told(Vec<Degradation>);

impl Told {
    /// Takes in what is degraded now. Returns what is so since the last time, and what is so
    /// no more.
    pub fn changes(&mut self, now: &[Degradation]) -> (Vec<Degradation>, Vec<Degradation>) {
        let before = std::mem::replace(&mut self.0, now.to_vec());
        let begun = now.iter().filter(|degradation| !before.contains(degradation)).cloned();
        let ended = before.iter().filter(|degradation| !now.contains(degradation)).cloned();
        (begun.collect(), ended.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_outweighs_what_is_degraded() {
        let failure = Failure::Backstop("the backstop was detached".to_owned());
        let degradation = Degradation::Absent { name: "eth7".to_owned() };
        for (failures, degradations, state, ready, problems) in [
            (vec![], vec![], wire::Protection::Yes, true, 0),
            (vec![], vec![degradation.clone()], wire::Protection::Degraded, true, 1),
            (vec![failure.clone()], vec![], wire::Protection::No, false, 1),
            (vec![failure], vec![degradation], wire::Protection::No, false, 2),
        ] {
            let protection = Protection::of(failures, degradations);
            assert_eq!(protection.state(), state);
            assert_eq!(protection.ready().is_ok(), ready, "{state:?}");
            assert_eq!(protection.problems().len(), problems, "{state:?}");
        }
        assert_eq!(Protection::Unknown.state(), wire::Protection::Unknown);
        assert!(Protection::Unknown.ready().is_err());
    }

    #[test]
    fn each_change_is_told_once() {
        let absent = |name: &str| Degradation::Absent { name: name.to_owned() };
        let mut told = Told::default();
        assert_eq!(told.changes(&[absent("a")]), (vec![absent("a")], vec![]));
        assert_eq!(told.changes(&[absent("a")]), (vec![], vec![]));
        assert_eq!(told.changes(&[absent("b")]), (vec![absent("b")], vec![absent("a")]));
        assert_eq!(told.changes(&[]), (vec![], vec![absent("b")]));
    }
}
