//! From refused sources to the fewest trusted sources that would let them in. Pure.
//!
//! The owner of an address is preferred to the address: machines are replaced, and their
//! addresses become somebody else's.

mod addresses;
mod index;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use addresses::{admitted, complete_prefixes, covered, is_private, links_of_temporary};
use dbfw_core::source::{Prefix, SourceKey, SourceType};
use dbfw_provider::inventory::Inventory;
use dbfw_wire::control::{Suggestion, Suggestions};
use index::Index;

use crate::traffic::refused::RefusedSources;

/// Refused addresses of a network that match no machine, from which on the network itself is
/// proposed.
const MANY_IN_A_NETWORK: usize = 3;

/// Refused machines of a tag, from which on the tag is proposed for them.
const MANY_OF_A_TAG: usize = 2;

/// Machines named in an explanation.
const MAX_NAMES: usize = 3;

/// Packets of every refused address that is not trusted.
type Observed = BTreeMap<IpAddr, u64>;

/// Sources to trust so that nobody of `refused` (of one database, or of all) is refused any more.
/// `trusted` tells whether a database trusts an address now.
pub fn suggest(
    refused: &RefusedSources,
    database: Option<&str>,
    inventory: &Inventory,
    trusted: &dyn Fn(&str, IpAddr) -> bool,
) -> Suggestions {
    let mut by_database: BTreeMap<&str, Observed> = BTreeMap::new();
    for (key, seen) in refused.all() {
        if database.is_none_or(|database| database == &*key.database)
            && !trusted(&key.database, key.source)
        {
            by_database.entry(&key.database).or_default().insert(key.source, seen.packets);
        }
    }
    let index = Index::new(inventory);
    Suggestions {
        since: refused.since(),
        observed: by_database.values().map(BTreeMap::len).sum(),
        suggestions: by_database
            .iter()
            .flat_map(|(database, observed)| of_database(database, observed, &index))
            .collect(),
        inventory_error: None,
    }
}

/// A source that may be proposed.
struct Candidate {
    source: String,
    /// Its place among the proposals: what says most about who comes is first.
    rank: usize,
    prefixes: Vec<Prefix>,
    covers: BTreeSet<IpAddr>,
    others: u64,
    why: String,
}

fn of_database(database: &str, observed: &Observed, index: &Index<'_>) -> Vec<Suggestion> {
    let mut candidates = identities(observed, index);
    let known: BTreeSet<IpAddr> =
        candidates.iter().flat_map(|candidate| &candidate.covers).copied().collect();
    let mut unknown: BTreeSet<IpAddr> =
        observed.keys().copied().filter(|address| !known.contains(address)).collect();
    for (link, count) in links_of_temporary(&unknown) {
        unknown.retain(|address| !link.contains(*address));
        candidates.push(link_of_temporary(link, count, observed));
    }
    candidates
        .extend(complete_prefixes(&unknown).into_iter().map(|prefix| plain(prefix, observed)));
    prune(&mut candidates);
    candidates.sort_by(|a, b| {
        (a.rank, a.prefixes.first(), &a.source).cmp(&(b.rank, b.prefixes.first(), &b.source))
    });
    let packets = |covers: &BTreeSet<IpAddr>| {
        covers
            .iter()
            .filter_map(|address| observed.get(address))
            .fold(0, |sum: u64, packets| sum.saturating_add(*packets))
    };
    candidates
        .into_iter()
        .map(|candidate| Suggestion {
            database: database.to_owned(),
            source: candidate.source,
            packets: packets(&candidate.covers),
            covers: candidate.covers.iter().map(IpAddr::to_string).collect(),
            others: candidate.others,
            why: candidate.why,
        })
        .collect()
}

/// Sources that name what observed addresses belong to.
fn identities(observed: &Observed, index: &Index<'_>) -> Vec<Candidate> {
    let mut clusters: BTreeSet<&SourceKey> = BTreeSet::new();
    let mut machines: BTreeSet<&SourceKey> = BTreeSet::new();
    let mut networks: BTreeMap<&SourceKey, usize> = BTreeMap::new();
    for address in observed.keys() {
        if let Some(machine) = index.machine(*address) {
            match index.cluster(machine) {
                Some(cluster) => clusters.insert(cluster),
                None => machines.insert(machine),
            };
        } else if let Some(network) = index.network(*address) {
            match network.kind() {
                SourceType::K8s => _ = clusters.insert(network),
                _ => *networks.entry(network).or_default() += 1,
            }
        }
    }
    // A node's droplet comes and goes with the node; a cluster stays.
    machines.retain(|machine| !clusters.iter().any(|cluster| index.is_in(machine, cluster)));
    let tags = choose_tags(&mut machines, observed, index);
    networks.retain(|_, count| *count >= MANY_IN_A_NETWORK);

    let group = |key: &SourceKey, rank, what: &str| {
        let (seen, unseen) = members(key, observed, index);
        let mut why =
            format!("{} of its {} {what} were refused", seen.len(), seen.len() + unseen.len());
        if !unseen.is_empty() {
            why.push_str(&format!("; it would also let in {}", names(&unseen, index)));
        }
        let mut candidate = candidate(key, rank, index.group_prefixes(key), observed, why);
        if seen.is_empty() {
            let count = candidate.covers.len();
            candidate.why = format!("{count} addresses of its network were refused");
        }
        candidate
    };
    let mut candidates: Vec<Candidate> = Vec::new();
    candidates.extend(clusters.into_iter().map(|key| group(key, 0, "nodes")));
    candidates.extend(tags.into_iter().map(|key| group(key, 1, "machines")));
    candidates.extend(machines.into_iter().map(|key| {
        let prefixes = index.prefixes(key).to_vec();
        candidate(key, 2, prefixes, observed, index.name(key).to_owned())
    }));
    candidates.extend(networks.into_iter().map(|(key, count)| {
        let why = format!("{count} addresses of {} that no known machine has", index.name(key));
        candidate(key, 3, index.group_prefixes(key), observed, why)
    }));
    candidates
}

/// The tags that stand for several of `machines` and for not too many others; what they stand
/// for is taken out of `machines`.
fn choose_tags<'i>(
    machines: &mut BTreeSet<&'i SourceKey>,
    observed: &Observed,
    index: &Index<'i>,
) -> Vec<&'i SourceKey> {
    let all: BTreeSet<_> = machines.iter().flat_map(|machine| index.tags(machine)).collect();
    let mut tags: BTreeMap<&SourceKey, usize> = BTreeMap::new();
    for tag in all {
        let (seen, unseen) = members(tag, observed, index);
        if seen.len() >= MANY_OF_A_TAG && unseen.len() <= seen.len() {
            tags.insert(tag, unseen.len());
        }
    }
    let mut chosen = Vec::new();
    loop {
        let is_new = |machine: &&SourceKey| machines.contains(machine);
        // Most new machines, then fewest strangers, then by name.
        let best = tags
            .iter()
            .map(|(tag, unseen)| {
                (index.members(tag).into_iter().filter(is_new).count(), *unseen, *tag)
            })
            .filter(|(new, ..)| *new >= MANY_OF_A_TAG)
            .min_by(|a, b| b.0.cmp(&a.0).then_with(|| (a.1, a.2).cmp(&(b.1, b.2))));
        let Some((_, _, tag)) = best else { return chosen };
        tags.remove(tag);
        machines.retain(|machine| !index.is_in(machine, tag));
        chosen.push(tag);
    }
}

/// The machines of a group: those of which an address was refused, and the others.
fn members<'i>(
    group: &SourceKey,
    observed: &Observed,
    index: &Index<'i>,
) -> (Vec<&'i SourceKey>, Vec<&'i SourceKey>) {
    index.members(group).into_iter().partition(|machine| {
        index.prefixes(machine).iter().any(|prefix| !covered(observed, prefix).is_empty())
    })
}

/// Takes out what the others cover, the widest first. A pass is enough: each that stays had an
/// address of its own when it was looked at, and nobody was added since.
fn prune(candidates: &mut Vec<Candidate>) {
    let mut times: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for address in candidates.iter().flat_map(|candidate| &candidate.covers) {
        *times.entry(*address).or_default() += 1;
    }
    candidates.sort_by(|a, b| (b.others, &a.source).cmp(&(a.others, &b.source)));
    candidates.retain(|candidate| {
        let is_needed = candidate.covers.iter().any(|address| times.get(address) == Some(&1));
        if !is_needed {
            for address in &candidate.covers {
                times.entry(*address).and_modify(|times| *times -= 1);
            }
        }
        is_needed
    });
}

fn candidate(
    key: &SourceKey,
    rank: usize,
    prefixes: Vec<Prefix>,
    observed: &Observed,
    why: String,
) -> Candidate {
    let covers: BTreeSet<IpAddr> =
        prefixes.iter().flat_map(|prefix| covered(observed, prefix)).collect();
    let others = admitted(&prefixes).saturating_sub(covers.len() as u128);
    Candidate {
        source: key.to_string(),
        rank,
        prefixes,
        covers,
        others: u64::try_from(others).unwrap_or(u64::MAX),
        why,
    }
}

/// Addresses about which nothing is known, and all of them refused.
fn plain(prefix: Prefix, observed: &Observed) -> Candidate {
    let (rank, why) = match (is_private(prefix.addr()), prefix.is_host()) {
        (true, true) => (4, "nothing known has this address"),
        (true, false) => (4, "nothing known has these addresses"),
        (false, true) => (5, "public, and nothing known has it: make sure whose it is"),
        (false, false) => (5, "public, and nothing known has them: make sure whose they are"),
    };
    candidate(&prefix.into(), rank, vec![prefix], observed, why.to_owned())
}

/// A network of which several addresses look temporary: their hosts will come with others
/// tomorrow.
fn link_of_temporary(link: Prefix, count: usize, observed: &Observed) -> Candidate {
    let (rank, whose) = match is_private(link.addr()) {
        true => (4, "nothing known has them"),
        false => (5, "public, and nothing known has them: make sure whose the network is"),
    };
    let why = format!(
        "{count} look like temporary addresses (RFC 8981), which a host changes every day; {whose}"
    );
    candidate(&link.into(), rank, vec![link], observed, why)
}

/// "web-1, web-2 and 4 more".
fn names(machines: &[&SourceKey], index: &Index<'_>) -> String {
    let mut names: Vec<&str> = machines.iter().map(|machine| index.name(machine)).collect();
    names.sort_unstable();
    match names.len().saturating_sub(MAX_NAMES) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names[..MAX_NAMES].join(", ")),
    }
}

#[cfg(test)]
mod tests;
