//! Shorthands, strategies and models the tests share.

use std::net::IpAddr;

use dbfw_common::Entry;
use proptest::{collection::vec, prelude::*, sample::select};

use crate::{
    policy::{Assigned, Changed, DatabasePolicy, Entries, Plan, Policy, RuleRef, SlotTable},
    source::{Origin, Prefix, Rule, SourceType, TrustedSource},
};

pub(crate) fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

pub(crate) fn rule(name: &str, prefixes: &[&str]) -> Rule {
    named_rule(name, prefixes.iter().map(|text| prefix(text)).collect())
}

pub(crate) fn named_rule(name: &str, prefixes: Vec<Prefix>) -> Rule {
    let source = TrustedSource::new(SourceType::Tag, name).unwrap();
    Rule::of_source(source.into(), Origin::Config, prefixes)
}

pub(crate) fn database(id: u8, rules: Vec<Rule>) -> DatabasePolicy {
    DatabasePolicy { id, name: format!("db{id}"), rules }
}

/// Every entry of a policy: its prefix, mask and rules.
pub(crate) fn entries(policy: &Policy) -> Vec<(Prefix, u64, Vec<RuleRef>)> {
    let mut found = Vec::new();
    policy.each_entry(&Changed::Everything, |entry| {
        found.push((entry.prefix, entry.mask, entry.rules.to_vec()));
    });
    found
}

/// The entries of a policy with their slots, assigned from scratch.
pub(crate) fn assign(table: &mut SlotTable, policy: &Policy) -> (Entries, Assigned) {
    let nothing = Entries::new();
    let assigned = table.assign(&Policy::default(), policy, &Changed::Everything, &nothing);
    (assigned.plan.result(&nothing), assigned)
}

/// Leading bits that nest, that lie at the edges, and that both families share: 32.1.0.0 and
/// 2001:: have the same octets.
fn leading() -> impl Strategy<Value = u32> {
    let bases = [0, 0x0a00_0000, 0x0a01_0000, 0x0a01_0203, 0x2001_0000, 0x2001_0db8, u32::MAX];
    let noise = prop_oneof![6 => Just(0), 1 => 0u32..4, 1 => any::<u32>()];
    (select(bases.to_vec()), noise).prop_map(|(base, noise)| base ^ noise)
}

pub(crate) fn address() -> impl Strategy<Value = IpAddr> {
    let trailing = prop_oneof![Just(0u128), Just(u128::MAX), 0u128..4, any::<u128>()];
    (any::<bool>(), leading(), trailing).prop_map(|(v4, leading, trailing)| {
        if v4 {
            IpAddr::V4(leading.into())
        } else {
            IpAddr::V6((u128::from(leading) << 96 | trailing >> 32).into())
        }
    })
}

pub(crate) fn any_prefix() -> impl Strategy<Value = Prefix> {
    let lengths = [0, 1, 7, 8, 9, 15, 16, 17, 23, 24, 25, 30, 31, 32, 33, 48, 64, 96, 127, 128];
    (address(), select(lengths.to_vec())).prop_map(|(addr, len)| Prefix::new(addr, len))
}

/// A rule of up to seven prefixes, with one of a small set of names.
pub(crate) fn any_rule() -> impl Strategy<Value = Rule> {
    let prefixes = prop_oneof![vec(any_prefix(), 0..3), vec(any_prefix(), 3..8)];
    (select(vec!["a", "b", "c", "d"]), prefixes)
        .prop_map(|(name, prefixes)| named_rule(name, prefixes))
}

/// Up to five databases, by distinct ids, whose rules come from a small set of names.
pub(crate) fn databases() -> impl Strategy<Value = Vec<DatabasePolicy>> {
    vec(proptest::option::of(vec(any_rule(), 0..5)), 5).prop_map(|lists| {
        let ids = [1, 2, 32, 33, 64];
        let databases = ids.into_iter().zip(lists);
        databases.filter_map(|(id, rules)| Some(database(id, rules?))).collect()
    })
}

/// The first `len` bits of both are equal. Octet by octet, unlike the code under test.
pub(crate) fn holds(prefix: &Prefix, addr: IpAddr) -> bool {
    let same = |a: &[u8], b: &[u8]| {
        (0..usize::from(prefix.len())).all(|i| (a[i / 8] ^ b[i / 8]) & (0x80 >> (i % 8)) == 0)
    };
    match (prefix.addr(), addr) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(&a.octets(), &b.octets()),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(&a.octets(), &b.octets()),
        _ => false,
    }
}

/// Addresses where a verdict may change: the edges of every prefix, and one step beyond.
pub(crate) fn edges<'a>(prefixes: impl IntoIterator<Item = &'a Prefix>) -> Vec<IpAddr> {
    let mut found: Vec<_> = prefixes
        .into_iter()
        .flat_map(|prefix| {
            let (first, last) = prefix.bounds();
            let ends = [first, last, first.wrapping_sub(1), last.wrapping_add(1)];
            let v4 = prefix.is_v4();
            ends.map(
                |raw| if v4 { IpAddr::V4((raw as u32).into()) } else { IpAddr::V6(raw.into()) },
            )
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The kernel's decision: the mask of the longest match.
pub(crate) fn verdict(entries: &Entries, addr: IpAddr) -> u64 {
    let matching = entries.iter().filter(|(prefix, _)| holds(prefix, addr));
    matching.max_by_key(|(prefix, _)| prefix.len()).map_or(0, |(_, entry)| entry.mask())
}

/// One change of the maps.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Write(Prefix, Entry),
    Remove(Prefix),
}

impl Step {
    /// The step that takes this one back.
    pub(crate) fn inverse(self, entries: &Entries) -> Self {
        let (Self::Write(prefix, _) | Self::Remove(prefix)) = self;
        entries.get(&prefix).map_or(Self::Remove(prefix), |entry| Self::Write(prefix, *entry))
    }
}

/// The steps of a plan, in their order.
pub(crate) fn steps(plan: &Plan) -> impl Iterator<Item = Step> {
    let writes = plan.writes.iter().map(|(prefix, entry)| Step::Write(*prefix, *entry));
    writes.chain(plan.removals.iter().copied().map(Step::Remove))
}

/// Changes the entries as the kernel does by one step.
pub(crate) fn apply(entries: &mut Entries, step: Step) {
    match step {
        Step::Write(prefix, entry) => {
            entries.insert(prefix, entry);
        }
        Step::Remove(prefix) => assert!(entries.remove(&prefix).is_some(), "{prefix} is absent"),
    }
}
