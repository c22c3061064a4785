//! `dbfw explain`: asks what the loaded program does with packets from an address.

use std::net::IpAddr;

use dbfw_core::{PortQuery, PortRange};
use dbfw_datapath::LocalRoutes;
use dbfw_wire::control::{
    DatabaseStatus, Effect, Explanation, HistoryEntry, HistoryKind, ListState, Protection, Request,
    Status, Verdict,
};
use jiff::Timestamp;

use super::{
    context::Context,
    exit::{Exit, UsageError},
    history,
    message::{note, warn},
};
use crate::{
    nat::{Forward, NatRules},
    readers::{explain::Asked, offline},
};

pub(super) fn explain(
    context: &Context,
    address: IpAddr,
    port: Option<PortQuery>,
    to: Option<IpAddr>,
) -> anyhow::Result<Exit> {
    let (address, to) = (unmapped(address), to.map(unmapped));
    if let Some(to) = to.filter(|to| to.is_ipv4() != address.is_ipv4()) {
        let message =
            format!("no packet goes from {address} to {to}: give two addresses of one family");
        return Err(UsageError(message).into());
    }
    let (mut explanations, status): (Vec<Explanation>, Status) = context.ask_or_look(
        |agent| {
            let (number, udp) = (port.map(|port| port.port), port.and_then(|port| port.udp));
            let found = agent.documents(&Request::Explain { address, port: number, udp, to })?;
            Ok((found, context.call(&Request::Status {})?))
        },
        |config, unanswered| {
            let found = offline::explain(config, &Asked { address, port, to })?;
            context.note_pins(unanswered, "the pinned programs and maps were asked instead");
            Ok((found, offline::status(config, &context.socket(), unanswered)?))
        },
    )?;
    if explanations.is_empty() {
        note("no database is configured, so nothing is judged");
    }
    if explanations.iter().any(|found| !found.passed_on_unjudged.is_empty()) {
        let rules = NatRules::read();
        explanations.iter_mut().for_each(|found| follow_nat(found, to, &rules));
    }
    let doubt = doubt(&status);
    if let Some(doubt) = &doubt {
        warn(doubt);
    }
    for explanation in &mut explanations {
        explanation.facts.extend(doubt.clone());
        if explanation.let_in_by.iter().any(|interface| interface == "lo") {
            explanation.facts.push("from this host itself it is let in".to_owned());
        }
        explanation.facts.extend(overdue(explanation, Timestamp::now()));
        if explanation.verdict == Verdict::Allow {
            let facts: Vec<String> =
                of_database(explanation, &status).flat_map(about_the_list).collect();
            explanation.facts.extend(facts);
        }
    }
    if explanations.iter().any(is_refused) {
        // Without the history there is one fact less.
        let query = history::Query {
            from: Timestamp::MIN,
            limit: usize::MAX,
            database: None,
            address: Some(address),
        };
        let entries = history::read(context, &query).map(|found| found.entries);
        let entries = entries.unwrap_or_default();
        for explanation in explanations.iter_mut().filter(|found| is_refused(found)) {
            explanation.facts.extend(facts(explanation, &entries, &status));
        }
    }
    context.show(&explanations)?;
    Ok(exit(&explanations))
}

/// Adds what this host passes on past the programs to the effect. The agent may not list NAT rules.
fn follow_nat(
    explanation: &mut Explanation,
    to: Option<IpAddr>,
    rules: &Result<NatRules, &'static str>,
) {
    if explanation.passed_on_unjudged.is_empty() {
        return;
    }
    let by = explanation.passed_on_unjudged.join(", ");
    explanation.facts.push(format!(
        "this host routes: what enters by {by} for another machine, such as a container's own \
         address, meets no program (dbfw explain --to tells)"
    ));
    let rules = match rules {
        Ok(rules) => rules,
        Err(why) => {
            explanation.facts.push(format!(
                "whether a NAT rule passes on what enters by {by}, as for a published port of a \
                 container, is not known: {why}"
            ));
            return;
        }
    };
    let forwards = follow_forwards(explanation, to, rules);
    let unread = Forward::unread(rules);
    if explanation.effect == Effect::Dropped && !unread.is_empty() && !forwards {
        explanation.effect = Effect::Unknown;
        explanation.facts.push(format!(
            "NAT rules that dbfw cannot read may pass it on past the programs: {}",
            unread.join("; ")
        ));
    }
}

/// Adds the rules that pass the packets on; whether there is one.
fn follow_forwards(explanation: &mut Explanation, to: Option<IpAddr>, rules: &NatRules) -> bool {
    let own = LocalRoutes::read_now().unwrap_or_default();
    let asked: Option<PortRange> = explanation.port.parse().ok();
    let takes = |rule: &Forward| {
        let at = rule.at().is_none_or(|at| to.is_none_or(|to| at == to));
        at && !own.holds(rule.to())
            && asked.is_some_and(|ports| ports.iter().any(|port| rule.takes(port)))
            && rule.to().is_ipv4() == explanation.address.is_ipv4()
    };
    let forwards: Vec<Forward> = Forward::all(rules).into_iter().filter(takes).collect();
    let mut found = false;
    for rule in &forwards {
        let ways = explanation.passed_on_unjudged.iter().filter(|name| rule.is_of(name));
        let ways: Vec<String> = ways.cloned().collect();
        if ways.is_empty() {
            continue;
        }
        found = true;
        explanation.facts.push(format!(
            "a NAT rule passes it on to {}: what enters by {} meets no program",
            rule.to(),
            ways.join(", ")
        ));
        if explanation.effect == Effect::Dropped {
            explanation.effect = Effect::Partly;
        }
        let new: Vec<String> =
            ways.into_iter().filter(|name| !explanation.let_in_by.contains(name)).collect();
        explanation.let_in_by.extend(new);
    }
    found
}

/// The exit code: of the port that lets the address in least.
fn exit(explanations: &[Explanation]) -> Exit {
    let is_dropped = |found: &Explanation| match found.effect {
        Effect::LetIn => false,
        Effect::Partly | Effect::Dropped => true,
        Effect::Unknown => found.verdict == Verdict::Drop,
    };
    if explanations.iter().any(is_dropped) { Exit::Failure } else { Exit::Ok }
}

/// Facts that help to understand why an address is kept out.
fn facts(explanation: &Explanation, entries: &[HistoryEntry], status: &Status) -> Vec<String> {
    let Some(name) = &explanation.database else { return Vec::new() };
    let is_of = |entry: &&HistoryEntry| entry.database.as_ref() == Some(name);
    let entries: Vec<&HistoryEntry> = entries.iter().filter(is_of).collect();
    let database = of_database(explanation, status).next();
    was_trusted(&entries, explanation.address)
        .into_iter()
        .chain(database.into_iter().flat_map(about_the_list))
        .chain(
            database.filter(|_| explanation.verdict == Verdict::Drop).into_iter().flat_map(ways_in),
        )
        .collect()
}

/// Sources that let the address in although their time is over: no agent took them out.
fn overdue(explanation: &Explanation, now: Timestamp) -> Vec<String> {
    let over = explanation.sources.iter().filter_map(|source| {
        let at = source.expires_at.filter(|at| *at <= now)?;
        Some(format!("{} expired at {at:.0} and stays until an agent runs", source.source))
    });
    over.collect()
}

/// The database of an explanation.
fn of_database<'s>(
    explanation: &Explanation,
    status: &'s Status,
) -> impl Iterator<Item = &'s DatabaseStatus> {
    let name = explanation.database.clone();
    status.databases.iter().filter(move |database| Some(&database.name) == name.as_ref())
}

/// Ways by which a database in enforce mode lets in whoever is not trusted.
fn ways_in(database: &DatabaseStatus) -> impl Iterator<Item = String> {
    database.openings.iter().map(|opening| format!("strangers get in all the same: {opening}"))
}

fn is_refused(explanation: &Explanation) -> bool {
    matches!(explanation.verdict, Verdict::Drop | Verdict::Observe)
}

/// The last time that the address was trusted, by the history of the database.
fn was_trusted(entries: &[&HistoryEntry], address: IpAddr) -> Option<String> {
    let is_change = |entry: &HistoryEntry| entry.kind != HistoryKind::Refused;
    let last = |took_away: &dyn Fn(&HistoryEntry) -> bool| {
        let mut newest = entries.iter().enumerate().rev();
        newest.find(|(_, entry)| is_change(entry) && took_away(entry))
    };
    let certain = last(&|entry| history::took_away(entry, address));
    let possible = last(&|entry| {
        entry.prefixes_out > entry.removed.len() && history::may_concern(entry, address)
    });
    if let Some((at, entry)) = possible
        && certain.is_none_or(|(certain, _)| certain < at)
    {
        return Some(format!(
            "may have been trusted until {:.0}: {} prefixes went then, and the history names only {}",
            entry.time,
            entry.prefixes_out,
            entry.removed.len()
        ));
    }
    let (at, gone) = certain?;
    let source = gone.source.as_deref().unwrap_or("a source");
    let origin = gone.origin.as_deref().unwrap_or("unknown origin");
    let mut text = format!("was trusted until {:.0} by {source} ({origin})", gone.time);
    if gone.kind == HistoryKind::Expired {
        text.push_str(", which expired");
    }
    // `dbfw trust rm` has an entry of its own before.
    let by_hand = entries[..=at]
        .iter()
        .rev()
        .find(|entry| matches!(entry.kind, HistoryKind::TrustAdded | HistoryKind::TrustRemoved));
    let by_hand = by_hand.filter(|entry| {
        entry.kind == HistoryKind::TrustRemoved
            && gone.kind != HistoryKind::Expired
            && gone.origin.as_deref() == Some("local")
    });
    if let Some(by) = by_hand.and_then(|entry| entry.by.as_ref()) {
        text.push_str(&format!(", removed by {by}"));
    }
    if let Some(why) = gone.why.as_ref().or_else(|| by_hand?.why.as_ref()) {
        text.push_str(&format!(" ({why})"));
    }
    Some(text)
}

/// Reasons why the list of a database is not what its provider says.
fn about_the_list(database: &DatabaseStatus) -> Vec<String> {
    let mut facts = Vec::new();
    if let Some(provider) = &database.provider
        && provider.state != ListState::Ok
    {
        let since = match provider.last_success {
            Some(at) => format!("is from {at:.0}"),
            None => "was never read".to_owned(),
        };
        let why = provider.error.as_ref().map(|why| why.replace('\n', "; "));
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        facts
            .push(format!("the list in force {since} ({} {}){why}", provider.name, provider.state));
    }
    if let Some(refused) = &database.refused {
        facts.push(format!("a change is refused by {}, plan {}", refused.guard, refused.id));
    }
    if database.unresolved_sources > 0 {
        let count = database.unresolved_sources;
        facts.push(format!("{count} of its sources have no address now: dbfw sources"));
    }
    facts
}

/// Turns an IPv4-mapped IPv6 address, as servers log it, into the IPv4 address of its packets.
pub(super) fn unmapped(address: IpAddr) -> IpAddr {
    let canonical = address.to_canonical();
    if canonical != address {
        note(&format!("{address} is how IPv6 sockets show the IPv4 address {canonical}"));
    }
    canonical
}

/// The doubt about what is decided: where the programs are not attached, it means little.
fn doubt(status: &Status) -> Option<String> {
    let only = "it is only what the programs would decide";
    match status.protection {
        Protection::Yes => None,
        Protection::Degraded => {
            let problem = status.problems.first().map(String::as_str).unwrap_or_default();
            Some(format!("dbfw is DEGRADED: {problem}"))
        }
        Protection::No => {
            Some(format!("this host is not protected (`dbfw status` says why): {only}"))
        }
        Protection::Unknown => Some(format!(
            "whether this host is protected is unknown (`dbfw status` says why): {only}"
        )),
    }
}
