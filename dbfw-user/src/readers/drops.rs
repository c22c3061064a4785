//! `dbfw drops`: drop events with names in place of numbers.

use std::{cmp::Reverse, net::IpAddr};

use dbfw_common::{Event, HOST};
use dbfw_core::{policy::Policy, source::Prefix};
use dbfw_wire::control::{DropEvent, DropOrder, DropSource, Drops, Reason, Verdict};
use jiff::Timestamp;

use crate::traffic::drops::{Clock, NO_DATABASE, Tally, TopSource, TopSources, source};

/// The names of an event's numbers.
#[expect(missing_debug_implementations, reason = "closures have none")]
#[derive(Clone, Copy)]
pub struct Names<'a> {
    /// The name of a database id, if there is one.
    pub database: &'a dyn Fn(u32) -> Option<String>,
    /// The name of an interface by its index, if there is one.
    pub interface: &'a dyn Fn(u32) -> Option<String>,
    /// The clock of the events.
    pub clock: Clock,
}

impl Names<'_> {
    fn database(&self, id: u8) -> String {
        let id = u32::from(id);
        if id == HOST {
            return NO_DATABASE.to_owned();
        }
        (self.database)(id).unwrap_or_else(|| format!("#{id}"))
    }

    fn interface(&self, index: u32) -> String {
        if index == 0 {
            return "*".to_owned();
        }
        (self.interface)(index).unwrap_or_else(|| format!("#{index}"))
    }
}

/// The refused sources that are asked for.
#[derive(Clone, Debug)]
pub struct Query {
    /// Those in this address or network alone.
    pub address: Option<Prefix>,
    /// Those of the database with this id alone; 0: of packets that concern none.
    pub database: Option<u8>,
    /// Only those refused since then.
    pub since: Option<Timestamp>,
    /// Their order.
    pub order: DropOrder,
    /// Most of them.
    pub limit: usize,
}

impl Query {
    fn asks_for(&self, refused: &TopSource, tally: &Tally, clock: &Clock) -> bool {
        self.address.is_none_or(|network| network.contains(refused.source))
            && self.database.is_none_or(|id| id == refused.database)
            && self.since.is_none_or(|since| clock.at(tally.last.time) >= since)
    }
}

/// Refused sources of which it is not known yet whether the maps trust them now.
#[derive(Debug)]
pub struct UncheckedDrops {
    drops: Drops,
    /// The bits of each source, of which one in the mask of its address lets it in.
    bits: Vec<u64>,
}

impl UncheckedDrops {
    /// The sources, by the masks that the maps have for their addresses.
    ///
    /// # Errors
    ///
    /// The error of `mask`.
    pub fn judge<E>(mut self, mask: impl Fn(IpAddr) -> Result<u64, E>) -> Result<Drops, E> {
        for (found, bits) in self.drops.sources.iter_mut().zip(self.bits) {
            found.trusted_now = mask(found.source)? & bits != 0;
            if !found.trusted_now {
                found.trusted_by = None;
            }
        }
        Ok(self.drops)
    }
}

/// The refused sources that `query` asks for, with the sources of `policy` that cover them.
pub fn find(top: &TopSources, query: &Query, names: &Names<'_>, policy: &Policy) -> UncheckedDrops {
    let all = top.all();
    let mut found: Vec<(&TopSource, &Tally)> =
        all.filter(|(refused, tally)| query.asks_for(refused, tally, &names.clock)).collect();
    match query.order {
        DropOrder::Newest => found.sort_unstable_by_key(|(k, seen)| (Reverse(seen.last.time), *k)),
        DropOrder::Packets => found.sort_unstable_by_key(|(k, seen)| (Reverse(seen.certain()), *k)),
    }
    let left_out = found.len().saturating_sub(query.limit);
    found.truncate(query.limit);
    let bits = found.iter().map(|(refused, _)| bits_of(refused.database)).collect();
    let sources =
        found.into_iter().map(|(refused, tally)| with_names(refused, tally, names, policy));
    let drops = Drops {
        since: top.since(),
        sources: sources.collect(),
        left_out,
        remembered: top.len(),
        forgotten: top.forgotten(),
    };
    UncheckedDrops { drops, bits }
}

fn with_names(
    refused: &TopSource,
    tally: &Tally,
    names: &Names<'_>,
    policy: &Policy,
) -> DropSource {
    let interfaces = tally.interfaces.values().iter();
    let mut interfaces: Vec<String> = interfaces.map(|index| names.interface(*index)).collect();
    interfaces.sort_unstable();
    DropSource {
        source: refused.source,
        database: names.database(refused.database),
        port: tally.last.port,
        reason: reason(tally.last.reason),
        verdict: verdict(tally.last.verdict),
        estimated_packets: tally.certain(),
        first_seen: names.clock.at(tally.first),
        last_seen: names.clock.at(tally.last.time),
        ports: tally.ports.values().to_vec(),
        reasons: tally.reasons.values().iter().map(|number| reason(*number)).collect(),
        interfaces,
        has_more: tally.has_more(),
        trusted_now: false,
        trusted_by: trusted_by(refused, policy),
    }
}

/// The most specific trusted source that lets an address reach the database it was refused by.
fn trusted_by(refused: &TopSource, policy: &Policy) -> Option<String> {
    let bits = bits_of(refused.database);
    if policy.verdict_mask(refused.source) & bits == 0 {
        return None;
    }
    let covering = policy.covering(refused.source).into_iter();
    let mut covering = covering.filter(|covering| bits_of(covering.rule.database) & bits != 0);
    let (_, rule) = policy.rule(covering.next()?.rule)?;
    Some(rule.kind.to_string())
}

/// The bit of a database in a mask; without one, those of all: any database's trust will do where
/// the port cannot be read.
fn bits_of(database: u8) -> u64 {
    match database.checked_sub(1) {
        None => u64::MAX,
        Some(shift) => 1u64.checked_shl(shift.into()).unwrap_or(0),
    }
}

/// An event as `dbfw drops --follow` shows it.
pub fn event(event: &Event, names: &Names<'_>) -> DropEvent {
    DropEvent {
        time: names.clock.at(event.time),
        source: source(event),
        database: names.database(event.database),
        port: event.port,
        protocol: match event.protocol {
            6 => "tcp".to_owned(),
            17 => "udp".to_owned(),
            other => other.to_string(),
        },
        interface: names.interface(event.ifindex),
        reason: reason(event.reason),
        verdict: verdict(event.verdict),
        weight: event.weight,
        missed: 0,
    }
}

fn reason(number: u8) -> Reason {
    dbfw_common::Reason::from_u8(number).map_or(Reason::Unknown, Into::into)
}

fn verdict(number: u8) -> Verdict {
    dbfw_common::Verdict::from_u8(number).map_or(Verdict::Unknown, Into::into)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dbfw_common::Family;
    use dbfw_core::{
        policy::DatabasePolicy,
        source::{Origin, Rule, TrustedSource},
    };

    use super::*;

    fn refused() -> Event {
        Event {
            time: 5_000_000_000,
            weight: 9,
            source: [u32::from_ne_bytes([203, 0, 113, 7]), 0, 0, 0],
            ifindex: 2,
            bytes: 60,
            port: 5432,
            database: 1,
            reason: dbfw_common::Reason::Untrusted as u8,
            verdict: dbfw_common::Verdict::Drop as u8,
            family: Family::V4 as u8,
            protocol: 6,
            reserved: 0,
        }
    }

    fn named<T>(run: impl FnOnce(&Names<'_>) -> T) -> T {
        run(&Names {
            database: &|id| (id == 1).then(|| "orders".to_owned()),
            interface: &|index| (index == 2).then(|| "eth0".to_owned()),
            clock: Clock::new(Timestamp::from_second(1_000_000).unwrap(), 6_000_000_000),
        })
    }

    #[test]
    fn an_event_gets_its_names_and_time() {
        let shown = named(|names| event(&refused(), names));
        assert_eq!(
            serde_json::to_value(&shown).unwrap(),
            serde_json::json!({
                "time": "1970-01-12T13:46:39Z", "source": "203.0.113.7", "database": "orders",
                "port": 5432, "protocol": "tcp", "interface": "eth0", "reason": "untrusted",
                "verdict": "drop", "weight": 9, "missed": 0,
            })
        );
    }

    #[test]
    fn numbers_without_a_name_are_shown_as_numbers() {
        let mut odd = refused();
        odd.source = [0x2001_0db8_u32.to_be(), 0, 0, 1_u32.to_be()];
        odd.family = Family::V6 as u8;
        (odd.database, odd.ifindex, odd.reason, odd.verdict, odd.protocol) = (9, 7, 200, 201, 132);
        odd.time = u64::MAX;
        let shown = named(|names| event(&odd, names));
        assert_eq!(shown.source.to_string(), "2001:db8::1");
        let words = [&*shown.database, &shown.interface, &shown.protocol];
        assert_eq!(words, ["#9", "#7", "132"]);
        assert_eq!((shown.reason, shown.verdict), (Reason::Unknown, Verdict::Unknown));
        (odd.database, odd.ifindex) = (0, 0);
        let shown = named(|names| event(&odd, names));
        assert_eq!((shown.database.as_str(), shown.interface.as_str()), ("*", "*"));
    }

    /// A refusal of 203.0.113.`last` at a second of the kernel's clock.
    fn refused_at(last: u8, seconds: u64) -> Event {
        let source = [u32::from_ne_bytes([203, 0, 113, last]), 0, 0, 0];
        Event { source, time: seconds * 1_000_000_000, ..refused() }
    }

    fn everything() -> Query {
        let order = DropOrder::Newest;
        Query { address: None, database: None, since: None, order, limit: usize::MAX }
    }

    /// The policy of database 1, "orders", and of 2.
    fn policy() -> Policy {
        let database = |id, sources: &[&str]| DatabasePolicy {
            id,
            name: format!("database {id}"),
            rules: sources
                .iter()
                .map(|text| {
                    let source: TrustedSource = text.parse().unwrap();
                    let prefixes = source.key().prefixes().unwrap().to_vec();
                    Rule::of_source(Arc::new(source), Origin::Config, prefixes)
                })
                .collect(),
        };
        Policy::build(&[
            database(1, &["ip_addr:203.0.113.0/24", "ip_addr:203.0.113.7"]),
            database(2, &["ip_addr:203.0.113.9"]),
        ])
    }

    fn all_of(events: &[Event], query: &Query, policy: &Policy) -> Drops {
        let mut all = TopSources::new(Timestamp::UNIX_EPOCH);
        events.iter().for_each(|event| all.add(event));
        let found = named(|names| find(&all, query, names, policy));
        found.judge(|address| Ok::<_, ()>(policy.verdict_mask(address))).unwrap()
    }

    fn last_octets(drops: &Drops) -> Vec<u8> {
        let octets = |source: &DropSource| match source.source {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(_) => 0,
        };
        drops.sources.iter().map(octets).collect()
    }

    #[test]
    fn a_client_stands_once_with_all_its_refusals() {
        let (drop, observe) = (dbfw_common::Verdict::Drop, dbfw_common::Verdict::Observe);
        let mut events = Vec::new();
        for (seconds, port, reason, verdict, ifindex) in [
            (3, 5432, dbfw_common::Reason::Backstop, drop, 3),
            (1, 5432, dbfw_common::Reason::Untrusted, observe, 2),
            (2, 6432, dbfw_common::Reason::Untrusted, drop, 2),
            (3, 5432, dbfw_common::Reason::Backstop, drop, 0),
        ] {
            let (reason, verdict) = (reason as u8, verdict as u8);
            events.push(Event { port, reason, verdict, ifindex, ..refused_at(7, seconds) });
        }
        events.push(Event { database: 2, ..refused_at(7, 1) });
        let shown = all_of(&events, &everything(), &Policy::default());
        let [row, other] = &shown.sources[..] else { panic!("{shown:?}") };
        assert_eq!((&*row.database, &*other.database), ("orders", "#2"));
        assert_eq!((row.port, row.reason, row.verdict), (5432, Reason::Backstop, Verdict::Drop));
        assert_eq!(row.ports, [5432, 6432]);
        assert_eq!(row.reasons, [Reason::Untrusted, Reason::Backstop]);
        assert_eq!(row.interfaces, ["#3", "*", "eth0"]);
        assert_eq!(row.estimated_packets, 36);
        assert_eq!(row.first_seen.to_string(), "1970-01-12T13:46:35Z");
        assert_eq!(row.last_seen.to_string(), "1970-01-12T13:46:37Z");
        assert!(!row.has_more && !row.trusted_now && row.trusted_by.is_none());

        let ports: Vec<Event> =
            (1..=17).rev().map(|port| Event { port, ..refused_at(7, 1) }).collect();
        let shown = all_of(&ports, &everything(), &Policy::default());
        assert!(shown.sources[0].has_more);
        assert_eq!(shown.sources[0].ports, (2..=17).collect::<Vec<u16>>());
    }

    #[test]
    fn the_newest_is_first_and_what_is_left_out_is_counted() {
        let heavy = Event { weight: 1000, ..refused_at(2, 2) };
        let events = [refused_at(1, 3), heavy, refused_at(3, 4), refused_at(4, 1)];
        let shown = |query: &Query| {
            let drops = all_of(&events, query, &Policy::default());
            assert_eq!((drops.remembered, drops.forgotten), (4, 0));
            (last_octets(&drops), drops.left_out)
        };
        assert_eq!(shown(&everything()), (vec![3, 1, 2, 4], 0));
        assert_eq!(shown(&Query { limit: 1, ..everything() }), (vec![3], 3));
        assert_eq!(shown(&Query { limit: 0, ..everything() }), (vec![], 4));
        let heaviest = Query { order: DropOrder::Packets, limit: 2, ..everything() };
        assert_eq!(shown(&heaviest), (vec![2, 1], 2));
    }

    #[test]
    fn sources_are_chosen_by_address_database_and_time() {
        let v6 = Event {
            source: [0x2001_0db8_u32.to_be(), 0, 0, 1_u32.to_be()],
            family: Family::V6 as u8,
            ..refused_at(0, 5)
        };
        let hidden = Event { database: 0, port: 0, ..refused_at(8, 6) };
        let other = Event { database: 2, ..refused_at(7, 4) };
        let events = [refused_at(7, 3), other, v6, hidden, refused_at(200, 2)];
        let shown = |query: Query| last_octets(&all_of(&events, &query, &Policy::default()));
        let of = |text: &str| Query { address: Some(text.parse().unwrap()), ..everything() };
        assert_eq!(shown(of("203.0.113.7")), [7, 7]);
        assert_eq!(shown(of("203.0.113.0/28")), [8, 7, 7]);
        assert_eq!(shown(of("2001:db8::/64")), [0]);
        assert_eq!(shown(of("198.51.100.1")), [0; 0]);
        assert_eq!(shown(Query { database: Some(1), ..everything() }), [0, 7, 200]);
        assert_eq!(shown(Query { database: Some(0), ..everything() }), [8]);
        let since = |seconds: i64| Query {
            since: Some(Timestamp::from_second(1_000_000 - 6 + seconds).unwrap()),
            ..everything()
        };
        assert_eq!(shown(since(4)), [8, 0, 7]);
        assert_eq!(shown(since(7)), [0; 0]);
        assert_eq!(shown(Query { database: Some(1), ..since(3) }), [0, 7]);
    }

    #[test]
    fn what_is_trusted_now_is_marked_with_what_lets_it_in() {
        let hidden = Event {
            database: 0,
            port: 0,
            reason: dbfw_common::Reason::PortHidden as u8,
            ..refused_at(9, 1)
        };
        let elsewhere = Event { database: 2, ..refused_at(7, 2) };
        let unknown = Event { database: 65, ..refused_at(7, 5) };
        let events = [unknown, refused_at(7, 4), refused_at(8, 3), elsewhere, hidden];
        let shown = |policy: &Policy| -> Vec<(bool, Option<String>)> {
            let drops = all_of(&events, &everything(), policy);
            drops.sources.into_iter().map(|row| (row.trusted_now, row.trusted_by)).collect()
        };
        let by = |text: &str| (true, Some(text.to_owned()));
        assert_eq!(
            shown(&policy()),
            [
                (false, None),
                by("ip_addr:203.0.113.7"),
                by("ip_addr:203.0.113.0/24"),
                (false, None),
                by("ip_addr:203.0.113.9"),
            ]
        );
        assert_eq!(shown(&Policy::default()), vec![(false, None); 5]);

        // The maps decide, not what the policy says of them.
        let mut all = TopSources::new(Timestamp::UNIX_EPOCH);
        all.add(&refused_at(7, 1));
        let judged = |mask, policy: &Policy| {
            let found = named(|names| find(&all, &everything(), names, policy));
            let drops = found.judge(|_| Ok::<u64, ()>(mask)).unwrap();
            (drops.sources[0].trusted_now, drops.sources[0].trusted_by.clone())
        };
        assert_eq!(judged(0b10, &policy()), (false, None));
        assert_eq!(judged(0b11, &Policy::default()), (true, None));
        let found = named(|names| find(&all, &everything(), names, &policy()));
        assert_eq!(found.judge(|_| Err("no map")).unwrap_err(), "no map");
    }

    #[test]
    fn a_full_memory_is_shown_whole_and_says_what_it_forgot() {
        let event = |n: u32| Event { source: [n.to_be(), 0, 0, 0], ..refused_at(0, n.into()) };
        let shown = |count: u32| {
            let events: Vec<Event> = (1..=count).map(event).collect();
            all_of(&events, &everything(), &Policy::default())
        };
        let drops = shown(4096);
        assert_eq!((drops.sources.len(), drops.remembered, drops.forgotten), (4096, 4096, 0));
        let drops = shown(4100);
        assert_eq!((drops.sources.len(), drops.remembered, drops.forgotten), (4096, 4096, 4));
        assert_eq!(drops.sources[0].source.to_string(), "0.0.16.4");
    }
}
