//! [`Policy`] against brute force and against prefix-trie.

use std::{cmp::Reverse, collections::BTreeSet, net::IpAddr};

use dbfw_common::Family;
use ipnet::{Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;
use proptest::{collection::vec, prelude::*};

use super::support::{address, databases, edges, entries, holds};
use crate::{
    policy::{DatabasePolicy, Policy, RuleRef},
    source::Prefix,
};

/// Every rule with each of its prefixes.
fn claims(databases: &[DatabasePolicy]) -> Vec<(Prefix, RuleRef)> {
    let mut found = Vec::new();
    for database in databases {
        for (index, rule) in database.rules.iter().enumerate() {
            let rule_ref = RuleRef { database: database.id, rule: index as u32 };
            found.extend(rule.prefixes.iter().map(|prefix| (*prefix, rule_ref)));
        }
    }
    found
}

fn union(claims: &[(Prefix, RuleRef)]) -> u64 {
    claims.iter().fold(0, |mask, (_, rule)| mask | 1 << (rule.database - 1))
}

/// The claims that hold an address, most specific first.
fn covering(claims: &[(Prefix, RuleRef)], addr: IpAddr) -> Vec<(Prefix, RuleRef)> {
    let mut found: Vec<_> = claims.iter().filter(|(p, _)| holds(p, addr)).copied().collect();
    found.sort_by_key(|(prefix, rule)| (Reverse(prefix.len()), *rule));
    found
}

proptest! {
    #[test]
    fn entries_are_those_of_brute_force(databases in databases()) {
        let policy = Policy::build(&databases[..]);
        let claims = claims(&databases);
        let prefixes: BTreeSet<_> = claims.iter().map(|(prefix, _)| *prefix).collect();
        let entries = entries(&policy);
        prop_assert!(entries.iter().map(|(prefix, ..)| *prefix).eq(prefixes));
        for (prefix, mask, rules) in entries {
            let around: Vec<_> = covering(&claims, prefix.addr())
                .into_iter()
                .filter(|(own, _)| own.len() <= prefix.len())
                .collect();
            prop_assert_eq!(mask, union(&around));
            let databases: BTreeSet<_> = around.iter().map(|(_, rule)| rule.database).collect();
            let expected: Vec<_> = databases
                .into_iter()
                .filter_map(|id| around.iter().find(|(_, rule)| rule.database == id))
                .map(|(_, rule)| *rule)
                .collect();
            prop_assert_eq!(rules, expected);
        }
    }

    #[test]
    fn one_longest_match_is_the_union(
        databases in databases(),
        random in vec(address(), 0..50),
    ) {
        let policy = Policy::build(&databases[..]);
        let claims = claims(&databases);
        let mut trie4 = PrefixMap::<Ipv4Net, u64>::new();
        let mut trie6 = PrefixMap::<Ipv6Net, u64>::new();
        for (prefix, mask, _) in entries(&policy) {
            match prefix.addr() {
                IpAddr::V4(addr) => {
                    trie4.insert(Ipv4Net::new(addr, prefix.len()).unwrap(), mask);
                }
                IpAddr::V6(addr) => {
                    trie6.insert(Ipv6Net::new(addr, prefix.len()).unwrap(), mask);
                }
            }
        }
        let probes = random.into_iter().chain(edges(claims.iter().map(|(prefix, _)| prefix)));
        for probe in probes {
            let trie = match probe {
                IpAddr::V4(addr) => trie4.get_lpm(&Ipv4Net::from(addr)).map(|(_, mask)| *mask),
                IpAddr::V6(addr) => trie6.get_lpm(&Ipv6Net::from(addr)).map(|(_, mask)| *mask),
            };
            let around = covering(&claims, probe);
            prop_assert_eq!(policy.verdict_mask(probe), union(&around), "{}", probe);
            prop_assert_eq!(trie.unwrap_or(0), union(&around), "{}", probe);

            let mut seen = BTreeSet::new();
            let expected: Vec<_> =
                around.into_iter().filter(|(_, rule)| seen.insert(*rule)).collect();
            let found = policy.covering(probe);
            prop_assert!(found.iter().map(|c| (c.prefix, c.rule)).eq(expected), "{probe}");
            for rule in found {
                prop_assert!(policy.key(rule.rule).is_some());
            }
        }
    }

    #[test]
    fn prefixes_count_once(databases in databases()) {
        let policy = Policy::build(&databases[..]);
        let claims = claims(&databases);
        for id in 0..=64 {
            for (family, v4) in [(Family::V4, true), (Family::V6, false)] {
                let own: BTreeSet<_> = claims
                    .iter()
                    .filter(|(prefix, rule)| rule.database == id && prefix.is_v4() == v4)
                    .map(|(prefix, _)| prefix)
                    .collect();
                prop_assert_eq!(policy.prefixes(id, family), own.len() as u64);
            }
        }
    }
}
