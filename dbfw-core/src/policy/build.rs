//! [`Policy`]: the databases that every prefix may reach, from the rules.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::Range,
};

use dbfw_common::Family;
use serde::{Deserialize, Serialize};

use super::{changed::Changed, database::DatabasePolicy};
use crate::source::{LARGE, Origin, Prefix, PrefixMap, PrefixSet, Rule};

/// A rule of a [`Policy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleRef {
    /// Id of its database.
    pub database: u8,
    /// Its place in [`DatabasePolicy::rules`].
    pub rule: u32,
}

/// The identity of a rule across restarts and changes of the list it is in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RuleKey {
    /// Name of its database.
    pub database: String,
    /// The origin of its source.
    pub origin: Origin,
    /// The source, `type:value`.
    pub source: String,
}

/// The databases that one prefix may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyEntry<'a> {
    /// The prefix.
    pub prefix: Prefix,
    /// Bit `id - 1` for every database that trusts it or a prefix that covers it.
    pub mask: u64,
    /// For every bit of `mask`, from the lowest, the most specific rule of that database.
    pub rules: &'a [RuleRef],
}

/// A rule that covers an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Covering {
    /// The longest of its prefixes that does.
    pub prefix: Prefix,
    /// The rule.
    pub rule: RuleRef,
}

/// The desired state of the kernel: for every prefix of any rule, the databases its addresses
/// may reach, and why.
///
/// The kernel decides by one longest match, so a prefix carries what the prefixes around it
/// grant as well. None is left out because another covers it: each rule stays visible, and
/// packets count for the most specific one.
///
/// ```
/// use std::sync::Arc;
///
/// use dbfw_core::{
///     policy::{DatabasePolicy, Policy},
///     source::{Origin, Prefix, Rule, TrustedSource},
/// };
///
/// let database = |id, network: &str| {
///     let source: TrustedSource = format!("ip_addr:{network}").parse().unwrap();
///     let prefixes: Vec<Prefix> = vec![network.parse().unwrap()];
///     let rules = vec![Rule::of_source(Arc::new(source), Origin::Config, prefixes)];
///     DatabasePolicy { id, name: format!("database {id}"), rules }
/// };
/// let policy = Policy::build([database(1, "10.0.0.0/8"), database(2, "10.1.0.0/16")]);
/// // An address in both networks reaches both databases.
/// assert_eq!(policy.verdict_mask("10.1.2.3".parse().unwrap()), 0b11);
/// assert_eq!(policy.verdict_mask("10.2.0.1".parse().unwrap()), 0b01);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Policy {
    databases: Vec<DatabasePolicy>,
    /// The rules of many prefixes, in their order: each with its own set, which is shared.
    runs: Vec<Run>,
    /// The prefixes of all other rules.
    nodes: PrefixMap<Node>,
    /// The rules that name a prefix of `nodes` themselves, node after node, by database and order.
    own: Vec<RuleRef>,
    totals: Totals,
}

/// A rule of many prefixes.
#[derive(Clone, Debug)]
struct Run {
    rule: RuleRef,
    prefixes: PrefixSet,
}

/// The rules of one prefix.
#[derive(Clone, Copy, Debug, Default)]
struct Node {
    /// The databases of its rules and of those of the nodes around it.
    mask: u64,
    /// The end of its rules; they begin at the end of those of the node before it.
    own_end: u32,
}

impl Policy {
    /// The policy of these databases.
    pub fn build(databases: impl Into<Vec<DatabasePolicy>>) -> Self {
        Self::default().follow(databases.into()).0
    }

    /// The policy of these databases in place of this one, and where it differs. What both share is
    /// not looked at.
    pub fn follow(&self, databases: Vec<DatabasePolicy>) -> (Self, Changed) {
        let changed = Changed::between(&self.databases, &databases);
        let mut policy = Self::of(databases);
        policy.totals = match changed {
            Changed::Everything => policy.count(&changed),
            Changed::Within(_) => {
                self.totals.minus(&self.count(&changed)).plus(&policy.count(&changed))
            }
        };
        (policy, changed)
    }

    /// The policy without its totals.
    fn of(databases: Vec<DatabasePolicy>) -> Self {
        let mut seen = HashSet::new();
        let (mut claims, mut runs) = (Vec::new(), Vec::new());
        for database in databases.iter().filter(|db| bit(db.id) != 0 && seen.insert(db.id)) {
            for (rule, index) in database.rules.iter().zip(0..) {
                let claim = RuleRef { database: database.id, rule: index };
                if rule.prefixes.len() < LARGE {
                    claims.extend(rule.prefixes.iter().map(|prefix| (*prefix, claim)));
                } else {
                    runs.push(Run { rule: claim, prefixes: rule.prefixes.clone() });
                }
            }
        }
        claims.sort_unstable();
        runs.sort_unstable_by_key(|run| run.rule);
        let mut nodes = PrefixMap::with_capacity(claims.chunk_by(|a, b| a.0 == b.0).count());
        let mut end = 0;
        for group in claims.chunk_by(|a, b| a.0 == b.0) {
            end += group.len();
            let own = group.iter().fold(0, |mask, (_, rule)| mask | bit(rule.database));
            let index = nodes.push(group[0].0, Node { mask: own, own_end: place(end) });
            if let Some(parent) = nodes.parent(index) {
                nodes[index].mask |= nodes[parent].mask;
            }
        }
        let own = claims.into_iter().map(|(_, rule)| rule).collect();
        Self { databases, runs, nodes, own, totals: Totals::default() }
    }

    /// The rules that name a node's prefix.
    fn own_of(&self, node: usize) -> &[RuleRef] {
        let start = node.checked_sub(1).map_or(0, |before| self.nodes[before].own_end);
        &self.own[start as usize..self.nodes[node].own_end as usize]
    }

    /// The rules that name a prefix, in their order.
    fn naming(&self, prefix: &Prefix) -> impl Iterator<Item = RuleRef> {
        let node = self.nodes.find(prefix).map_or(&[][..], |node| self.own_of(node));
        let runs = self.runs.iter().filter(|run| run.prefixes.has(prefix));
        node.iter().copied().chain(runs.map(|run| run.rule))
    }

    /// Whether some rule names exactly this prefix.
    pub fn has(&self, prefix: &Prefix) -> bool {
        self.naming(prefix).next().is_some()
    }

    /// Shows every prefix of a part with the databases it may reach, sorted by prefix.
    pub fn each_entry(&self, part: &Changed, mut visit: impl FnMut(PolicyEntry<'_>)) {
        self.walk(part, |step| {
            visit(PolicyEntry { prefix: step.prefix, mask: step.mask, rules: step.rules });
        });
    }

    fn walk(&self, part: &Changed, mut visit: impl FnMut(Step<'_>)) {
        match part {
            Changed::Everything => {
                let runs = self.runs.iter().map(|run| (run.rule, &run.prefixes[..]));
                self.walk_from(Nest::default(), 0..self.nodes.len(), runs.collect(), &mut visit);
            }
            Changed::Within(roots) => {
                for root in roots {
                    let runs = self.runs.iter();
                    let runs = runs.map(|run| (run.rule, run.prefixes.within(root)));
                    let (nest, nodes) = (self.nest_around(root), self.nodes.within(root));
                    self.walk_from(nest, nodes, runs.collect(), &mut visit);
                }
            }
        }
    }

    /// The prefixes around one, as a walk that comes to it has them.
    fn nest_around(&self, prefix: &Prefix) -> Nest {
        let addr = prefix.addr();
        let nodes = self.nodes.holding(addr).map(|node| self.nodes.prefix(node));
        let runs = self.runs.iter().flat_map(|run| run.prefixes.around(addr));
        let mut around: Vec<Prefix> =
            nodes.chain(runs).filter(|own| own.len() < prefix.len()).collect();
        around.sort_unstable();
        around.dedup();
        let mut nest = Nest::default();
        for prefix in around {
            let mut own: Vec<RuleRef> = self.naming(&prefix).collect();
            own.sort_unstable();
            nest.enter(prefix, &own);
        }
        nest
    }

    /// Merges nodes and runs, all of which come after what is in `nest`.
    fn walk_from(
        &self,
        mut nest: Nest,
        mut nodes: Range<usize>,
        mut runs: Vec<(RuleRef, &[Prefix])>,
        visit: &mut impl FnMut(Step<'_>),
    ) {
        let mut own = Vec::new();
        loop {
            let node = (!nodes.is_empty()).then(|| self.nodes.prefix(nodes.start));
            let of_runs = runs.iter().filter_map(|(_, rest)| rest.first().copied());
            let Some(prefix) = of_runs.chain(node).min() else { return };
            own.clear();
            if node == Some(prefix) {
                own.extend_from_slice(self.own_of(nodes.start));
                nodes.start += 1;
            }
            for (rule, rest) in &mut runs {
                if let Some((first, others)) = rest.split_first()
                    && *first == prefix
                {
                    own.push(*rule);
                    *rest = others;
                }
            }
            own.sort_unstable();
            visit(nest.enter(prefix, &own));
        }
    }

    /// The databases `addr` may reach. As on the wire: an IPv4-mapped address is IPv6.
    pub fn verdict_mask(&self, addr: IpAddr) -> u64 {
        let nodes = self.nodes.longest(addr).map_or(0, |(_, node)| node.mask);
        let runs = self.runs.iter().filter(|run| run.prefixes.around(addr).next().is_some());
        runs.fold(nodes, |mask, run| mask | bit(run.rule.database))
    }

    /// Whether `addr` may reach the database of this name.
    pub fn lets_in(&self, database: &str, addr: IpAddr) -> bool {
        let found = self.databases.iter().find(|known| known.name == database);
        found.is_some_and(|found| self.verdict_mask(addr) & bit(found.id) != 0)
    }

    /// Every rule of every database that covers `addr`, most specific first, then by database
    /// and order; each once. As on the wire: an IPv4-mapped address is IPv6.
    pub fn covering(&self, addr: IpAddr) -> Vec<Covering> {
        let nodes = self.nodes.holding(addr).flat_map(|node| {
            let prefix = self.nodes.prefix(node);
            self.own_of(node).iter().map(move |rule| Covering { prefix, rule: *rule })
        });
        let runs = self.runs.iter().filter_map(|run| {
            let prefix = run.prefixes.around(addr).next()?;
            Some(Covering { prefix, rule: run.rule })
        });
        let mut found: Vec<Covering> = nodes.chain(runs).collect();
        found.sort_by_key(|covering| (Reverse(covering.prefix.len()), covering.rule));
        let mut seen = HashSet::new();
        found.retain(|covering| seen.insert(covering.rule));
        found
    }

    /// A rule, with its database.
    pub fn rule(&self, rule: RuleRef) -> Option<(&DatabasePolicy, &Rule)> {
        let database = self.databases.iter().find(|database| database.id == rule.database)?;
        Some((database, database.rules.get(usize::try_from(rule.rule).ok()?)?))
    }

    /// The key that identifies a rule of this policy in others.
    pub fn key(&self, rule: RuleRef) -> Option<RuleKey> {
        let (database, rule) = self.rule(rule)?;
        Some(RuleKey {
            database: database.name.clone(),
            origin: rule.origin.clone(),
            source: rule.kind.to_string(),
        })
    }

    /// Every database, as given.
    pub fn databases(&self) -> &[DatabasePolicy] {
        &self.databases
    }

    /// The number of distinct prefixes that the rules of a database name.
    pub fn prefixes(&self, database: u8, family: Family) -> u64 {
        self.totals.of(database).map_or(0, |total| total.prefixes[family as usize])
    }

    /// The numbers of prefixes that `after` trusts and this policy does not, and the other way round,
    /// each once for each database. They differ nowhere but where they `changed`.
    pub fn count_changes(&self, after: &Self, changed: &Changed) -> (usize, usize) {
        (after.count_beyond(self, changed), self.count_beyond(after, changed))
    }

    /// The number of prefixes that this policy trusts and another does not.
    fn count_beyond(&self, other: &Self, part: &Changed) -> usize {
        let id_of = |name: &str| {
            let found = other.databases.iter().find(|database| database.name == name);
            found.map(|database| database.id)
        };
        let ids: HashMap<u8, Option<u8>> =
            self.databases.iter().map(|database| (database.id, id_of(&database.name))).collect();
        let mut count = 0;
        self.walk(part, |step| {
            for rules in step.own.chunk_by(|a, b| a.database == b.database) {
                let id = ids.get(&rules[0].database).copied().flatten();
                let names = |id| other.naming(&step.prefix).any(|rule| rule.database == id);
                count += usize::from(!id.is_some_and(names));
            }
        });
        count
    }

    /// The totals of a part.
    fn count(&self, part: &Changed) -> Totals {
        let mut totals = Totals::default();
        self.walk(part, |step| {
            let family = step.prefix.family() as usize;
            for rules in step.own.chunk_by(|a, b| a.database == b.database) {
                let database = rules[0].database;
                let total = totals.of_mut(database);
                total.prefixes[family] += 1;
                // What a wider prefix of the database holds was counted with that.
                if step.inherited & bit(database) == 0 {
                    total.public_addresses[family] += public_addresses(&step.prefix);
                }
            }
        });
        totals
    }

    /// The percentage of all public addresses of a family that may connect to a database; 100 only
    /// if all of them may.
    pub fn share(&self, database: u8, family: Family) -> u8 {
        let total = self.totals.of(database);
        let addresses = total.map_or(0, |total| total.public_addresses[family as usize]);
        let all = public_addresses(&PUBLIC[family as usize]);
        if addresses == all { 100 } else { (addresses / (all / 100)).min(99) as u8 }
    }
}

/// A prefix that a walk comes to.
struct Step<'a> {
    prefix: Prefix,
    /// The rules that name it.
    own: &'a [RuleRef],
    /// The databases of the prefixes around it.
    inherited: u64,
    mask: u64,
    /// [`PolicyEntry::rules`].
    rules: &'a [RuleRef],
}

/// The prefixes around the place that a walk has come to, each in the one before it.
#[derive(Default)]
struct Nest {
    open: Vec<Open>,
    /// The rules of those that are open, and then of the last prefix that was entered.
    rules: Vec<RuleRef>,
}

struct Open {
    prefix: Prefix,
    mask: u64,
    rules: Range<usize>,
}

impl Nest {
    /// Comes to a prefix, which sorts after those before it, with the rules that name it.
    fn enter<'n>(&'n mut self, prefix: Prefix, own: &'n [RuleRef]) -> Step<'n> {
        while self.open.last().is_some_and(|open| !open.prefix.covers(&prefix)) {
            self.open.pop();
        }
        let (inherited, around) =
            self.open.last().map_or((0, 0..0), |open| (open.mask, open.rules.clone()));
        let start = around.end;
        self.rules.truncate(start);
        let mut mask = 0;
        for rule in own.iter().copied() {
            if mask & bit(rule.database) == 0 {
                mask |= bit(rule.database);
                self.rules.push(rule);
            }
        }
        for index in around {
            let rule = self.rules[index];
            if mask & bit(rule.database) == 0 {
                self.rules.push(rule);
            }
        }
        self.rules[start..].sort_unstable_by_key(|rule| rule.database);
        let (mask, rules) = (mask | inherited, start..self.rules.len());
        if !prefix.is_host() {
            self.open.push(Open { prefix, mask, rules: rules.clone() });
        }
        Step { prefix, own, inherited, mask, rules: &self.rules[rules] }
    }
}

/// Numbers about each database, by its id.
#[derive(Clone, Debug, Default)]
struct Totals(Vec<Total>);

/// Numbers about a database, IPv4 and IPv6.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    /// Distinct prefixes with rules of its own.
    prefixes: [u64; 2],
    /// Public addresses that may connect.
    public_addresses: [u128; 2],
}

impl Totals {
    fn of(&self, database: u8) -> Option<&Total> {
        self.0.get(usize::from(database))
    }

    fn of_mut(&mut self, database: u8) -> &mut Total {
        let index = usize::from(database);
        if self.0.len() <= index {
            self.0.resize(index + 1, Total::default());
        }
        &mut self.0[index]
    }

    fn plus(&self, other: &Self) -> Self {
        self.with(other, u64::saturating_add, u128::saturating_add)
    }

    /// Without those of a part of them.
    fn minus(&self, part: &Self) -> Self {
        self.with(part, u64::saturating_sub, u128::saturating_sub)
    }

    fn with(
        &self,
        other: &Self,
        prefixes: fn(u64, u64) -> u64,
        addresses: fn(u128, u128) -> u128,
    ) -> Self {
        let mut result = self.clone();
        for (id, other) in (0..).zip(&other.0) {
            let total = result.of_mut(id);
            for family in Family::ALL.map(|family| family as usize) {
                total.prefixes[family] = prefixes(total.prefixes[family], other.prefixes[family]);
                total.public_addresses[family] =
                    addresses(total.public_addresses[family], other.public_addresses[family]);
            }
        }
        result
    }
}

/// Addresses that can be a client's out on the internet: all of IPv4, and the global unicast
/// addresses of IPv6 (RFC 4291, section 2.4, as IANA assigns them).
const PUBLIC: [Prefix; 2] = [
    Prefix::v4(Ipv4Addr::UNSPECIFIED, 0),
    Prefix::v6(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3),
];

/// The number of public addresses in a prefix.
fn public_addresses(prefix: &Prefix) -> u128 {
    let public = &PUBLIC[prefix.family() as usize];
    let held = if prefix.covers(public) { public } else { prefix };
    if !public.covers(held) {
        return 0;
    }
    // At most 2^125.
    let (first, last) = held.bounds();
    last - first + 1
}

/// An index into a list of a policy. The limits of configuration and lists keep it far below 2^32.
fn place(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// The bit of a database in a mask; 0 if no database can have the id.
fn bit(id: u8) -> u64 {
    id.checked_sub(1).and_then(|shift| 1u64.checked_shl(shift.into())).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::support::{database, entries, prefix, rule};

    #[test]
    fn changes_are_counted_by_database() {
        let of = |parts: &[(u8, &[&str])]| {
            let databases: Vec<_> = parts
                .iter()
                .map(|(id, prefixes)| database(*id, vec![rule("r", prefixes), rule("s", prefixes)]))
                .collect();
            Policy::build(databases)
        };
        for (before, after, changes) in [
            (of(&[]), of(&[]), (0, 0)),
            (of(&[]), of(&[(1, &["10.0.0.1", "10.0.0.2"])]), (2, 0)),
            // It is in the maps already, for another database.
            (of(&[(1, &["10.0.0.1"])]), of(&[(1, &["10.0.0.1"]), (2, &["10.0.0.1"])]), (1, 0)),
            (of(&[(1, &["10.0.0.0/8", "10.0.0.1"])]), of(&[(1, &["10.0.0.0/8"])]), (0, 1)),
            (of(&[(1, &["10.0.0.1"]), (2, &["::1"])]), of(&[(1, &["::1"]), (2, &["::1"])]), (1, 1)),
            (of(&[(2, &["10.0.0.1"])]), of(&[(3, &["10.0.0.1"])]), (1, 1)),
        ] {
            let everything = Changed::Everything;
            assert_eq!(before.count_changes(&after, &everything), changes);
            assert_eq!(after.count_changes(&before, &everything), (changes.1, changes.0));
        }
    }

    #[test]
    fn the_share_counts_each_public_address_once() {
        for (prefixes, shares) in [
            (&[][..], [0, 0]),
            (&["0.0.0.0/0", "10.0.0.0/8"], [100, 0]),
            (&["0.0.0.0/1", "128.0.0.0/1"], [100, 0]),
            (&["0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/3", "64.0.0.0/2"], [87, 0]),
            (&["0.0.0.0/1", "1.0.0.0/8", "128.0.0.0/32"], [50, 0]),
            (&["::/0"], [0, 100]),
            (&["2000::/3", "2001:db8::/32"], [0, 100]),
            (&["2000::/4", "3000::/5", "3800::/6", "3c00::/7"], [0, 93]),
            (&["fc00::/7", "::/4", "4000::/2", "2000::/127"], [0, 0]),
            (&["10.0.0.0/8", "172.16.0.0/12"], [0, 0]),
            (&["128.0.0.0/1", "0.0.0.0/2", "64.0.0.0/3", "96.0.0.1/32"], [87, 0]),
        ] {
            // Another database has everything, in its own order.
            let everything = rule("all", &["0.0.0.0/0", "::/0"]);
            let policy = Policy::build(&[
                database(1, vec![rule("a", prefixes)]),
                database(2, vec![everything.clone(), everything]),
            ]);
            assert_eq!(Family::ALL.map(|family| policy.share(1, family)), shares, "{prefixes:?}");
            assert_eq!(Family::ALL.map(|family| policy.share(2, family)), [100, 100]);
            assert_eq!(policy.share(3, Family::V4), 0);
        }
    }

    #[test]
    fn nested_prefixes_reach_the_union() {
        let policy = Policy::build(&[
            database(1, vec![rule("a", &["10.0.0.0/8"]), rule("b", &["10.1.0.0/16"])]),
            database(64, vec![rule("c", &["10.1.2.0/24", "2001:db8::/32"])]),
        ]);
        let [a, b] = [0, 1].map(|rule| RuleRef { database: 1, rule });
        let c = RuleRef { database: 64, rule: 0 };
        let entries = entries(&policy);
        let high = 1 << 63;
        assert_eq!(
            entries,
            [
                (prefix("10.0.0.0/8"), 1, vec![a]),
                (prefix("10.1.0.0/16"), 1, vec![b]),
                (prefix("10.1.2.0/24"), 1 | high, vec![b, c]),
                (prefix("2001:db8::/32"), high, vec![c]),
            ]
        );
        let covering = policy.covering("10.1.2.3".parse().unwrap());
        assert_eq!(covering.iter().map(|c| c.rule).collect::<Vec<_>>(), [c, b, a]);
        assert_eq!(policy.verdict_mask("10.1.2.3".parse().unwrap()), 1 | high);
        assert_eq!(policy.verdict_mask("11.0.0.0".parse().unwrap()), 0);
        assert_eq!(policy.prefixes(1, Family::V4), 2);
        assert_eq!(policy.prefixes(64, Family::V6), 1);
        assert_eq!(policy.prefixes(2, Family::V4), 0);
        assert_eq!(policy.rule(b).unwrap().1.kind.value(), "b");
        assert_eq!(policy.rule(RuleRef { database: 1, rule: 2 }), None);
    }

    #[test]
    fn the_first_of_two_rules_for_a_prefix_counts_and_both_explain() {
        let policy = Policy::build(&[database(
            1,
            vec![rule("a", &["10.0.0.0/8", "10.1.0.0/16"]), rule("b", &["10.1.0.0/16"])],
        )]);
        let rules: Vec<_> = entries(&policy).into_iter().map(|entry| entry.2[0].rule).collect();
        assert_eq!(rules, [0, 0]);
        let covering = policy.covering("10.1.0.0".parse().unwrap());
        let names: Vec<_> = covering.iter().map(|c| (c.rule.rule, c.prefix.len())).collect();
        assert_eq!(names, [(0, 16), (1, 16)]);
        assert_eq!(policy.prefixes(1, Family::V4), 2);
    }

    #[test]
    fn families_do_not_mix() {
        let policy = Policy::build(&[
            database(1, vec![rule("a", &["32.1.0.0/16", "0.0.0.0/0"])]),
            database(2, vec![rule("b", &["2001::/16", "::/0"])]),
        ]);
        assert_eq!(policy.verdict_mask("32.1.0.0".parse().unwrap()), 1);
        assert_eq!(policy.verdict_mask("2001::".parse().unwrap()), 2);
        assert_eq!(policy.verdict_mask("::ffff:32.1.0.0".parse().unwrap()), 2);
    }

    #[test]
    fn an_id_out_of_range_or_taken_opens_nothing() {
        let any = || vec![rule("a", &["0.0.0.0/0"])];
        let policy = Policy::build(&[database(0, any()), database(65, any())]);
        assert_eq!(entries(&policy), []);
        let policy = Policy::build(&[database(3, vec![]), database(3, any())]);
        assert_eq!(policy.verdict_mask("10.0.0.1".parse().unwrap()), 0);
    }
}
