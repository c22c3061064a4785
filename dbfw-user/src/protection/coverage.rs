//! Interfaces of the configuration, compared with those that are there.

use std::collections::{BTreeMap, BTreeSet};

use dbfw_common::MAX_EXEMPT;
use dbfw_datapath::{
    Interface, Interfaces,
    interfaces::{Unmatchable, is_glob},
};

use super::{
    attachments::{Attachments, is_hooked, is_way_in},
    degradation::Degradation,
    failure::Failure,
};
use crate::config::AgentConfig;

/// Which interfaces are covered and exempt, and what of the named ones is neither.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    covered: BTreeSet<u32>,
    exempt: Vec<u32>,
    /// The interfaces by which packets come in that no program at a hook is to judge.
    without_hook: Vec<(u32, String)>,
    backstop: bool,
    degradations: Vec<Degradation>,
}

/// Interfaces by which packets come in that no program judges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unjudged {
    /// Their names.
    pub names: Vec<String>,
    /// The reason.
    pub why: WhyUnjudged,
}

/// The reason why no program judges what comes in by an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WhyUnjudged {
    /// It is not covered, and there is no backstop.
    NoBackstop,
    /// The backstop lets it through, as configured.
    Exempt,
    /// The backstop lets it through, against the configuration: until an agent runs, an exempt
    /// interface that is gone leaves its index to the next.
    LeftExempt,
}

impl Coverage {
    /// Coverage of the interfaces `present` by `agent`.
    pub fn of(present: &[Interface], agent: &AgentConfig) -> Self {
        let covered: BTreeSet<u32> = present
            .iter()
            .filter(|interface| interface.is_covered_by(&agent.interfaces))
            .map(|interface| interface.index)
            .collect();
        let mut degradations = named(present, &agent.interfaces);
        let mut exempt: Vec<&Interface> = present
            .iter()
            .filter(|interface| {
                agent.exempt_interfaces.iter().any(|pattern| interface.is_called(pattern))
            })
            .collect();
        let matching = exempt.len();
        let left_out = exempt.split_off(matching.min(MAX_EXEMPT));
        if agent.backstop && !left_out.is_empty() {
            let left_out = left_out.iter().map(|interface| interface.name.clone()).collect();
            degradations.push(Degradation::TooManyExempt { matching, left_out });
        }
        let exempt: Vec<u32> = exempt.iter().map(|interface| interface.index).collect();
        let without_hook = present
            .iter()
            .filter(|interface| {
                is_way_in(interface, present) && !is_hooked(interface, present, &covered)
            })
            .map(|interface| (interface.index, interface.name.clone()))
            .collect();
        Self { covered, exempt, without_hook, backstop: agent.backstop, degradations }
    }

    /// Whether the interface with this index is to be filtered.
    pub fn covers(&self, index: u32) -> bool {
        self.covered.contains(&index)
    }

    /// Indexes of the interfaces by which packets come in that no program at a hook judges: at most
    /// the backstop does, which sees new connections only.
    pub fn without_hook(&self) -> BTreeSet<u32> {
        self.without_hook.iter().map(|(index, _)| *index).collect()
    }

    /// The interfaces by which packets come in that no program judges, by the reason. `attached` may
    /// have a program all the same, as after a rename. A backstop that is lost is a failure.
    pub fn unjudged(&self, attached: &Attachments) -> Vec<Unjudged> {
        let mut found: BTreeMap<WhyUnjudged, Vec<String>> = BTreeMap::new();
        for (_, name, why) in self.each_unjudged(attached) {
            found.entry(why).or_default().push(name.to_owned());
        }
        found.into_iter().map(|(why, names)| Unjudged { names, why }).collect()
    }

    /// The interfaces that [`Self::unjudged`] finds: index, name and reason.
    fn each_unjudged<'a>(
        &'a self,
        attached: &'a Attachments,
    ) -> impl Iterator<Item = (u32, &'a str, WhyUnjudged)> {
        let why = move |index| match (attached.has_backstop(), self.backstop) {
            (false, false) => Some(WhyUnjudged::NoBackstop),
            (false, true) => self.exempt.contains(&index).then_some(WhyUnjudged::Exempt),
            (true, _) if !attached.exempts(index) => None,
            (true, _) if self.exempt.contains(&index) => Some(WhyUnjudged::Exempt),
            (true, _) => Some(WhyUnjudged::LeftExempt),
        };
        self.without_hook.iter().filter_map(move |(index, name)| {
            let is_hooked = attached.has_hook(*index);
            Some((*index, name.as_str(), why(*index).filter(|_| !is_hooked)?))
        })
    }

    /// The names of those that [`Self::unjudged`] finds.
    pub fn unjudged_names(&self, attached: &Attachments) -> BTreeSet<String> {
        self.each_unjudged(attached).map(|(_, name, _)| name.to_owned()).collect()
    }

    /// The indexes of those that [`Self::unjudged`] finds.
    pub fn unjudged_indexes(&self, attached: &Attachments) -> BTreeSet<u32> {
        self.each_unjudged(attached).map(|(index, ..)| index).collect()
    }

    /// The attachments where the configuration is in force.
    pub fn wanted(&self) -> Attachments {
        let exempt = self.exempt.iter().copied();
        Attachments::new(self.covered.iter().copied(), self.backstop, exempt)
    }

    /// The interfaces that the backstop lets through, as many as it can hold.
    pub fn exempt(&self) -> &[u32] {
        &self.exempt
    }

    /// Failure that follows when nothing is attached. Where something is named that may come,
    /// and the backstop judges meanwhile, it is only what is degraded anyway.
    pub fn nothing_covered(&self, interfaces: &Interfaces, backstop: bool) -> Option<Failure> {
        let awaited = self
            .degradations
            .iter()
            .any(|degradation| !matches!(degradation, Degradation::TooManyExempt { .. }));
        (!(awaited && backstop)).then(|| Failure::NoInterface {
            patterns: interfaces.patterns().iter().map(ToString::to_string).collect(),
        })
    }

    /// Names that are not in force.
    pub fn degradations(&self) -> &[Degradation] {
        &self.degradations
    }
}

/// Names that are not covered: exact ones in their order, then those of globs.
fn named(present: &[Interface], interfaces: &Interfaces) -> Vec<Degradation> {
    let unfit = |interface: &Interface| Degradation::Unfit {
        interface: interface.name.clone(),
        index: interface.index,
    };
    let exact = interfaces.exact_names().into_iter().filter_map(|name| {
        match present.iter().find(|interface| interface.has_name(name)) {
            Some(interface) if interface.loopback => Some(Degradation::Unmatchable {
                name: name.to_owned(),
                reason: Unmatchable::Loopback,
            }),
            Some(interface) => interface.layer.is_none().then(|| unfit(interface)),
            None => Some(match Unmatchable::of(name) {
                Some(reason) => Degradation::Unmatchable { name: name.to_owned(), reason },
                None => Degradation::Absent { name: name.to_owned() },
            }),
        }
    });
    let mut found: Vec<Degradation> = exact.collect();
    for interface in present {
        let matched =
            |pattern: &glob::Pattern| is_glob(pattern.as_str()) && interface.is_called(pattern);
        if interface.layer.is_none()
            && !interface.loopback
            && interfaces.patterns().iter().any(matched)
        {
            found.push(unfit(interface));
        }
    }
    // Two names of one interface, or a name and a glob.
    let mut told = BTreeSet::new();
    found.retain(|degradation| match degradation {
        Degradation::Unfit { index, .. } => told.insert(*index),
        _ => true,
    });
    found
}

#[cfg(test)]
mod tests;
