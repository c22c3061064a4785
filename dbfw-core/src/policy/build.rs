//! [`Policy`]: the databases that every prefix may reach, from the rules.

use std::{
    cmp::Ordering,
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::Range,
};

use dbfw_common::{Family, MAX_DATABASES};
use serde::{Deserialize, Serialize};

use crate::source::{Origin, Prefix, PrefixMap, Rule};

/// One database with every rule that is in force for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabasePolicy {
    /// 1 to `dbfw_common::MAX_DATABASES`, no two the same. Nobody reaches a database with
    /// any other id, nor the second of two with the same.
    pub id: u8,
    /// Its name.
    pub name: String,
    /// Its rules. Where two name the same prefix, the first counts the packets.
    pub rules: Vec<Rule>,
}

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
/// let policy = Policy::build(&[database(1, "10.0.0.0/8"), database(2, "10.1.0.0/16")]);
/// // An address in both networks reaches both databases.
/// assert_eq!(policy.verdict_mask("10.1.2.3".parse().unwrap()), 0b11);
/// assert_eq!(policy.verdict_mask("10.2.0.1".parse().unwrap()), 0b01);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Policy {
    databases: Vec<DatabasePolicy>,
    nodes: PrefixMap<Node>,
    /// The rules that name a prefix themselves, node after node, by database and order.
    own: Vec<RuleRef>,
    /// The rules of [`PolicyEntry::rules`], node after node.
    effective: Vec<RuleRef>,
    /// Per database id: distinct prefixes with rules of its own, IPv4 and IPv6.
    counts: Vec<[u64; 2]>,
    /// Per database id: public addresses that may connect, IPv4 and IPv6.
    extents: Vec<[u128; 2]>,
}

/// The rules of one prefix.
#[derive(Clone, Copy, Debug, Default)]
struct Node {
    mask: u64,
    /// The end of its rules; they begin at the end of those of the node before it.
    own_end: u32,
    effective_end: u32,
}

impl Policy {
    /// The policy of these databases.
    pub fn build(databases: &[DatabasePolicy]) -> Self {
        let mut seen = HashSet::new();
        let mut claims = Vec::new();
        for database in databases.iter().filter(|db| bit(db.id) != 0 && seen.insert(db.id)) {
            for (rule, index) in database.rules.iter().zip(0..) {
                let claim = RuleRef { database: database.id, rule: index };
                claims.extend(rule.prefixes.iter().map(|prefix| (*prefix, claim)));
            }
        }
        claims.sort_unstable();
        claims.dedup();

        let mut policy = Self {
            databases: databases.to_vec(),
            own: claims.iter().map(|(_, rule)| *rule).collect(),
            counts: vec![[0; 2]; MAX_DATABASES as usize + 1],
            extents: vec![[0; 2]; MAX_DATABASES as usize + 1],
            nodes: PrefixMap::with_capacity(claims.chunk_by(|a, b| a.0 == b.0).count()),
            effective: Vec::new(),
        };
        let mut start = 0;
        for group in claims.chunk_by(|a, b| a.0 == b.0) {
            let own = start..start + group.len();
            start = own.end;
            policy.push(group[0].0, own);
        }
        policy
    }

    /// Appends the node of `prefix`, which sorts after those before it.
    fn push(&mut self, prefix: Prefix, own: Range<usize>) {
        let index = self.nodes.push(prefix, Node::default());
        let (inherited, around) = match self.nodes.parent(index) {
            Some(parent) => (self.nodes[parent].mask, self.effective_of(parent)),
            None => (0, 0..0),
        };
        let start = self.effective.len();
        let mut mask = 0;
        for rule in self.own[own.clone()].iter().copied() {
            let bit = bit(rule.database);
            if mask & bit == 0 {
                mask |= bit;
                self.counts[usize::from(rule.database)][prefix.family() as usize] += 1;
                // What a wider prefix of the database holds was counted with that.
                if inherited & bit == 0 {
                    self.extents[usize::from(rule.database)][prefix.family() as usize] +=
                        public_addresses(&prefix);
                }
                self.effective.push(rule);
            }
        }
        for index in around {
            let rule = self.effective[index];
            if mask & bit(rule.database) == 0 {
                self.effective.push(rule);
            }
        }
        self.effective[start..].sort_unstable_by_key(|rule| rule.database);
        self.nodes[index] = Node {
            mask: mask | inherited,
            own_end: place(own.end),
            effective_end: place(self.effective.len()),
        };
    }

    /// The rules that name a node's prefix, in `own`.
    fn own_of(&self, node: usize) -> Range<usize> {
        let start = node.checked_sub(1).map_or(0, |before| self.nodes[before].own_end);
        start as usize..self.nodes[node].own_end as usize
    }

    /// The rules its packets count for, in `effective`.
    fn effective_of(&self, node: usize) -> Range<usize> {
        let start = node.checked_sub(1).map_or(0, |before| self.nodes[before].effective_end);
        start as usize..self.nodes[node].effective_end as usize
    }

    /// Every prefix with the databases it may reach, sorted by prefix.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = PolicyEntry<'_>> {
        self.nodes.iter().enumerate().map(|(index, (prefix, node))| PolicyEntry {
            prefix,
            mask: node.mask,
            rules: &self.effective[self.effective_of(index)],
        })
    }

    /// The databases `addr` may reach. As on the wire: an IPv4-mapped address is IPv6.
    pub fn verdict_mask(&self, addr: IpAddr) -> u64 {
        self.nodes.longest(addr).map_or(0, |(_, node)| node.mask)
    }

    /// Whether `addr` may reach the database of this name.
    pub fn lets_in(&self, database: &str, addr: IpAddr) -> bool {
        let found = self.databases.iter().find(|known| known.name == database);
        found.is_some_and(|found| self.verdict_mask(addr) & bit(found.id) != 0)
    }

    /// Every rule of every database that covers `addr`, most specific first, then by database
    /// and order; each once. As on the wire: an IPv4-mapped address is IPv6.
    pub fn covering(&self, addr: IpAddr) -> Vec<Covering> {
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        for index in self.nodes.holding(addr) {
            let prefix = self.nodes.prefix(index);
            let rules = self.own[self.own_of(index)].iter().filter(|rule| seen.insert(**rule));
            found.extend(rules.map(|rule| Covering { prefix, rule: *rule }));
        }
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
        self.counts.get(usize::from(database)).map_or(0, |counts| counts[family as usize])
    }

    /// The numbers of prefixes that `after` trusts and this policy does not, and the other way round,
    /// each once for each database.
    pub fn count_changes(&self, after: &Self) -> (usize, usize) {
        let (mut before, mut now) = (self.trusted().peekable(), after.trusted().peekable());
        let (mut added, mut removed) = (0, 0);
        loop {
            let order = match (before.peek(), now.peek()) {
                (None, None) => return (added, removed),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(former), Some(latter)) => former.cmp(latter),
            };
            match order {
                Ordering::Less => {
                    removed += 1;
                    before.next();
                }
                Ordering::Greater => {
                    added += 1;
                    now.next();
                }
                Ordering::Equal => {
                    let former = before.next().map(|(_, id)| self.name_of(id));
                    let latter = now.next().map(|(_, id)| after.name_of(id));
                    let is_other = usize::from(former != latter);
                    (added, removed) = (added + is_other, removed + is_other);
                }
            }
        }
    }

    /// Every prefix with the id of each database whose rules name it, sorted.
    fn trusted(&self) -> impl Iterator<Item = (Prefix, u8)> {
        self.nodes.iter().enumerate().flat_map(|(index, (prefix, _))| {
            let rules = &self.own[self.own_of(index)];
            let databases = rules.chunk_by(|a, b| a.database == b.database);
            databases.map(move |rules| (prefix, rules[0].database))
        })
    }

    fn name_of(&self, id: u8) -> Option<&str> {
        let found = self.databases.iter().find(|database| database.id == id);
        found.map(|database| &*database.name)
    }

    /// The percentage of all public addresses of a family that may connect to a database; 100 only
    /// if all of them may.
    pub fn share(&self, database: u8, family: Family) -> u8 {
        let addresses = self.extents.get(usize::from(database)).map_or(0, |e| e[family as usize]);
        let all = public_addresses(&PUBLIC[family as usize]);
        if addresses == all { 100 } else { (addresses / (all / 100)).min(99) as u8 }
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
    use crate::policy::tests::support::{database, prefix, rule};

    #[test]
    fn changes_are_counted_by_database() {
        let of = |parts: &[(u8, &[&str])]| {
            let databases: Vec<_> = parts
                .iter()
                .map(|(id, prefixes)| database(*id, vec![rule("r", prefixes), rule("s", prefixes)]))
                .collect();
            Policy::build(&databases)
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
            assert_eq!(before.count_changes(&after), changes);
            assert_eq!(after.count_changes(&before), (changes.1, changes.0));
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
        let entries: Vec<_> = policy.entries().map(|e| (e.prefix, e.mask, e.rules)).collect();
        let high = 1 << 63;
        assert_eq!(
            entries,
            [
                (prefix("10.0.0.0/8"), 1, [a].as_slice()),
                (prefix("10.1.0.0/16"), 1, &[b]),
                (prefix("10.1.2.0/24"), 1 | high, &[b, c]),
                (prefix("2001:db8::/32"), high, &[c]),
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
        let rules: Vec<_> = policy.entries().map(|entry| entry.rules[0].rule).collect();
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
        assert_eq!(policy.entries().len(), 0);
        let policy = Policy::build(&[database(3, vec![]), database(3, any())]);
        assert_eq!(policy.verdict_mask("10.0.0.1".parse().unwrap()), 0);
    }
}
