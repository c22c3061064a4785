//! From refused sources to the fewest trusted sources that would let them in. Pure.
//!
//! The owner of an address is preferred to the address: machines are replaced, and their
//! addresses become somebody else's.

mod addresses;
mod index;
mod local;
mod visitor;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use addresses::{admitted, complete_prefixes, covered, is_private, links_of_temporary};
use dbfw_core::source::{Prefix, SourceKey, SourceType};
use dbfw_provider::inventory::Inventory;
use dbfw_wire::control::{Activity, BelongsTo, RefusedAddress, Suggestion, Suggestions, Visitor};
use index::Index;
pub use local::LocalNetworks;
use visitor::{Facts, judge};

use crate::traffic::refused::{Refusals, RefusedSource, RefusedSources};

/// Refused addresses of a network that match no machine, from which on the network itself is
/// proposed.
const MANY_IN_A_NETWORK: usize = 3;

/// Addresses of a network for each that was refused, up to which the network is proposed: a /24 for
/// three, and not a /16.
const NETWORK_FOR_EACH: u128 = 256;

/// Refused machines of a tag, from which on the tag is proposed for them.
const MANY_OF_A_TAG: usize = 2;

/// Machines named in an explanation.
const MAX_NAMES: usize = 3;

/// Refused addresses of a database that are not trusted.
type Observed = BTreeMap<IpAddr, RefusedAddress>;

/// Knowledge beside the refusals themselves.
#[derive(Debug)]
pub struct Knowledge<'k> {
    /// Machines and networks of the provider's account.
    pub inventory: &'k Inventory,
    /// Networks that this host is in.
    pub local: &'k LocalNetworks,
    /// The reason why connections are not known, which then say nothing of whoever had none.
    pub connections_error: Option<String>,
}

/// Sources to trust so that none of `refused` (of one database, or of all) is refused any more but
/// scanners. `trusted` tells whether a database trusts an address now.
pub fn suggest(
    refused: &RefusedSources,
    database: Option<&str>,
    known: &Knowledge<'_>,
    trusted: &dyn Fn(&str, IpAddr) -> bool,
) -> Suggestions {
    let index = Index::new(known.inventory);
    let mut ports: BTreeMap<IpAddr, BTreeSet<u16>> = BTreeMap::new();
    for (key, seen) in refused.all() {
        ports.entry(key.source).or_default().extend(seen.ports());
    }
    let mut by_database: BTreeMap<&str, Observed> = BTreeMap::new();
    for (key, seen) in refused.all() {
        if database.is_none_or(|database| database == &*key.database)
            && !trusted(&key.database, key.source)
        {
            let ports = ports.get(&key.source).map_or(0, BTreeSet::len);
            let address = look_at(key, seen, ports, known, &index);
            by_database.entry(&key.database).or_default().insert(key.source, address);
        }
    }
    let observed = by_database.values().map(BTreeMap::len).sum();
    let (mut suggestions, mut scanners) = (Vec::new(), Vec::new());
    for (database, mut observed) in by_database {
        let is_scanner = |_: &IpAddr, one: &mut RefusedAddress| one.looks_like == Visitor::Scanner;
        let scanning: Observed = observed.extract_if(.., is_scanner).collect();
        suggestions.extend(of_database(database, &observed, &scanning, &index));
        scanners.extend(scanning.into_values());
    }
    Suggestions {
        since: refused.since(),
        observed,
        suggestions,
        scanners,
        inventory_error: None,
        connections_error: known.connections_error.clone(),
    }
}

/// The facts about a refused source, and its kind. It wanted `ports` ports of all databases.
fn look_at(
    key: &RefusedSource,
    seen: &Refusals,
    ports: usize,
    known: &Knowledge<'_>,
    index: &Index<'_>,
) -> RefusedAddress {
    let belongs_to = index.belongs_to(key.source).or_else(|| {
        let (network, interface) = known.local.of(key.source)?;
        let (interface, network) = (interface.to_owned(), network.to_string());
        Some(BelongsTo::LocalNetwork { interface, network })
    });
    let last = seen.last_connected().map_or(seen.last_seen(), |at| at.max(seen.last_seen()));
    let facts = Facts {
        is_machine: matches!(belongs_to, Some(BelongsTo::Machine { .. })),
        is_near: belongs_to.is_some() || is_private(key.source),
        connected: seen.last_connected().is_some(),
        could_connect: seen.could_connect() && known.connections_error.is_none(),
        minutes: seen.active_minutes(),
        stayed: Duration::try_from(last.duration_since(seen.first_seen())).unwrap_or_default(),
        packets: seen.packets,
        ports,
    };
    let connection = match (facts.connected, facts.could_connect) {
        (true, _) => ", connected",
        (false, true) => ", never connected",
        (false, false) => "",
    };
    let minutes = match facts.minutes {
        ..=1 => "within a minute".to_owned(),
        minutes => format!("in {minutes} minutes"),
    };
    let ports = match ports {
        ..=1 => String::new(),
        ports => format!(" to {ports} ports"),
    };
    RefusedAddress {
        database: key.database.to_string(),
        address: key.source,
        looks_like: judge(&facts),
        why: format!("{}{connection}, {minutes}{ports}", whose(key.source, belongs_to.as_ref())),
        belongs_to,
        activity: Activity {
            first_seen: seen.first_seen(),
            last_seen: seen.last_seen(),
            minutes: facts.minutes,
            packets: facts.packets,
            ports: seen.ports().clone(),
            established: facts.connected,
            last_connected: seen.last_connected(),
        },
    }
}

/// The owner of an address, in words.
fn whose(address: IpAddr, belongs_to: Option<&BelongsTo>) -> String {
    let kind = if is_private(address) { "private" } else { "public" };
    match belongs_to {
        None => format!("{kind}, unknown"),
        Some(BelongsTo::Machine { name, .. }) => name.clone(),
        Some(BelongsTo::Network { name, .. }) => format!("in the network {name}"),
        Some(BelongsTo::LocalNetwork { interface, network }) => {
            format!("{kind}, in {interface}'s network {network}")
        }
    }
}

/// Activity of several addresses, taken together; `None`: there are none.
fn together<'a>(addresses: impl Iterator<Item = &'a RefusedAddress>) -> Option<Activity> {
    addresses.map(|address| address.activity.clone()).reduce(|mut all, one| {
        all.first_seen = all.first_seen.min(one.first_seen);
        all.last_seen = all.last_seen.max(one.last_seen);
        all.minutes = all.minutes.max(one.minutes);
        all.packets = all.packets.saturating_add(one.packets);
        all.ports.extend(one.ports);
        all.established |= one.established;
        all.last_connected = all.last_connected.max(one.last_connected);
        all
    })
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

fn of_database(
    database: &str,
    observed: &Observed,
    scanning: &Observed,
    index: &Index<'_>,
) -> Vec<Suggestion> {
    let mut candidates = identities(observed, index);
    let known: BTreeSet<IpAddr> =
        candidates.iter().flat_map(|candidate| &candidate.covers).copied().collect();
    let mut unknown: BTreeSet<IpAddr> =
        observed.keys().copied().filter(|address| !known.contains(address)).collect();
    for (link, count) in links_of_temporary(&unknown) {
        unknown.retain(|address| !link.contains(*address));
        candidates.push(link_of_temporary(link, count, observed));
    }
    // What is doubtful does not hide among clients.
    let is_client = |address: &IpAddr| {
        observed.get(address).is_some_and(|one| one.looks_like == Visitor::Client)
    };
    let (clients, others): (BTreeSet<IpAddr>, _) = unknown.into_iter().partition(is_client);
    for prefix in [clients, others].iter().flat_map(complete_prefixes) {
        candidates.push(plain(prefix, observed));
    }
    prune(&mut candidates);
    let mut found: Vec<(Candidate, Suggestion)> = Vec::new();
    for candidate in candidates {
        let covers = || candidate.covers.iter().filter_map(|address| observed.get(address));
        let Some(activity) = together(covers()) else { continue };
        let strangers = candidate.prefixes.iter().flat_map(|prefix| covered(scanning, prefix));
        let strangers = strangers.collect::<BTreeSet<IpAddr>>().len();
        let mut why = candidate.why.clone();
        if strangers > 0 {
            why.push_str(&format!("; {strangers} that look like scanners would come with it"));
        }
        let are_clients = covers().all(|one| one.looks_like == Visitor::Client);
        let suggestion = Suggestion {
            database: database.to_owned(),
            source: candidate.source.clone(),
            looks_like: match are_clients && strangers == 0 {
                true => Visitor::Client,
                false => Visitor::Unclear,
            },
            covers: candidate.covers.iter().map(IpAddr::to_string).collect(),
            others: candidate.others,
            activity,
            why,
            addresses: covers().cloned().collect(),
        };
        found.push((candidate, suggestion));
    }
    // Clients first, then what says most about who comes.
    found.sort_by(|(a, a_shown), (b, b_shown)| {
        let is_unclear = |shown: &Suggestion| shown.looks_like != Visitor::Client;
        (is_unclear(a_shown), a.rank, a.prefixes.first(), &a.source).cmp(&(
            is_unclear(b_shown),
            b.rank,
            b.prefixes.first(),
            &b.source,
        ))
    });
    found.into_iter().map(|(_, suggestion)| suggestion).collect()
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
    networks.retain(|key, count| {
        let fits = admitted(&index.group_prefixes(key)) <= NETWORK_FOR_EACH * *count as u128;
        *count >= MANY_IN_A_NETWORK && fits
    });

    let group = |key: &SourceKey, rank, what: &str| {
        let (seen, unseen) = members(key, observed, index);
        let mut why =
            format!("{} of its {} {what} were seen", seen.len(), seen.len() + unseen.len());
        if !unseen.is_empty() {
            why.push_str(&format!("; it would also let in {}", names(&unseen, index)));
        }
        let mut candidate = candidate(key, rank, index.group_prefixes(key), observed, why);
        if seen.is_empty() {
            let count = candidate.covers.len();
            candidate.why = format!("{count} addresses of its network were seen");
        }
        candidate.why.push_str(&connected(&candidate.covers, observed));
        candidate
    };
    let mut candidates: Vec<Candidate> = Vec::new();
    candidates.extend(clusters.into_iter().map(|key| group(key, 0, "nodes")));
    candidates.extend(tags.into_iter().map(|key| group(key, 1, "machines")));
    candidates.extend(machines.into_iter().map(|key| {
        let prefixes = index.prefixes(key).to_vec();
        let mut candidate = candidate(key, 2, prefixes, observed, index.name(key).to_owned());
        candidate.why.push_str(&connected(&candidate.covers, observed));
        candidate
    }));
    candidates.extend(networks.into_iter().map(|(key, count)| {
        let why = format!("{count} addresses of {} that no known machine has", index.name(key));
        let mut candidate = candidate(key, 3, index.group_prefixes(key), observed, why);
        candidate.why.push_str(&connected(&candidate.covers, observed));
        candidate
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

/// Addresses that no machine has, and all of them refused.
fn plain(prefix: Prefix, observed: &Observed) -> Candidate {
    let rank = if is_private(prefix.addr()) { 4 } else { 5 };
    let mut candidate = candidate(&prefix.into(), rank, vec![prefix], observed, String::new());
    candidate.why = facts(&candidate.covers, observed);
    candidate
}

/// The facts that addresses are judged by: each once, with how many of them it is about.
fn facts(covers: &BTreeSet<IpAddr>, observed: &Observed) -> String {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for one in covers.iter().filter_map(|address| observed.get(address)) {
        *times.entry(&one.why).or_default() += 1;
    }
    let mut texts: Vec<_> = times.into_iter().collect();
    texts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut parts: Vec<String> = texts
        .iter()
        .take(MAX_NAMES)
        .map(|(text, count)| match texts.len() {
            1 => (*text).to_owned(),
            _ => format!("{count}: {text}"),
        })
        .collect();
    if texts.len() > MAX_NAMES {
        parts.push(format!("{} kinds more", texts.len() - MAX_NAMES));
    }
    parts.join("; ")
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
    let mut candidate = candidate(&link.into(), rank, vec![link], observed, why);
    candidate.why.push_str(&connected(&candidate.covers, observed));
    candidate
}

/// The number of several addresses that had a connection, to be appended; nothing if none had.
fn connected(covers: &BTreeSet<IpAddr>, observed: &Observed) -> String {
    let all: Vec<_> = covers.iter().filter_map(|address| observed.get(address)).collect();
    match (all.iter().filter(|one| one.activity.established).count(), all.len()) {
        (0, _) => String::new(),
        (count, all) if count == all => ", connected".to_owned(),
        (count, all) => format!("; {count} of {all} addresses connected"),
    }
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
