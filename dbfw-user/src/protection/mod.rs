//! The protection of the host, and the problems that stand against it.
//!
//! The one evaluation, for the agent and for those who look without it. Pure.

mod attachments;
mod coverage;
mod degradation;
mod failure;
mod opening;

pub(crate) use attachments::whole;
pub use attachments::{Attachments, Judge, Passage};
pub use coverage::{Coverage, Unjudged, WhyUnjudged};
use dbfw_wire::control as wire;
pub use degradation::Degradation;
pub(crate) use degradation::first_of;
pub use failure::Failure;
pub use opening::Opening;

/// Failures and degradations of what the configuration asks for, each most serious first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protection {
    failures: Vec<Failure>,
    degradations: Vec<Degradation>,
}

impl Protection {
    /// The evaluation of everything that was found, each most serious first.
    pub fn of(failures: Vec<Failure>, degradations: Vec<Degradation>) -> Self {
        Self { failures, degradations }
    }

    /// As the documents and the metric say it.
    pub fn state(&self) -> wire::Protection {
        match (self.failures.is_empty(), self.degradations.is_empty()) {
            (false, _) => wire::Protection::No,
            (true, false) => wire::Protection::Degraded,
            (true, true) => wire::Protection::Yes,
        }
    }

    /// Whether everything that can be enforced is: what "ready" means.
    ///
    /// # Errors
    /// The most serious reason why not.
    pub fn ready(&self) -> Result<(), String> {
        self.failures.first().map_or(Ok(()), |failure| Err(failure.to_string()))
    }

    /// Degradations.
    pub fn degradations(&self) -> &[Degradation] {
        &self.degradations
    }

    /// Problems in words, most serious first.
    pub fn problems(&self) -> Vec<String> {
        let failures = self.failures.iter().map(ToString::to_string);
        failures.chain(self.degradations.iter().map(ToString::to_string)).collect()
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
    }
}
