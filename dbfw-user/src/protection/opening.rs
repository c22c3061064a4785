//! Ways in which the configuration itself lets strangers in.

use std::fmt;

use dbfw_common::Family;
use dbfw_core::policy::{DatabasePolicy, Policy};
use dbfw_wire::control::{Enforced, Mode};

use super::coverage::{Unjudged, WhyUnjudged};

/// Percentage of a family's public addresses from which on a list is no list of clients.
const MOST: u8 = 50;

/// Sources that are named of those that let in most.
const MAX_NAMED: usize = 3;

/// A way in which a database lets in whoever comes, although nothing failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Its mode drops nothing.
    Mode(Mode),
    /// Half of all public addresses of a family, or more, are trusted.
    Share {
        /// The family.
        family: Family,
        /// Percentage of its public addresses.
        percent: u8,
        /// The sources with the shortest prefixes.
        sources: Vec<String>,
    },
    /// No program judges what comes in by some interfaces.
    WayIn(Unjudged),
}

impl Opening {
    /// The openings of a database with this mode and policy.
    pub fn of(
        mode: Mode,
        policy: &Policy,
        database: Option<&DatabasePolicy>,
        unjudged: &[Unjudged],
    ) -> Vec<Self> {
        if mode != Mode::Enforce {
            return vec![Self::Mode(mode)];
        }
        let share = |family| {
            let database = database?;
            let percent = policy.share(database.id, family);
            let widest = || widest(database, family);
            (percent >= MOST).then(|| Self::Share { family, percent, sources: widest() })
        };
        let mut openings: Vec<Self> = Family::ALL.into_iter().filter_map(share).collect();
        openings.extend(unjudged.iter().cloned().map(Self::WayIn));
        openings
    }

    /// Whether a database with these openings keeps strangers out.
    pub fn enforced(openings: &[Self]) -> Enforced {
        let is_whole = |of: Family| {
            let opens = |opening: &Self| matches!(opening, Self::Share { family, percent: 100, .. } if *family == of);
            openings.iter().any(opens)
        };
        let is_off = openings.iter().any(|opening| matches!(opening, Self::Mode(_)));
        if openings.is_empty() {
            Enforced::Yes
        } else if is_off || Family::ALL.into_iter().all(is_whole) {
            Enforced::No
        } else {
            Enforced::Partly
        }
    }

    /// The problem of a database with this opening, in words.
    pub fn problem(&self, database: &str, ports: &[String]) -> String {
        let whom = match self {
            Self::Mode(_) => "everyone",
            Self::Share { percent: 100, family: Family::V4, .. } => "everyone who has IPv4",
            Self::Share { percent: 100, family: Family::V6, .. } => "everyone who has IPv6",
            Self::Share { .. } => "them",
            Self::WayIn(_) => "whoever comes in there",
        };
        let verb = if ports.len() == 1 { "is" } else { "are" };
        format!("{database}: {self}: {} {verb} open to {whom}", ports.join(", "))
    }
}

impl fmt::Display for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mode(mode) => write!(f, "mode = \"{mode}\""),
            Self::Share { family, percent, sources } => {
                let family = match family {
                    Family::V4 => "IPv4",
                    Family::V6 => "IPv6",
                };
                let share = match percent {
                    100 => "every".to_owned(),
                    percent => format!("{percent} % of all"),
                };
                let noun = if *percent == 100 { "address is" } else { "addresses are" };
                write!(f, "{share} public {family} {noun} trusted ({})", sources.join(", "))
            }
            Self::WayIn(Unjudged { names, why }) => {
                let verb = if names.len() == 1 { "is" } else { "are" };
                let why = match why {
                    WhyUnjudged::NoBackstop => "not in agent.interfaces, and there is no backstop",
                    WhyUnjudged::Exempt => "exempt, and not in agent.interfaces",
                    WhyUnjudged::LeftExempt => {
                        "let through by the backstop until an agent runs, and not in \
                         agent.exempt_interfaces"
                    }
                };
                write!(f, "{} {verb} {why}", names.join(", "))
            }
        }
    }
}

/// The sources of a database with the shortest prefixes of a family.
fn widest(database: &DatabasePolicy, family: Family) -> Vec<String> {
    let shortest = |rule: &dbfw_core::source::Rule| {
        let of_family = rule.prefixes.iter().filter(|prefix| prefix.family() == family);
        of_family.map(dbfw_core::source::Prefix::len).min()
    };
    let mut rules: Vec<_> = database
        .rules
        .iter()
        .filter_map(|rule| Some((shortest(rule)?, rule.kind.to_string())))
        .collect();
    rules.sort_by_key(|(len, _)| *len);
    let more = rules.len().saturating_sub(MAX_NAMED);
    let named = rules.into_iter().take(MAX_NAMED).map(|(_, source)| source);
    named.chain((more > 0).then(|| format!("{more} more"))).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dbfw_core::source::{Origin, Prefix, Rule, TrustedSource};

    use super::*;

    fn rule(network: &str) -> Rule {
        let source: TrustedSource = format!("ip_addr:{network}").parse().unwrap();
        let prefixes: Vec<Prefix> = vec![network.parse().unwrap()];
        Rule::of_source(Arc::new(source), Origin::Config, prefixes)
    }

    fn openings(mode: Mode, networks: &[&str], uncovered: &[&str]) -> Vec<Opening> {
        let rules = networks.iter().map(|network| rule(network)).collect();
        let policy = Policy::build(&[DatabasePolicy { id: 1, name: "shop".to_owned(), rules }]);
        let names: Vec<String> = uncovered.iter().map(|&name| name.to_owned()).collect();
        let why = match uncovered {
            ["docker0"] => WhyUnjudged::Exempt,
            ["veth7"] => WhyUnjudged::LeftExempt,
            _ => WhyUnjudged::NoBackstop,
        };
        let unjudged = (!names.is_empty()).then_some(Unjudged { names, why });
        Opening::of(mode, &policy, policy.databases().first(), unjudged.as_slice())
    }

    #[test]
    fn a_database_is_enforced_wholly_in_part_or_not() {
        for (mode, networks, uncovered, enforced) in [
            (Mode::Enforce, &["10.0.0.0/8"][..], &[][..], Enforced::Yes),
            (Mode::Enforce, &["10.0.0.0/8"], &["eth1"], Enforced::Partly),
            (Mode::Enforce, &["0.0.0.0/1"], &[], Enforced::Partly),
            (Mode::Enforce, &["0.0.0.0/0"], &["eth1"], Enforced::Partly),
            (Mode::Enforce, &["0.0.0.0/0", "::/1", "8000::/1"], &[], Enforced::No),
            (Mode::Observe, &["10.0.0.0/8"], &[], Enforced::No),
            (Mode::Off, &[], &[], Enforced::No),
        ] {
            let found = openings(mode, networks, uncovered);
            assert_eq!(Opening::enforced(&found), enforced, "{mode} {networks:?}");
        }
    }

    #[test]
    fn what_lets_strangers_in_is_told() {
        for (mode, networks, uncovered, told) in [
            (Mode::Enforce, &["10.0.0.0/8", "2001:db8::/32"][..], &[][..], &[][..]),
            (Mode::Enforce, &["0.0.0.0/2"], &[], &[]),
            (
                Mode::Observe,
                &["0.0.0.0/0"],
                &["eth1"],
                &["shop: mode = \"observe\": tcp/5432 is open to everyone"],
            ),
            (Mode::Off, &[], &[], &["shop: mode = \"off\": tcp/5432 is open to everyone"]),
            (
                Mode::Enforce,
                &["10.0.0.1", "0.0.0.0/0", "10.0.0.2", "10.0.0.3", "::/0"],
                &[],
                &[
                    "shop: every public IPv4 address is trusted (ip_addr:0.0.0.0/0, \
                     ip_addr:10.0.0.1, ip_addr:10.0.0.2, 1 more): tcp/5432 is open to everyone \
                     who has IPv4",
                    "shop: every public IPv6 address is trusted (ip_addr:::/0): tcp/5432 is open \
                     to everyone who has IPv6",
                ],
            ),
            (
                Mode::Enforce,
                &["0.0.0.0/1", "128.0.0.0/2"],
                &[],
                &["shop: 75 % of all public IPv4 addresses are trusted (ip_addr:0.0.0.0/1, \
                   ip_addr:128.0.0.0/2): tcp/5432 is open to them"],
            ),
            (
                Mode::Enforce,
                &["10.0.0.1"],
                &["eth1", "eth2"],
                &["shop: eth1, eth2 are not in agent.interfaces, and there is no backstop: \
                   tcp/5432 is open to whoever comes in there"],
            ),
            (
                Mode::Enforce,
                &["10.0.0.1"],
                &["docker0"],
                &["shop: docker0 is exempt, and not in agent.interfaces: tcp/5432 is open to \
                   whoever comes in there"],
            ),
            (
                Mode::Enforce,
                &["10.0.0.1"],
                &["veth7"],
                &["shop: veth7 is let through by the backstop until an agent runs, and not in \
                   agent.exempt_interfaces: tcp/5432 is open to whoever comes in there"],
            ),
        ] {
            let found = openings(mode, networks, uncovered);
            let ports = ["tcp/5432".to_owned()];
            let problems: Vec<String> =
                found.iter().map(|opening| opening.problem("shop", &ports)).collect();
            assert_eq!(problems, told, "{networks:?}");
        }
    }
}
