//! `dbfw explain` and `dbfw map lookup`.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use dbfw_common::{Family, PROGRAM_BACKSTOP, Reason, Verdict};
use dbfw_core::{
    Port, PortQuery, PortRange,
    policy::RuleKey,
    source::{Prefix, Rule},
};
use dbfw_datapath::{DatabaseSlot, DatapathError, Interface, LocalAddresses};
use dbfw_wire::control::{self as wire, CoveringSource, Effect, Explanation, Lookup};
use jiff::Timestamp;

use super::{
    forwarding::{self, Forwarding},
    sources::count,
    status::{View, map_entry},
};
use crate::{
    protection::{Attachments, Judge, Passage},
    traffic::uses::{SourceUses, UsedSource},
};

/// The way by which this host's own packets come, which nothing judges.
const LOOPBACK: &str = "lo";

/// Ways into this host, by whether a program judges what comes in by them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ways {
    by_interface: Vec<(String, Judge)>,
    /// Those of them by which strangers come rather than this host's own containers.
    from_outside: BTreeSet<String>,
    /// Those to other machines.
    passages: Vec<Passage>,
    has_backstop: bool,
    /// This host's addresses; `None`: an agent keeps those of the maps.
    local: Option<LocalAddresses>,
}

impl Ways {
    /// Those by the interfaces `present`.
    pub fn of(attached: &Attachments, present: &[Interface]) -> Self {
        let named = |(interface, judge): (&Interface, Judge)| (interface.name.clone(), judge);
        let outside = attached.ways_from_outside(present);
        Self {
            from_outside: outside.map(|(interface, _)| interface.name.clone()).collect(),
            by_interface: attached.ways_in(present).map(named).collect(),
            passages: attached.passages(present).collect(),
            has_backstop: attached.has_backstop(),
            local: None,
        }
    }

    /// The same on a host with these addresses, where no agent keeps those of the maps.
    pub fn at(self, local: LocalAddresses) -> Self {
        Self { local: Some(local), ..self }
    }

    /// The database that a packet to `to` meets at the backstop alone: the address came up while no
    /// agent ran, so the interfaces pass what is for it.
    fn behind_the_hooks<'d>(
        &self,
        databases: &'d [DatabaseSlot],
        ports: PortRange,
        to: IpAddr,
    ) -> Option<&'d DatabaseSlot> {
        let is_local = |local: &LocalAddresses| local.holds(to);
        let is_new = self.has_backstop && self.local.as_ref().is_some_and(is_local);
        let judges = |known: &&DatabaseSlot| {
            known.ports.contains(ports.first()) && known.destinations.has_local()
        };
        databases.iter().find(judges).filter(|_| is_new)
    }

    /// Whether an address that the maps have among this host's is so no more.
    fn is_former_own(&self, address: IpAddr) -> bool {
        let is_gone = |local: &LocalAddresses| !local.holds(address);
        !address.is_loopback() && self.local.as_ref().is_some_and(is_gone)
    }

    /// Whether an address is this host's.
    fn is_local(&self, view: &View<'_>, address: IpAddr) -> Result<bool, DatapathError> {
        match &self.local {
            Some(local) => Ok(local.holds(address)),
            None => view.reader.is_local(address),
        }
    }

    /// The ends of the packets that are asked about.
    fn ends(&self, view: &View<'_>, asked: &Asked) -> Result<Ends, DatapathError> {
        let Some(to) = asked.to.filter(|to| !is_group(*to)) else { return Ok(Ends::default()) };
        if self.is_local(view, to)? {
            return Ok(Ends::default());
        }
        let forwarding = Some(Forwarding::to(to));
        Ok(Ends { forwarding, from_here: self.is_local(view, asked.address)? })
    }

    /// The interfaces by which the packets come in, each with its judge.
    fn taken(&self, ends: &Ends) -> Vec<(&str, Judge)> {
        match &ends.forwarding {
            Some(forwarding) => {
                self.passages.iter().filter_map(|passage| forwarding.way(passage)).collect()
            }
            None => self.by_interface.iter().map(|(name, judge)| (&**name, *judge)).collect(),
        }
    }

    /// The interfaces without a program by which packets to another machine pass unjudged.
    fn passing(&self, ends: &Ends) -> Vec<&str> {
        let passes =
            |(_, judge): &(&str, Judge)| ends.forwarding.is_some() && *judge == Judge::Backstop;
        self.taken(ends).into_iter().filter(passes).map(|(interface, _)| interface).collect()
    }

    /// The interfaces by which packets that this host passes on meet no program: the backstop would
    /// judge them if they were for a socket of this host.
    fn passed_on_unjudged(&self, ends: &Ends) -> Vec<&str> {
        let is_open = |(name, judge): &(&str, Judge)| {
            ends.forwarding.is_none()
                && *judge == Judge::Backstop
                && self.from_outside.contains(*name)
        };
        self.taken(ends).into_iter().filter(is_open).map(|(interface, _)| interface).collect()
    }

    /// The effect of a decision, and the interfaces by which the address gets in against it, or would
    /// in enforce mode.
    fn effect(&self, found: &Explanation, ends: &Ends) -> (Effect, Vec<String>) {
        match found.verdict {
            wire::Verdict::Drop => self.effect_of_drop(found, ends),
            wire::Verdict::Observe => (Effect::LetIn, self.effect_of_drop(found, ends).1),
            _ => (Effect::LetIn, Vec::new()),
        }
    }

    fn effect_of_drop(&self, found: &Explanation, ends: &Ends) -> (Effect, Vec<String>) {
        let is_martian = found.reason == wire::Reason::Martian;
        let is_former_own = is_martian && self.is_former_own(found.address);
        let lets_in = |judge: Judge| match judge {
            Judge::Hook => false,
            // It takes a former own address for this host, which reaches itself by any interface.
            // It sees sockets of this host alone.
            Judge::Backstop => is_former_own || ends.forwarding.is_some(),
            Judge::Exempt | Judge::Nobody => true,
        };
        let ways = self.taken(ends);
        let open = ways.iter().filter(|(_, judge)| lets_in(*judge));
        // What this host sends to other machines leaves by no hook.
        let is_own = is_martian && !is_former_own || ends.from_here;
        let own = is_own.then(|| LOOPBACK.to_owned());
        let let_in_by: Vec<String> =
            own.into_iter().chain(open.map(|(interface, _)| (*interface).to_owned())).collect();
        let is_refused = ways.iter().any(|(_, judge)| !lets_in(*judge));
        let effect = match (let_in_by.is_empty(), is_refused) {
            (true, _) => Effect::Dropped,
            (false, true) => Effect::Partly,
            (false, false) => Effect::LetIn,
        };
        (effect, let_in_by)
    }
}

/// The ends of packets to a destination that was named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ends {
    /// This host's treatment of them; `None`: the destination is its own, or was not named.
    forwarding: Option<Forwarding>,
    /// Whether this host sends them to another machine.
    from_here: bool,
}

/// `dbfw map lookup`: by the maps alone.
///
/// # Errors
///
/// The maps cannot be read.
pub fn lookup(view: &View<'_>, address: IpAddr) -> Result<Lookup, DatapathError> {
    let found = view.reader.lookup(address)?;
    let entry = match found {
        Some((map, entry)) => {
            let databases = view.reader.databases()?;
            longest(view, address)?.map(|prefix| map_entry(map, prefix, entry, &databases))
        }
        None => None,
    };
    Ok(Lookup { address, front: view.reader.front(address)?, entry })
}

/// The longest prefix in the maps that covers `address`. A trie tells a match's value but
/// not its length, so without the agent's own copy this goes through all entries, once.
fn longest(view: &View<'_>, address: IpAddr) -> Result<Option<Prefix>, DatapathError> {
    if let Some(held) = view.held {
        // The copy finds a prefix by its whole value: one look-up a length costs less than going
        // through them all.
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let around = (0..=bits).rev().map(|len| Prefix::new(address, len));
        let mut around = around.filter(|prefix| prefix.contains(address));
        return Ok(around.find(|prefix| held.get(prefix).is_some()));
    }
    let mut longest: Option<Prefix> = None;
    view.reader.for_each_entry(|_, prefix, _| {
        if prefix.contains(address) && longest.is_none_or(|known| known.len() < prefix.len()) {
            longest = Some(prefix);
        }
        Ok::<(), DatapathError>(())
    })?;
    Ok(longest)
}

/// The packets that `dbfw explain` is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Their source.
    pub address: IpAddr,
    /// Their port; `None`: every protected one.
    pub port: Option<PortQuery>,
    /// Their destination; `None`: one that the database judges. Of the family of `address`.
    pub to: Option<IpAddr>,
}

/// Ports that fare alike, with the database that they are of.
type PortsOf<'a> = (PortRange, Option<&'a DatabaseSlot>);

/// `dbfw explain`: what the loaded program decides for packets, and which sources of the policy
/// cover their source. `uses` is what those counted before. `ways` are those into this host, where
/// they are known.
///
/// # Errors
///
/// The maps cannot be read, or the program cannot be run.
pub fn explain(
    view: &View<'_>,
    uses: &SourceUses,
    ways: Option<&Ways>,
    asked: &Asked,
) -> Result<Vec<Explanation>, DatapathError> {
    let databases = view.reader.databases()?;
    let prefix = longest(view, asked.address)?;
    let covering = covering(view, uses, asked.address)?;
    ports(view, &databases, asked)?
        .into_iter()
        .map(|(ports, database)| {
            let at_backstop = match (asked.to, database, ways) {
                // The backstop lets an address reach itself.
                (Some(to), None, Some(ways)) if to != asked.address => {
                    ways.behind_the_hooks(&databases, ports, to)
                }
                _ => None,
            };
            let database = database.or(at_backstop);
            let to = match (asked.to, database) {
                // The backstop asks for trust before it asks whose the addresses are.
                (Some(to), _) if at_backstop.is_some() => Some(group(to)),
                (Some(to), _) => Some(to),
                (None, Some(database)) => destination(view, database, asked.address)?,
                (None, None) => None,
            };
            let mut found = run(view, asked.address, ports, to)?;
            if let Some(to) = asked.to.filter(|_| at_backstop.is_some()) {
                found.at_backstop(to);
            }
            // Of several that share a port, the program says which one judges.
            let judging = databases.iter().find(|known| known.id == found.judged_by);
            let database = judging.or(database);
            if let Some(database) = database {
                let of_database = |(id, source): &(u8, CoveringSource)| {
                    (*id == database.id).then(|| source.clone())
                };
                found.explanation.database = Some(database.name.clone());
                found.explanation.mode = Some(database.mode.into());
                found.explanation.sources = covering.iter().filter_map(of_database).collect();
                if to.is_none() && !database.destinations.is_every() {
                    let fact = format!(
                        "{} is bound to {}, no address of this family",
                        database.name, database.destinations
                    );
                    found.explanation.facts.push(fact);
                }
            } else if let Some(to) = asked.to {
                let at = ports.first();
                let elsewhere = databases.iter().filter(|known| known.ports.contains(at));
                let facts = elsewhere.map(|known| {
                    format!(
                        "{} has this port at {}: the interfaces pass packets to {to}, and the \
                         backstop decides if they reach a socket of {}",
                        known.name, known.destinations, known.name
                    )
                });
                found.explanation.facts = facts.collect();
            }
            if let Some(ways) = ways {
                let ends = ways.ends(view, asked)?;
                let (effect, let_in_by) = ways.effect(&found.explanation, &ends);
                (found.explanation.effect, found.explanation.let_in_by) = (effect, let_in_by);
                let passing = ways.passing(&ends);
                if let (Some(to), Effect::Partly | Effect::LetIn, false) =
                    (asked.to, effect, passing.is_empty())
                    && found.explanation.verdict == wire::Verdict::Drop
                {
                    found.explanation.facts.push(format!(
                        "{to} is another machine: what enters by {} and is passed on to it meets no \
                         program, and the backstop sees this host's own sockets only",
                        passing.join(", ")
                    ));
                }
                if matches!(found.explanation.verdict, wire::Verdict::Drop | wire::Verdict::Observe)
                    && forwarding::is_routing(asked.address)
                {
                    let unjudged = ways.passed_on_unjudged(&ends).into_iter().map(str::to_owned);
                    found.explanation.passed_on_unjudged = unjudged.collect();
                }
                let address = asked.address;
                let is_refused = found.explanation.verdict == wire::Verdict::Drop
                    && found.explanation.reason == wire::Reason::Martian;
                if is_refused && ways.is_former_own(address) {
                    found.explanation.facts.push(format!(
                        "{address} was this host's own and is no more: until an agent runs, programs \
                         at interfaces refuse it, and the backstop lets it in"
                    ));
                }
            }
            found.explanation.prefix = prefix.map(|prefix| prefix.to_string());
            Ok(found.explanation)
        })
        .collect()
}

/// The ports that are asked about: those of a database that judges the destination with it, others
/// without one.
fn ports<'a>(
    view: &View<'_>,
    databases: &'a [DatabaseSlot],
    asked: &Asked,
) -> Result<Vec<PortsOf<'a>>, DatapathError> {
    let is_asked = |ports: &PortRange| asked.port.is_none_or(|port| port.is_about(ports));
    let narrowed = |ports: PortRange| match asked.port {
        Some(query) => Port { port: query.port, ..ports.first() }.into(),
        None => ports,
    };
    let all = databases.iter().flat_map(|database| {
        let ports = database.ports.ranges().filter(is_asked).map(narrowed);
        ports.map(move |ports| (ports, database))
    });
    let is_local = match asked.to {
        Some(to) => is_group(to) || view.reader.is_local(to)?,
        None => true,
    };
    let judges = |database: &DatabaseSlot| {
        asked.to.is_none_or(|to| database.destinations.include(to, is_local))
    };
    let (judged, others): (Vec<_>, Vec<_>) = all.partition(|(_, database)| judges(database));
    let mut found: Vec<PortsOf<'_>> =
        judged.into_iter().map(|(ports, database)| (ports, Some(database))).collect();
    for (ports, _) in others {
        if !found.iter().any(|(known, _)| known.overlaps(&ports)) {
            found.push((ports, None));
        }
    }
    if let Some(port) = asked.port.filter(|_| found.is_empty()) {
        found.push((Port { udp: port.udp == Some(true), port: port.port }.into(), None));
    }
    Ok(found)
}

/// A destination that a database judges, of the family of `source`; `None`: it judges every one, or
/// none of that family.
fn destination(
    view: &View<'_>,
    database: &DatabaseSlot,
    source: IpAddr,
) -> Result<Option<IpAddr>, DatapathError> {
    let destinations = &database.destinations;
    if destinations.has_local() {
        if view.reader.is_local(source)? {
            return Ok(Some(source));
        }
        let family = if source.is_ipv4() { Family::V4 } else { Family::V6 };
        let own = view.reader.local_addresses(family)?;
        // Where it has none, one that every host takes.
        return Ok(Some(own.first().copied().unwrap_or(group(source))));
    }
    let mut written = destinations.prefixes().iter().map(Prefix::addr);
    Ok(written.find(|address| address.is_ipv4() == source.is_ipv4()))
}

/// The address of the family of `address` that every host takes.
fn group(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => Ipv4Addr::new(224, 0, 0, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).into(),
    }
}

/// Whether packets to an address are for no single host.
fn is_group(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_multicast() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_multicast(),
    }
}

/// A run of the program.
struct Run {
    /// Id of the database that judged; 0: none did.
    judged_by: u8,
    /// Its decision, without what is known of databases and sources.
    explanation: Explanation,
}

impl Run {
    /// Makes it the backstop's decision about packets to an address that the maps do not have yet.
    fn at_backstop(&mut self, to: IpAddr) {
        let explanation = &mut self.explanation;
        explanation.to = Some(to);
        explanation.program = PROGRAM_BACKSTOP.to_owned();
        if matches!(explanation.verdict, wire::Verdict::Drop | wire::Verdict::Observe) {
            explanation.reason = wire::Reason::Backstop;
        }
        explanation.facts.push(format!(
            "{to} came up while no agent ran: until one runs, the interfaces pass packets to it, and \
             the backstop decides about connections"
        ));
    }
}

/// Runs the program on a packet from `address` to the first of `ports`.
fn run(
    view: &View<'_>,
    address: IpAddr,
    ports: PortRange,
    to: Option<IpAddr>,
) -> Result<Run, DatapathError> {
    // A test run of TCX always has an Ethernet header, before what the program reads.
    let ethernet = view.program != dbfw_common::PROGRAM_XDP_L3;
    // To itself: the destination matters where the source is the host's own, and then it is to be
    // another of its own.
    let packet = packet(address, to.unwrap_or(address), ports.first(), ethernet);
    let outcome = view.reader.test_run(view.program, &packet)?;
    let verdict = Verdict::from_u8(outcome.trace.verdict).unwrap_or(if outcome.passes {
        Verdict::Pass
    } else {
        Verdict::Drop
    });
    let reason = Reason::from_u8(outcome.trace.reason);
    let explanation = Explanation {
        address,
        port: ports.to_string(),
        to,
        database: None,
        mode: None,
        verdict: verdict.into(),
        reason: reason.map_or(wire::Reason::Unknown, Into::into),
        effect: Effect::Unknown,
        let_in_by: Vec::new(),
        passed_on_unjudged: Vec::new(),
        program: view.program.to_owned(),
        prefix: None,
        sources: Vec::new(),
        facts: Vec::new(),
    };
    Ok(Run { judged_by: outcome.trace.database, explanation })
}

/// The rules that cover an address, each with the id of its database.
fn covering(
    view: &View<'_>,
    uses: &SourceUses,
    address: IpAddr,
) -> Result<Vec<(u8, CoveringSource)>, DatapathError> {
    let found = view.policy.covering(address);
    let shown: Vec<(&str, String)> = found
        .iter()
        .filter_map(|covering| view.policy.rule(covering.rule))
        .map(|(database, rule)| (&*database.name, rule.kind.to_string()))
        .collect();
    let is_shown = |key: &RuleKey| {
        shown.iter().any(|(database, source)| *database == key.database && *source == key.source)
    };
    let counted = count(view.reader, view.slots, is_shown)?;
    let now = Timestamp::now();
    Ok(found
        .into_iter()
        .filter_map(|covering| {
            let (database, rule) = view.policy.rule(covering.rule)?;
            let key = UsedSource::new(&database.name, &rule.kind.to_string());
            let mut source = covering_source(rule, covering.prefix);
            if let Some(used) = uses.of(&key, counted.get(&key), now) {
                source.since = Some(used.since);
                (source.packets, source.last_hit) = (used.packets, used.last_hit);
            }
            Some((covering.rule.database, source))
        })
        .collect())
}

/// A rule that lets a prefix in, without what it counted.
pub fn covering_source(rule: &Rule, prefix: Prefix) -> CoveringSource {
    CoveringSource {
        source: rule.kind.to_string(),
        prefix: prefix.to_string(),
        origin: rule.origin.to_string(),
        description: rule.kind.description().map(str::to_owned),
        expires_at: rule.kind.expires_at(),
        since: None,
        packets: 0,
        last_hit: None,
    }
}

/// A TCP SYN or a UDP datagram from `source` to `port` of `to`, padded as on a wire.
fn packet(source: IpAddr, to: IpAddr, port: Port, ethernet: bool) -> Vec<u8> {
    let protocol = if port.udp { 17 } else { 6 };
    let mut transport = vec![0; 20];
    transport[..2].copy_from_slice(&49152u16.to_be_bytes());
    transport[2..4].copy_from_slice(&port.port.to_be_bytes());
    if port.udp {
        transport[4..6].copy_from_slice(&20u16.to_be_bytes());
    } else {
        // Header length of five words, SYN.
        transport[12..14].copy_from_slice(&[0x50, 0x02]);
    }
    let (kind, header) = match source {
        IpAddr::V4(_) => ([0x08, 0x00], vec![0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, protocol, 0, 0]),
        IpAddr::V6(_) => ([0x86, 0xdd], vec![0x60, 0, 0, 0, 0, 20, protocol, 64]),
    };
    let mut packet = Vec::new();
    if ethernet {
        packet.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
        packet.extend(kind);
    }
    packet.extend(header);
    for address in [source, to] {
        match address {
            IpAddr::V4(address) => packet.extend(address.octets()),
            IpAddr::V6(address) => packet.extend(address.octets()),
        }
    }
    packet.extend(transport);
    packet.resize(packet.len().max(60), 0);
    packet
}

#[cfg(test)]
mod tests {
    use dbfw_datapath::interfaces::Kind;

    use super::*;

    fn decision(verdict: wire::Verdict, reason: wire::Reason) -> Explanation {
        Explanation {
            address: [192, 0, 2, 9].into(),
            port: "tcp/5432".to_owned(),
            to: None,
            database: None,
            mode: None,
            verdict,
            reason,
            effect: Effect::Unknown,
            let_in_by: Vec::new(),
            passed_on_unjudged: Vec::new(),
            program: String::new(),
            prefix: None,
            sources: Vec::new(),
            facts: Vec::new(),
        }
    }

    #[test]
    fn the_effect_is_that_on_every_way() {
        let present = [Interface::ethernet("eth0", 2), Interface::ethernet("eth1", 3)];
        let drop = |reason| decision(wire::Verdict::Drop, reason);
        let (untrusted, martian) = (wire::Reason::Untrusted, wire::Reason::Martian);
        for (hooks, backstop, exempt, effect, by, former) in [
            (&[2, 3][..], false, &[][..], Effect::Dropped, &[][..], &[][..]),
            (&[2], true, &[], Effect::Dropped, &[], &["eth1"]),
            (&[2], true, &[3], Effect::Partly, &["eth1"], &["eth1"]),
            (&[2], false, &[], Effect::Partly, &["eth1"], &["eth1"]),
            (&[], true, &[2, 3], Effect::LetIn, &["eth0", "eth1"], &["eth0", "eth1"]),
            (&[], false, &[], Effect::LetIn, &["eth0", "eth1"], &["eth0", "eth1"]),
        ] {
            let attached = Attachments::new(hooks.to_vec(), backstop, exempt.to_vec());
            let ways = Ways::of(&attached, &present);
            let names = |names: &[&str]| -> Vec<String> {
                names.iter().map(|&name| name.to_owned()).collect()
            };
            let here = Ends::default();
            assert_eq!(ways.effect(&drop(untrusted), &here), (effect, names(by)), "{attached:?}");
            let observed = ways.effect(&decision(wire::Verdict::Observe, untrusted), &here);
            assert_eq!(observed, (Effect::LetIn, names(by)), "{attached:?}");
            for verdict in [wire::Verdict::Allow, wire::Verdict::Pass] {
                let found = ways.effect(&decision(verdict, untrusted), &here);
                assert_eq!(found, (Effect::LetIn, Vec::new()));
            }
            // No address is this host's any more.
            let (_, let_in_by) = ways.at(LocalAddresses::default()).effect(&drop(martian), &here);
            assert_eq!(let_in_by, names(former), "{attached:?}");
        }
        let behind_nat = [
            Interface { kind: Kind::Bridge, ..Interface::ethernet("docker0", 4) },
            Interface::ethernet("eth0", 2),
            Interface::ethernet("eth1", 3),
        ];
        for (backstop, exempt, expected) in
            [(true, &[][..], &["eth1"][..]), (true, &[3], &[]), (false, &[], &[])]
        {
            let attached = Attachments::new([2], backstop, exempt.to_vec());
            let ways = Ways::of(&attached, &behind_nat);
            assert_eq!(ways.passed_on_unjudged(&Ends::default()), expected, "{attached:?}");
        }
        let ways = Ways::of(&Attachments::new([2, 3], true, []), &present);
        let own = (Effect::Partly, vec!["lo".to_owned()]);
        assert_eq!(ways.effect(&drop(martian), &Ends::default()), own);
    }

    #[test]
    fn packets_to_another_machine_meet_hooks_alone() {
        let present = [Interface::ethernet("eth0", 2), Interface::ethernet("eth1", 3)];
        let drop = decision(wire::Verdict::Drop, wire::Reason::Untrusted);
        for (hooks, backstop, from_here, effect, by) in [
            (&[2, 3][..], true, false, Effect::Dropped, &[][..]),
            (&[2], true, false, Effect::Partly, &["eth1"]),
            (&[2], false, false, Effect::Partly, &["eth1"]),
            (&[], true, false, Effect::LetIn, &["eth0", "eth1"]),
            (&[2, 3], true, true, Effect::Partly, &["lo"]),
            (&[2], true, true, Effect::Partly, &["lo", "eth1"]),
        ] {
            let ways = Ways::of(&Attachments::new(hooks.to_vec(), backstop, []), &present);
            let by = by.iter().map(|&name| name.to_owned()).collect();
            let forwarding = Some(Forwarding::to([198, 51, 100, 7].into()).routing());
            let found = ways.effect(&drop, &Ends { forwarding, from_here });
            assert_eq!(found, (effect, by), "{hooks:?} {backstop} {from_here}");
        }
    }
}
